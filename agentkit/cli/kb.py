"""`agentkit kb`: the collections of a project, looked at, checked and carried elsewhere."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.cells import set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentkit.cli.errors import EXIT_CODES
from agentkit.cli.language import labelled, titled, translated
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles, warn
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.findings import Finding
from agentkit.knowledge.index.archive import export_archive, import_archive
from agentkit.knowledge.index.collections import CollectionInfo, Collections, Stats, stats_of
from agentkit.knowledge.index.doctor import diagnose, repair
from agentkit.knowledge.index.schema import CATALOG, open_read_only
from agentkit.knowledge.index.vectors import open_store
from agentkit.project.project import Project

_NAME, _WIDTH_OF_A_PIPE = 9, 2000


async def list_collections(folder: Path, json: bool) -> int:
    """Every collection with its counts and size."""
    out, log = consoles()
    found = await asyncio.to_thread(_collections(folder, log).list)
    if json:
        print(as_json([_as_json(info) for info in found]))
        return 0
    if not found:
        none = "There is no collection yet. Make the first with: agentkit index"
        log.print(translated(none), markup=False)
        return 0
    numbers = (translated("documents"), translated("passages"), translated("size"))
    table = _table(translated("name"), translated("embedder"), numbers=numbers)
    for info in found:
        counts = (str(info.documents), str(info.chunks), _size(info.bytes))
        table.add_row(Text(info.name), Text(info.problem or info.embedder or "-"), *counts)
    _draw(table, out)
    return 0


async def show(name: str, folder: Path, json: bool) -> int:
    """The documents of a collection."""
    out, log = consoles()
    info = _collections(folder, log).find(name)
    rows = await asyncio.to_thread(_documents, info)
    if json:
        print(as_json(rows))
        return 0
    titles = (translated("source"), translated("title"), translated("kind"))
    table = _table(*titles, numbers=(translated("characters"), translated("passages")))
    for row in rows:
        words = (Text(row["source"]), Text(row["title"]), row["kind"])
        table.add_row(*words, str(row["characters"]), str(row["passages"]))
    _draw(table, out)
    return 0


async def stats(name: str, folder: Path, json: bool) -> int:
    """What a collection holds and takes."""
    out, log = consoles()
    found = await asyncio.to_thread(stats_of, _collections(folder, log).find(name))
    if json:
        print(as_json({**asdict(found), "path": str(found.path)}))
        return 0
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for label, shown in _lines(found):
        table.add_row(label, Text(shown))
    _draw(table, out)
    return 0


async def remove(name: str, sources: list[str], folder: Path, yes: bool) -> int:
    """Delete a collection, or documents of one, after a question."""
    out, log = consoles()
    collections = _collections(folder, log)
    info = collections.find(name)
    what = f"{len(sources)} of its documents" if sources else f"all its {info.documents} documents"
    question = f"Remove from {info.name!r} {what}? Files outside the index stay."
    _confirm(translated(question), yes)
    if not sources:
        await collections.remove(name)
        out.print(labelled("Removed:", info.name), markup=False)
        return 0
    knowledge = collections.open(name)
    try:
        await knowledge.remove(sources)
    finally:
        knowledge.close()
    out.print(labelled(f"Removed from {info.name}:", ", ".join(sources)), markup=False)
    return 0


async def export(name: str, file: Path, folder: Path, replace: bool) -> int:
    """Write a collection to one file."""
    out, log = consoles()
    info = _collections(folder, log).find(name)
    made = await asyncio.to_thread(export_archive, info.path, info.name, file, replace=replace)
    size = _size(file.stat().st_size)
    told = f"{file}: {made.documents} documents, {made.chunks} passages, {size}."
    out.print(translated(told), markup=False)
    return 0


async def import_(file: Path, name: str, folder: Path, replace: bool) -> int:
    """Make a collection of an archive."""
    out, log = consoles()
    project = Project.open(folder)
    warn(project.notices, log)
    collections = project.collections
    made = await import_archive(file, collections, name=name, replace=replace)
    told = f"{made.name}: {made.documents} documents, {made.chunks} passages."
    out.print(translated(told), markup=False)
    own = project.embedder_name
    if made.embedder and own and made.embedder != own:
        told = (
            f"{made.name} was made with the embedder {made.embedder}, the settings name {own}: "
            "a search in it needs the former. Set [knowledge] embedder."
        )
        warn([told], log)
    return 0


async def doctor(name: str, folder: Path, mend: bool, json: bool) -> int:
    """Check one collection or all, and mend what can be mended."""
    out, log = consoles()
    project = Project.open(folder)
    warn(project.notices, log)
    every = [project.collections.find(name)] if name else project.collections.list()
    if not every:
        raise KnowledgeError(f"{folder} has no index. Make one with: agentkit index")
    examine = repair if mend else diagnose
    store = project.settings.knowledge.store
    found = {}
    for info in every:
        vectors = open_store(info.path, store) if store else None
        name_ = project.embedder_name
        found[info.name] = await examine(info.path, embedder=name_, vectors=vectors)
    if json:
        print(as_json({name: [asdict(f) for f in findings] for name, findings in found.items()}))
    else:
        for info in every:
            _show_findings(info, found[info.name], out)
    return EXIT_CODES[KnowledgeError] if any(found.values()) else 0


def _collections(folder: Path, log: Console) -> Collections:
    project = Project.open(folder)
    warn(project.notices, log)
    return project.collections


def _documents(info: CollectionInfo) -> list[dict[str, Any]]:
    try:
        with open_read_only(info.path / CATALOG) as connection:
            rows = connection.execute(
                "SELECT source, title, format, length(text), (SELECT count(*) FROM chunks"
                " WHERE document_id = documents.id AND state = 'active')"
                " FROM documents ORDER BY source"
            ).fetchall()
    except sqlite3.Error as error:
        raise KnowledgeError(
            f"{info.name} cannot be read ({error}). Run: agentkit kb doctor"
        ) from error
    keys = ("source", "title", "kind", "characters", "passages")
    return [dict(zip(keys, row, strict=True)) for row in rows]


def _confirm(question: str, yes: bool) -> None:
    """Go on only with a yes. Raises ConfigError where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("Nobody can be asked here. Add --yes to remove without a question.")
    print(question, "[y/N]", end=" ", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise ConfigError("Nothing was removed.")


def _show_findings(info: CollectionInfo, findings: list[Finding], out: Console) -> None:
    if not findings:
        told = translated(f"sound ({info.documents} documents, {info.chunks} passages)")
        out.print(Text.assemble((info.name, "bold"), f": {told}"))
        return
    out.print(Text(info.name, style="bold"))
    for finding in findings:
        colour = "red" if finding.level == "problem" else "yellow"
        level = set_cell_size(translated(finding.level), 8)
        line = Text.assemble("  ", (level, colour), titled(finding.part))
        out.print(line.append(translated(finding.message)))
        out.print(Text(f"          {translated(finding.next_step)}", style="dim"))


def _lines(found: Stats) -> list[tuple[str, str]]:
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(found.indexed_at))
    numbers = translated(f"{found.embedder or '-'}, {found.dimension} numbers a passage")
    each = translated(f"about {found.mean_characters} characters each")
    return [
        (translated("collection"), found.name),
        (translated("folder"), str(found.path)),
        (translated("embedder"), numbers),
        (translated("documents"), f"{found.documents} ({_characters(found.characters)})"),
        (translated("passages"), f"{found.chunks} ({each})"),
        (translated("last write"), written),
        (translated("on disk"), _size(found.bytes)),
        (translated("  catalog"), translated(f"{_size(found.catalog_bytes)}, with what follows")),
        (translated("    full text"), _size(found.full_text_bytes)),
        (translated("    vectors"), _size(found.vector_bytes)),
        ("  chroma", _size(found.chroma_bytes)),
        *_largest(found),
    ]


def _largest(found: Stats) -> list[tuple[str, str]]:
    labels = (translated("largest"), *("" for _ in found.largest))
    sizes = (f"{source} ({_characters(number)})" for source, number in found.largest)
    return list(zip(labels, sizes, strict=False))


def _characters(number: int) -> str:
    return translated(f"{number} characters")


def _table(first: str, *words: str, numbers: Sequence[str]) -> Table:
    """Columns of words and numbers; where there is no room, those between give way."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first, overflow="fold", min_width=_NAME)
    for word in words:
        table.add_column(word, overflow="ellipsis")
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _draw(table: Table, out: Console) -> None:
    """Fitted to a terminal; a pipe gets whole lines."""
    width = None if out.is_terminal else _WIDTH_OF_A_PIPE
    out.print(table, width=width, soft_wrap=False)


def _size(number: int) -> str:
    """Bytes for people."""
    size = float(number)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _as_json(info: CollectionInfo) -> dict[str, Any]:
    return {**asdict(info), "path": str(info.path)}
