"""The command line: all commands and the console script."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

from agentkit import __version__
from agentkit.cli.command import (
    COMPLETE,
    BaseUrl,
    Folder,
    Model,
    Plain,
    Resume,
    SessionName,
    build,
    command,
    examples_epilog,
)
from agentkit.cli.commands import (
    ask,
    config,
    index,
    init,
    kb,
    mcp,
    mcp_changes,
    models,
    sessions,
    setup,
    trace,
)
from agentkit.cli.commands import eval as evaluation
from agentkit.cli.errors import INTERRUPTED, report
from agentkit.cli.i18n import _, install

app = typer.Typer(
    name="agentkit",
    help=_("Agents that answer from your documents, with checked citations."),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@command(
    ask.app,
    "chat",
    _("Chat with the agent; /help lists the commands."),
    "agentkit chat",
    "agentkit chat --continue",
    "agentkit chat -m ollama:qwen3:8b --session thesis",
)
async def chat(
    folder: Folder = Path(),
    model: Model = None,
    base_url: BaseUrl = None,
    session: SessionName = "",
    resume: Resume = False,
    plain: Plain = False,
) -> int:
    from agentkit.cli.chat.app import start_chat

    return await start_chat(folder, model, base_url, session, resume, plain)


mcp.app.add_typer(mcp_changes.app)
for module in (init, ask, index, kb, evaluation, sessions, trace, models, mcp, config, setup):
    app.add_typer(module.app)


@app.callback(
    invoke_without_command=True,
    epilog=examples_epilog(
        "agentkit init my-app",
        "agentkit ask --folder my-app 'What did we decide?'",
        "agentkit chat --folder my-app",
        "agentkit demo",
    ),
)
def _root(
    version: Annotated[bool, Option("--version", help=_("Print the version."))] = False,
) -> None:
    if version:
        print(f"agentkit {__version__}")
        raise typer.Exit


def command_line() -> Any:
    """The whole command line as click has it."""
    return build(app)


def main() -> None:
    """The console script: every error is one line and an exit code of its own."""
    gc.disable()  # Nothing that is loaded is garbage yet, and looking for it takes a tenth longer.
    install()
    if COMPLETE in os.environ:
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    try:
        code = command_line()(prog_name="agentkit", standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = report(error)
    sys.exit(code or 0)
