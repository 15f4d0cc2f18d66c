"""The command line: the table of commands and the console script."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Mapping
from copy import copy
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option
from typer.core import TyperGroup

from agentkit import __version__
from agentkit.cli.command import (
    COMPLETE,
    FOLDER,
    BaseUrl,
    Folder,
    HelpContext,
    Model,
    Plain,
    Resume,
    SessionName,
    command,
    examples_epilog,
    pass_folder,
    to_click,
)
from agentkit.cli.errors import INTERRUPTED, report
from agentkit.cli.i18n import MISSING_COMMAND, _, install

COMMANDS = {
    "init": ("commands.init", _("Make a folder a project.")),
    "ask": ("commands.ask", _("Answer one question from the documents, with citations.")),
    "chat": ("main", _("Chat with the agent; /help lists the commands.")),
    "index": (
        "commands.index",
        _("Update an index: new, changed, renamed and deleted documents."),
    ),
    "search": ("commands.index", _("Print the passages that best match a query.")),
    "kb": ("commands.kb", _("List, inspect, check, export and import collections.")),
    "eval": ("commands.eval", _("Ask golden questions and report retrieval and answers.")),
    "sessions": (
        "commands.sessions",
        _("List, find, export, rename, copy and delete past conversations."),
    ),
    "trace": ("commands.trace", _("Inspect past runs step by step, and replay one.")),
    "probe": (
        "commands.models",
        _(
            "Check with about 30 requests what a model and its server can do. "
            "Exits with 1 if a check fails."
        ),
    ),
    "models": ("commands.models", _("List the available models, and pull others.")),
    "mcp": (
        "commands.mcp_serve",
        _("Serve a folder to other programs over MCP, and use MCP servers in it."),
    ),
    "serve": (
        "commands.serve",
        _("Serve the agent to OpenAI clients and to a browser, at one address."),
    ),
    "keys": ("commands.keys", _("Make, list and revoke the keys of agentkit serve.")),
    "config": (
        "commands.config",
        _("Show and change the settings, and where each comes from."),
    ),
    "trust": (
        "commands.setup",
        _("Allow a folder's agentkit.toml, tools/ and mcp_servers/ as they are now."),
    ),
    "doctor": ("commands.setup", _("Check the machine and the folder.")),
    "demo": (
        "commands.setup",
        _("Copy the lecture notes to a folder and answer five questions about them."),
    ),
    "completion": (
        "commands.setup",
        _("Print the script that completes commands, options and names in a shell."),
    ),
}
"""The module of each command, in whose `app` it is, and its line in `agentkit --help`."""

app = typer.Typer()


class _Commands(Mapping[str, Any]):
    """The commands as click has them; a module is imported when a command of it is looked up."""

    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        module, _about = COMMANDS[name]
        if name not in self._loaded:
            self._loaded |= to_click(import_module(f"agentkit.cli.{module}").app)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class _Root(TyperGroup):
    """The command `agentkit`, whose help imports no command."""

    context_class = HelpContext

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Mapping[str, Any] = _Commands()  # type: ignore[assignment]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, about) for name, (_module, about) in COMMANDS.items()])


_FOLDER = copy(FOLDER)
_FOLDER.callback = pass_folder

app_root = typer.Typer(
    name="agentkit",
    cls=_Root,
    help=_("Agents that answer from your documents, with checked citations."),
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


@app_root.callback(
    invoke_without_command=True,
    epilog=examples_epilog(
        "agentkit init my-app",
        "agentkit ask --folder my-app 'What did we decide?'",
        "agentkit chat --folder my-app",
        "agentkit demo",
    ),
)
def _root(
    context: typer.Context,
    version: Annotated[bool, Option("--version", help=_("Print the version."))] = False,
    folder: Annotated[Path | None, _FOLDER] = None,
) -> None:
    if version:
        print(f"agentkit {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        context.fail(_(MISSING_COMMAND))


@command(
    app,
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


def command_line() -> Any:
    """The whole command line as click has it."""
    return typer.main.get_command(app_root)


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
