"""`agentkit kb`: list, inspect, check, export and import the collections of a project."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.cells import set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer import Argument, Option

from agentkit.cli.command import Folder, Json, Yes, command, group
from agentkit.cli.console import confirm, open_consoles, print_json, print_notes, print_table
from agentkit.cli.errors import EXIT_CODES
from agentkit.cli.i18n import _
from agentkit.cli.text import format_size
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.findings import for_folder, name_project, quantity

if TYPE_CHECKING:
    from agentkit.findings import Finding
    from agentkit.knowledge.index.collections import CollectionInfo, Collections, Stats

_NAME_WIDTH = 9

app = group("kb", _("List, inspect, check, export and import collections."))

Collection = Annotated[
    str, Argument(help=_("A collection; knowledge is the folder's own documents."))
]
Replace = Annotated[bool, Option("--replace", help=_("Replace what is already there."))]


@command(app, "list", _("List the collections with their counts and sizes."), "agentkit kb list")
async def list_collections(folder: Folder = Path(), json: Json = False) -> None:
    out, log = open_consoles()
    found = _collections(folder, log).list()
    if json:
        print_json([{**asdict(info), "path": str(info.path)} for info in found])
        return
    if not found:
        log.print(
            Text(f"There is no collection yet. Make the first with: {_index_command(folder)}")
        )
        return
    table = _table("name", "embedder", numbers=("documents", "passages", "size"))
    for info in found:
        counts = (str(info.documents), str(info.chunks), format_size(info.bytes))
        table.add_row(Text(info.name), Text(info.problem or info.embedder or "-"), *counts)
    print_table(table, out)


@command(
    app,
    "show",
    _("List the documents of a collection."),
    "agentkit kb show",
    "agentkit kb show papers --json",
    "agentkit kb show --unread",
)
async def show(
    name: Collection = "knowledge",
    folder: Folder = Path(),
    unread: Annotated[bool, Option("--unread", help=_("The files that were not read."))] = False,
    json: Json = False,
) -> None:
    out, log = open_consoles()
    rows = _documents(_collections(folder, log).find(name), unread)
    if json:
        print_json(rows)
        return
    if unread:
        for row in rows:
            out.print(Text(row["reason"]))
        if not rows:
            log.print(Text("every file was read", "dim"))
        return
    table = _table("source", "title", "kind", numbers=("characters", "passages"))
    for row in rows:
        words = (Text(row["source"]), Text(row["title"]), row["kind"])
        table.add_row(*words, str(row["characters"]), str(row["passages"]))
    print_table(table, out)


@command(
    app, "stats", _("Print what a collection holds and its size on disk."), "agentkit kb stats"
)
async def stats(
    name: Collection = "knowledge", folder: Folder = Path(), json: Json = False
) -> None:
    from agentkit.knowledge.index.collections import stats_of

    out, log = open_consoles()
    found = stats_of(_collections(folder, log).find(name))
    if json:
        print_json({**asdict(found), "path": str(found.path)})
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for label, value in _format_stats(found):
        table.add_row(label, Text(value))
    print_table(table, out)


@command(
    app,
    "remove",
    _("Delete a collection, or some of its documents. Files outside the index stay."),
    "agentkit kb remove papers",
)
async def remove(
    name: Collection,
    sources: Annotated[list[str] | None, Argument(help=_("Its documents; default: all."))] = None,
    folder: Folder = Path(),
    yes: Yes = False,
) -> None:
    out, log = open_consoles()
    collections = _collections(folder, log)
    info = collections.find(name)
    count = quantity(len(sources or ()) or info.documents, "document")
    what = count if sources else f"everything ({count})"
    if not confirm(f"Remove from {info.name!r} {what}? Files outside the index stay.", yes=yes):
        raise ConfigError("Nothing was removed.")
    if not sources:
        await collections.remove(name)
        out.print(Text(f"Removed: {info.name}"))
        return
    knowledge = collections.open(name)
    try:
        await knowledge.remove(sources)
    finally:
        knowledge.close()
    out.print(Text(f"Removed from {info.name}: {', '.join(sources)}"))


@command(
    app,
    "export",
    _("Write a collection to one file."),
    "agentkit kb export knowledge notes.agentkit",
)
async def export(
    name: Collection,
    file: Annotated[Path, Argument(help=_("The archive to write."))],
    folder: Folder = Path(),
    replace: Replace = False,
) -> None:
    from agentkit.knowledge.index.archive import export_archive

    out, log = open_consoles()
    info = _collections(folder, log).find(name)
    archive = export_archive(info.path, info.name, file, replace=replace)
    size = format_size(file.stat().st_size)
    out.print(Text(f"{file}: {_count(archive.documents, archive.chunks)}, {size}."))


@command(
    app,
    "import",
    _("Create a collection from an archive, without embedding."),
    "agentkit kb import notes.agentkit --name papers",
)
async def import_collection(
    file: Annotated[Path, Argument(help=_("An archive written by export."))],
    name: Annotated[str, Option("--name", help=_("Default: the name it had."))] = "",
    folder: Folder = Path(),
    replace: Replace = False,
) -> None:
    from agentkit.knowledge.index.archive import import_archive
    from agentkit.project.project import Project

    out, log = open_consoles()
    project = Project.open(folder)
    print_notes(project.notices, log)
    made = await import_archive(file, project.collections, name=name, replace=replace)
    out.print(Text(f"{made.name}: {_count(made.documents, made.chunks)}."))
    own = project.embedder_name
    if made.embedder and own and made.embedder != own:
        note = (
            f"{made.name} was embedded with {made.embedder}, but the settings name {own}. To "
            f"search it, set [knowledge] embedder to {made.embedder}."
        )
        print_notes([note], log)


@command(
    app,
    "doctor",
    _("Check for lost, duplicate or damaged data. Exits with 8 if any is found."),
    "agentkit kb doctor --repair",
)
async def doctor(
    name: Annotated[str, Argument(help=_("A collection; default: all."))] = "",
    folder: Folder = Path(),
    repair: Annotated[bool, Option("--repair", help=_("Repair what can be repaired."))] = False,
    json: Json = False,
) -> int:
    from agentkit.knowledge.index import doctor as checks
    from agentkit.knowledge.index.stores import open_store
    from agentkit.project.project import Project

    out, log = open_consoles()
    project = Project.open(folder)
    print_notes(project.notices, log)
    collections = [project.collections.find(name)] if name else project.collections.list()
    if not collections:
        raise KnowledgeError(f"{folder} has no index. Make one with: {_index_command(folder)}")
    examine = checks.repair if repair else checks.diagnose
    store = project.settings.knowledge.store
    found = {}
    for info in collections:
        vectors = open_store(info.path, store) if store else None
        embedder = project.embedder_name
        found[info.name] = await examine(info.path, embedder=embedder, vectors=vectors)
    if json:
        print_json({name: [asdict(each) for each in findings] for name, findings in found.items()})
    else:
        for info in collections:
            _print_findings(info, found[info.name], out)
    return EXIT_CODES[KnowledgeError] if any(found.values()) else 0


def _collections(folder: Path, log: Console) -> Collections:
    from agentkit.project.project import Project

    project = Project.open(folder)
    print_notes(project.notices, log)
    return project.collections


_DOCUMENTS = (
    "SELECT source, title, format, length(text), (SELECT count(*) FROM chunks"
    " WHERE document_id = documents.id AND state = 'active') FROM documents ORDER BY source"
)
_UNREAD = "SELECT source, unread FROM files WHERE unread != '' ORDER BY source"


def _documents(info: CollectionInfo, unread: bool = False) -> list[dict[str, Any]]:
    """A record for each document, or for each file that was not read."""
    import sqlite3

    from agentkit.knowledge.index.schema import CATALOG, open_read_only

    try:
        with open_read_only(info.path / CATALOG) as connection:
            rows = connection.execute(_UNREAD if unread else _DOCUMENTS).fetchall()
    except sqlite3.Error as error:
        step = name_project("Run: agentkit kb doctor", info.path)
        raise KnowledgeError(f"{info.name} cannot be read ({error}). {step}") from error
    of_document = ("source", "title", "kind", "characters", "passages")
    keys = ("source", "reason") if unread else of_document
    return [dict(zip(keys, row, strict=True)) for row in rows]


def _print_findings(info: CollectionInfo, findings: Sequence[Finding], out: Console) -> None:
    if not findings:
        counts = f": ok ({_count(info.documents, info.chunks)})"
        out.print(Text(info.name, "bold").append(counts, "not bold"))
        return
    out.print(Text(info.name, style="bold"))
    for finding in findings:
        level = set_cell_size(finding.level, 8)
        colour = "red" if finding.level == "problem" else "yellow"
        out.print(Text.assemble("  ", (level, colour), f"{finding.part}: {finding.message}"))
        out.print(Text(f"          {finding.next_step}", style="dim"))


def _index_command(folder: Path) -> str:
    return for_folder("agentkit index", folder, "-C")


def _count(documents: int, passages: int) -> str:
    return f"{quantity(documents, 'document')}, {quantity(passages, 'passage')}"


def _format_stats(found: Stats) -> list[tuple[str, str]]:
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.indexed_at))
    largest = [f"{source} ({number} characters)" for source, number in found.largest]
    labels = ("largest", *("" for _each in largest[1:]))
    return [
        ("collection", found.name),
        ("folder", str(found.path)),
        ("embedder", f"{found.embedder or '-'}, {found.dimension} dimensions"),
        ("documents", f"{found.documents} ({found.characters} characters)"),
        ("passages", f"{found.chunks} (about {found.mean_characters} characters each)"),
        ("last write", written),
        ("on disk", format_size(found.bytes)),
        ("  catalog", f"{format_size(found.catalog_bytes)}, of which"),
        ("    full text", format_size(found.full_text_bytes)),
        ("    vectors", format_size(found.vector_bytes)),
        ("  chroma", format_size(found.chroma_bytes)),
        ("  token vectors", format_size(found.token_bytes)),
        *zip(labels, largest, strict=False),
    ]


def _table(first: str, *words: str, numbers: Sequence[str]) -> Table:
    """Columns of words and numbers; on a narrow terminal those between are cut."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first, overflow="fold", min_width=_NAME_WIDTH)
    for word in words:
        table.add_column(word, overflow="ellipsis")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table
