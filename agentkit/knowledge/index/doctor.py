"""Check whether an index is sound, and repair what the catalog can restore.

The catalog is the source of truth: Chroma and the full text are rebuilt from it without embedding
again. A damaged catalog cannot be repaired: the documents or an archive restore the index. A lock
file that nobody holds does no harm and is no finding.

`agentkit doctor` checks each index in a child process, since damage can end the process that reads
it and a thread that reads for long cannot be stopped.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Sequence
from contextlib import AsyncExitStack, closing, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
from filelock import Timeout

from agentkit._child import Bounds, ChildFailed
from agentkit._child.process import call_in_child
from agentkit._child.worker import Report
from agentkit.addresses import is_loopback
from agentkit.errors import KnowledgeError
from agentkit.findings import Finding, name_project, ok, quantity
from agentkit.knowledge.index.catalog import OUTDATED, Catalog
from agentkit.knowledge.index.chroma_process import ChromaProcess
from agentkit.knowledge.index.collections import CollectionInfo, size_of, token_bytes
from agentkit.knowledge.index.consistency import (
    RESTORE,
    check,
    check_chroma,
    check_store,
    sound_vectors,
    unfinished,
    unsound_contents,
    unsound_documents,
)
from agentkit.knowledge.index.schema import (
    CATALOG,
    open_read_only,
    read_meta,
    rebuild_full_text,
)
from agentkit.knowledge.index.stores import open_store, parse_server
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.index.write_lock import writing

_SPARE_BYTES = 50_000_000
_FORGET_DOCUMENT = (
    "DELETE FROM chunks WHERE document_id = ?",
    "DELETE FROM files WHERE source = (SELECT source FROM documents WHERE id = ?)",
    "UPDATE documents SET hash = '' WHERE id = ?",
)
_REPAIRED = {"catalog", "documents", "full text", "vectors", "chroma"}


async def diagnose(
    path: Path, *, embedder: str = "", vectors: Vectors | None = None, seconds: float = 600.0
) -> list[Finding]:
    """The findings of checking the index in a folder, none for a sound one. Writers wait meanwhile.
    `embedder` is the name of the one that a search would use, `vectors` the store if not in the
    folder, `seconds` bounds reading Chroma. Raises KnowledgeError where there is no index."""
    _check_exists(path)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(writing(path, 0))
        except KnowledgeError as error:
            if isinstance(error.__cause__, Timeout):
                busy = Finding("warning", "lock", "another process writes to it", "Check it later.")
                return [busy, *_named_project(await asyncio.to_thread(check, path / CATALOG), path)]
        return await _check_index(path, embedder, vectors, seconds)


async def repair(
    path: Path, *, embedder: str = "", vectors: Vectors | None = None, seconds: float = 600.0
) -> list[Finding]:
    """Repair an index and return the findings that are left. Other processes may have it open,
    this one must have closed it. Raises KnowledgeError where there is none, another process writes
    to it, or the disk fails."""
    _check_exists(path)
    async with writing(path, 5):
        found = await _check_index(path, embedder, vectors, seconds)
        is_lost = any(f.part == "catalog" and not f.repairable for f in found)
        parts = {f.part for f in found} & _REPAIRED
        if parts and not is_lost:
            try:
                await asyncio.to_thread(_repair_parts, path, parts, vectors)
            except Exception as error:
                raise KnowledgeError(
                    f"{path} could not be repaired ({error}). Check its disk and permissions."
                ) from error
            found = await _check_index(path, embedder, vectors, seconds)
    return found


def _check_exists(path: Path) -> None:
    if not path.is_dir():
        step = name_project("Create one with: agentkit index", path)
        raise KnowledgeError(f"{path} holds no index. {step}")


async def _check_index(
    path: Path, embedder: str, vectors: Vectors | None, seconds: float
) -> list[Finding]:
    return _named_project(await _check_parts(path, embedder, vectors, seconds), path)


def _named_project(found: Sequence[Finding], path: Path) -> list[Finding]:
    return [replace(each, next_step=name_project(each.next_step, path)) for each in found]


async def _check_parts(
    path: Path, embedder: str, vectors: Vectors | None, seconds: float
) -> list[Finding]:
    file = path / CATALOG
    found = await asyncio.to_thread(_check_folder, path)
    if not file.is_file():
        return [*found, Finding("problem", "catalog", "the file does not exist", RESTORE)]
    inside = await asyncio.to_thread(check, file)
    found += inside
    if any(finding.part == "catalog" for finding in inside):
        return found
    found += await asyncio.to_thread(unfinished, file)
    found += await asyncio.to_thread(_check_embedder, file, embedder)
    if vectors is not None:
        return [*found, *await asyncio.to_thread(check_store, path, vectors)]
    return [*found, *await check_chroma(path, seconds)]


def _check_folder(path: Path) -> list[Finding]:
    """Permissions, and room for what a rebuild writes."""
    found = []
    effective = os.access in os.supports_effective_ids
    for file in (path, *path.rglob("*")):
        if not os.access(file, os.R_OK | os.W_OK, effective_ids=effective):
            message = f"{file} cannot be read and written by this user"
            found.append(Finding("warning", "folder", message, "Change its permissions."))
            break
    free = shutil.disk_usage(path).free
    if free < size_of(path) + _SPARE_BYTES:
        message = f"the disk has {free / 1e6:.0f} MB left, less than a rebuild takes"
        found.append(Finding("warning", "folder", message, "Free some space."))
    return found


def _check_embedder(file: Path, embedder: str) -> list[Finding]:
    with open_read_only(file) as connection:
        stored = read_meta(connection, "embedder")
    if not embedder or not stored or stored == embedder:
        return []
    message = f"its vectors are of {stored}, the settings name {embedder}"
    next_step = "Set [knowledge] embedder to the former, or run: agentkit index --rebuild"
    return [Finding("problem", "embedder", message, next_step)]


def _repair_parts(path: Path, parts: set[str], vectors: Vectors | None) -> None:
    """Delete what belongs to nothing or cannot be used, and rebuild full text and Chroma. A
    document that this affects loses its hash, so the next indexing splits and embeds it again."""
    with closing(Catalog(path / CATALOG)) as catalog, catalog.writing() as connection:
        connection.execute(
            "DELETE FROM chunks WHERE state != 'active'"
            " OR document_id NOT IN (SELECT id FROM documents)"
        )
        affected = [(id_,) for id_ in unsound_documents(connection)]
        unsound = [(content,) for content in unsound_contents(connection)]
        connection.executemany("DELETE FROM embeddings WHERE content = ?", unsound)
        for statement in _FORGET_DOCUMENT:
            connection.executemany(statement, affected)
        if parts & {"full text", "documents", "vectors"}:
            rebuild_full_text(connection)
    if parts != {"full text"}:
        rebuild_chroma(path, vectors)


def rebuild_chroma(path: Path, vectors: Vectors | None = None) -> None:
    """Rebuild Chroma from the catalog beside it. Readers scan the catalog meanwhile."""
    with open_read_only(path / CATALOG) as connection:
        ids, matrix = sound_vectors(connection)
    chroma = vectors or ChromaProcess(path / "chroma")
    with closing(Catalog(path / CATALOG)) as catalog:
        catalog.mark_chroma(OUTDATED)
        chroma.clear()
        if ids:
            chroma.upsert(ids, matrix)
        if vectors is None:
            chroma.close()
        catalog.mark_chroma("")


async def check_indexes(
    found: Sequence[CollectionInfo], embedder: str, store: str, seconds: float
) -> list[Finding]:
    """Check each index in a child process, for at most so many seconds."""
    if not found:
        return [ok("index", "none yet: the first question creates it")]
    checks = [_check_in_child(info, embedder, store, seconds) for info in found]
    return [finding for findings in await asyncio.gather(*checks) for finding in findings]


def warn_of_store(setting: str) -> list[Finding]:
    """A note on the security of a Chroma server that keeps the vectors."""
    if not setting.startswith("http"):
        return []
    message = (
        "a Chroma server that runs in Python, 1.0.0 to 1.5.9, lets whoever reaches it run code "
        "(CVE-2026-45829); the one that `chroma run` starts is another"
    )
    step = "Start it with chroma run, and let only this machine or a proxy with keys reach it."
    return [Finding("note", "store", message, step)]


async def _check_in_child(
    info: CollectionInfo, embedder: str, store: str, seconds: float
) -> list[Finding]:
    arguments = {"index": str(info.path), "embedder": embedder, "store": store, "seconds": seconds}
    try:
        records = await call_in_child(
            f"{__name__}:check_in_child",
            arguments,
            bounds=Bounds(seconds=seconds),
            environment=os.environ,  # It may hold the key of a Chroma server.
        )
        found = [Finding(**finding) for finding in records]
    except ChildFailed as error:
        if error.kind == "time":
            message = f"{info.name}: not checked completely within {seconds:.0f} s"
            step = name_project("Run: agentkit kb doctor", info.path)
            return [Finding("warning", "index", message, step)]
        step = "Run: agentkit kb doctor. Or delete the index's folder and index again."
        step = name_project(step, info.path)
        return [Finding("problem", "index", f"{info.name}: cannot be checked: {error}", step)]
    if not found:
        counts = f"{quantity(info.documents, 'document')}, {quantity(info.chunks, 'passage')}"
        if size := token_bytes(info.path):
            counts += f", {size / 1e6:.1f} MB of token vectors"
        made_with = info.embedder or "no embedder yet"
        return [ok("index", f"{info.name}: sound, {counts}, by {made_with}")]
    return [_named(info, finding) for finding in found]


def _named(info: CollectionInfo, finding: Finding) -> Finding:
    """A finding with the name of its index; a lock with the process that holds it."""
    message = f"{info.name}: {finding.message}"
    if finding.part == "lock":
        return Finding("note", "lock", f"{message}{holder(info.path)}", finding.next_step)
    if finding.part == "embedder":
        return replace(finding, message=message)
    return replace(finding, part="index", message=f"{info.name}: {finding.part}: {finding.message}")


def holder(index: Path) -> str:
    """The process that holds the lock of an index, "" where it is unknown."""
    with suppress(OSError, ValueError, psutil.Error):
        number = int((index / "writer").read_text(encoding="ascii")[:20])
        return f" (process {number}, {psutil.Process(number).name()})"
    return ""


async def _check_local(index: Path, embedder: str, store: str, seconds: float) -> list[Finding]:
    """Check an index without asking other machines. Raises KnowledgeError."""
    if not store:
        return await diagnose(index, embedder=embedder, seconds=seconds)
    if is_loopback(parse_server(store).url):
        return await diagnose(index, embedder=embedder, vectors=open_store(index, store))
    file = index / CATALOG
    return _named_project([*check(file), *unfinished(file)], index)


def check_in_child(
    _: bytes, report: Report, *, index: str, embedder: str, store: str, seconds: float
) -> list[dict[str, Any]]:
    """Check an index in a child: its findings as records."""
    found = asyncio.run(_check_local(Path(index), embedder, store, seconds))
    return [asdict(finding) for finding in found]
