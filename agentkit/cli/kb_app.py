"""The command lines of `agentkit kb`: thin commands over the collections of a project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli.options import Folder, Json, group, run

kb = group("Look at the collections, check and carry them.")

Collection = Annotated[str, typer.Argument(help="A collection; knowledge is the folder's own.")]
Replace = Annotated[bool, typer.Option("--replace", help="Put it where something is already.")]


@kb.command(name="list")
def list_collections(folder: Folder = Path(), json: Json = False) -> None:
    """List the collections with their counts and sizes."""
    from agentkit.cli import kb as command

    run(command.list_collections(folder, json))


@kb.command()
def show(name: Collection = "knowledge", folder: Folder = Path(), json: Json = False) -> None:
    """List the documents of a collection."""
    from agentkit.cli import kb as command

    run(command.show(name, folder, json))


@kb.command()
def stats(name: Collection = "knowledge", folder: Folder = Path(), json: Json = False) -> None:
    """Print what a collection holds and what it takes on the disk."""
    from agentkit.cli import kb as command

    run(command.stats(name, folder, json))


@kb.command()
def remove(
    name: Collection,
    sources: Annotated[list[str] | None, typer.Argument(help="Its documents; none: all.")] = None,
    folder: Folder = Path(),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a collection, or documents of one. Files outside the index stay."""
    from agentkit.cli import kb as command

    run(command.remove(name, sources or [], folder, yes))


@kb.command()
def export(
    name: Collection,
    file: Annotated[Path, typer.Argument(help="The archive to write.")],
    folder: Folder = Path(),
    replace: Replace = False,
) -> None:
    """Write a collection to one file, to carry elsewhere."""
    from agentkit.cli import kb as command

    run(command.export(name, file, folder, replace))


@kb.command(name="import")
def import_archive(
    file: Annotated[Path, typer.Argument(help="An archive that export wrote.")],
    name: Annotated[str, typer.Option("--name", help="Default: the name it had.")] = "",
    folder: Folder = Path(),
    replace: Replace = False,
) -> None:
    """Make a collection of an archive, without embedding."""
    from agentkit.cli import kb as command

    run(command.import_(file, name, folder, replace))


@kb.command()
def doctor(
    name: Annotated[str, typer.Argument(help="A collection; default: all.")] = "",
    folder: Folder = Path(),
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    json: Json = False,
) -> None:
    """Check that nothing is lost, doubled or damaged. Ends with 8 if something is."""
    from agentkit.cli import kb as command

    run(command.doctor(name, folder, repair, json))
