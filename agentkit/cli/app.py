"""The command line: a table of commands, each loaded when it is asked for."""

from __future__ import annotations

import gc
import os
import sys
from typing import Annotated, Any

import typer

from agentkit import __version__
from agentkit.cli.errors import INTERRUPTED, report
from agentkit.cli.lazy import COMPLETE, Entry, Group, know_the_shells

TABLE = {
    "init": Entry("setup_app:init", "Make a folder a project."),
    "ask": Entry("ask_app:ask", "Answer one question from the documents, with citations."),
    "chat": Entry("ask_app:chat", "Talk with the agent; /help lists what can be done."),
    "index": Entry("documents_app:index", "Bring an index up to date."),
    "search": Entry("documents_app:search", "Print the passages that best match a query."),
    "kb": Entry("kb_app:kb", "Look at the collections, check and carry them."),
    "eval": Entry(
        "eval_app:evaluation", "Ask golden questions: what was found, answered, refused."
    ),
    "sessions": Entry("past_app:sessions", "See, find, rename, copy, export past conversations."),
    "trace": Entry("past_app:trace", "See what happened in past runs, step by step."),
    "models": Entry("models_app:models", "See which models are at hand, and bring others."),
    "probe": Entry("models_app:probe", "Find out what a model and its server can do."),
    "mcp": Entry("mcp_app:mcp", "Serve a folder over MCP, and use other servers in it."),
    "config": Entry("config_app:config", "See and change the settings, and where each comes from."),
    "trust": Entry("setup_app:trust", "Allow a folder's settings, tools and servers as they are."),
    "doctor": Entry("setup_app:doctor", "Check the machine and the folder."),
    "demo": Entry("setup_app:demo", "Copy the lecture notes, and answer five questions."),
    "completion": Entry("completion_app:completion", "Print what makes a shell complete on Tab."),
}

front = typer.Typer(
    name="agentkit",
    help="Agents that answer from your documents, and prove it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    cls=Group,
)


@front.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        print(f"agentkit {__version__}")
        raise typer.Exit


def command_line() -> Any:
    """The whole command line as click has it."""
    group = typer.main.get_command(front)
    assert isinstance(group, Group)
    return group.knowing(TABLE)


def main() -> None:
    """The console script: every error is one line and an exit code of its own."""
    gc.disable()  # Nothing that is loaded is garbage yet, and looking for it takes a tenth longer.
    if COMPLETE in os.environ:
        know_the_shells()
    try:
        code = command_line()(prog_name="agentkit", standalone_mode=False)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except Exception as error:
        code = report(error)
    sys.exit(code or 0)
