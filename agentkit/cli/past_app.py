"""`agentkit sessions` and `agentkit trace`: thin commands over what was said and done before."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli import complete
from agentkit.cli.options import Folder, Json, group, run

sessions = group("See, find, rename, copy, export and delete past conversations.")
trace = group("See what happened in past runs, step by step, and run one again.")

Session = Annotated[
    str,
    typer.Argument(
        help="Its id, its name, the beginning of either, or last.",
        autocompletion=complete.sessions,
    ),
]
Run = Annotated[str, typer.Argument(help="A run's id, the beginning of it, or last.")]


@sessions.command(name="list")
def list_sessions(folder: Folder = Path(), json: Json = False) -> None:
    """List the conversations, the last used first."""
    from agentkit.cli import sessions as command

    run(command.list_sessions(folder, json))


@sessions.command()
def search(
    words: Annotated[str, typer.Argument(help="What was said.")],
    folder: Folder = Path(),
    json: Json = False,
) -> None:
    """Find the conversations in which something was said."""
    from agentkit.cli import sessions as command

    run(command.search(words, folder, json))


@sessions.command()
def show(session: Session = "last", folder: Folder = Path(), json: Json = False) -> None:
    """Print a conversation as Markdown, or as JSON."""
    from agentkit.cli import sessions as command

    run(command.export(session, folder, None, json))


@sessions.command()
def export(
    session: Session,
    file: Annotated[Path, typer.Argument(help="Such as talk.md, or talk.json.")],
    folder: Folder = Path(),
) -> None:
    """Write a conversation to a file, as JSON where its name ends so."""
    from agentkit.cli import sessions as command

    run(command.export(session, folder, file, file.suffix == ".json"))


@sessions.command()
def rename(
    session: Session,
    name: Annotated[str, typer.Argument(help="The new name.")],
    folder: Folder = Path(),
) -> None:
    """Call a conversation something else."""
    from agentkit.cli import sessions as command

    run(command.rename(session, name, folder))


@sessions.command()
def fork(
    session: Session,
    name: Annotated[str, typer.Option(help="The copy's name.")] = "",
    folder: Folder = Path(),
) -> None:
    """Begin a new conversation as another one did."""
    from agentkit.cli import sessions as command

    run(command.fork(session, name, folder))


@sessions.command()
def delete(
    session: Session,
    folder: Folder = Path(),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget a conversation."""
    from agentkit.cli import sessions as command

    run(command.delete(session, folder, yes))


@trace.command(name="list")
def list_traces(folder: Folder = Path(), json: Json = False) -> None:
    """List the runs that are kept, the newest first."""
    from agentkit.cli import trace as command

    run(command.list_traces(folder, json))


@trace.command(name="show")
def show_trace(which: Run = "last", folder: Folder = Path(), json: Json = False) -> None:
    """Print a run step by step: requests, answers, tools, times and tokens."""
    from agentkit.cli import trace as command

    run(command.show(which, folder, json))


@trace.command()
def replay(which: Run = "last", folder: Folder = Path(), json: Json = False) -> None:
    """Run it again on the answers that the model gave, and say where it differs now."""
    from agentkit.cli import trace as command

    run(command.replay(which, folder, json))
