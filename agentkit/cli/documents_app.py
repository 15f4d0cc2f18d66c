"""The command lines of `agentkit index` and `agentkit search`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli.options import Folder, InCollection, Json, Source, run


def index(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Files, folders or URLs; default: knowledge/.")
    ] = None,
    folder: Folder = Path(),
    collection: InCollection = "",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Embed all of it anew.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and follow changes.")] = False,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Processes that read files.")] = 1,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for another writer.")] = 5.0,
    ray: Annotated[str, typer.Option(help="A Ray cluster that embeds: an address, local.")] = "",
) -> None:
    """Bring an index up to date: new, changed, renamed and deleted documents."""
    from agentkit.cli import index as command

    options = command.IndexOptions(sources or (), collection, rebuild, watch, jobs, wait, ray)
    run(command.index(folder, options))


def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    folder: Folder = Path(),
    k: Annotated[int, typer.Option("-k", min=1, max=50, help="How many passages.")] = 5,
    source: Source = None,
    title: Annotated[str, typer.Option(help="Only where the title holds this.")] = "",
    tag: Annotated[list[str] | None, typer.Option(help="Only with this tag.")] = None,
    after: Annotated[datetime | None, typer.Option(help="Dated then or later.")] = None,
    before: Annotated[datetime | None, typer.Option(help="Dated then or earlier.")] = None,
    collection: InCollection = "",
    json: Json = False,
) -> None:
    """Print the passages that best match a query."""
    from agentkit.cli import index as command
    from agentkit.knowledge.search.filters import Filters

    filters = Filters(
        tuple(source or ()),
        title,
        tuple(tag or ()),
        after.date() if after else None,
        before.date() if before else None,
    )
    run(command.search(query, folder, k, json, filters, collection))
