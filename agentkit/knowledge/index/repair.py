"""Find out whether an index is sound, and mend what the catalog can restore.

The catalog is the truth: Chroma and the full text are rebuilt from it without embedding again. A
damaged catalog cannot be mended; then the documents or an archive bring the index back. A lock file
that nobody holds is in no one's way and no finding.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from contextlib import AsyncExitStack, closing
from pathlib import Path

from filelock import Timeout

from agentkit.errors import KnowledgeError
from agentkit.findings import Finding
from agentkit.knowledge.index.catalog import OUTDATED, Catalog
from agentkit.knowledge.index.consistency import (
    RESTORE,
    asked,
    check,
    examined,
    sound_vectors,
    unfinished,
    unsound_contents,
    unsound_documents,
)
from agentkit.knowledge.index.lock import writing
from agentkit.knowledge.index.schema import CATALOG, open_read_only, read_meta, rebuild_full_text
from agentkit.knowledge.index.vectors import Vectors

_SPARE = 50_000_000
_LOOSEN = (
    "DELETE FROM chunks WHERE document_id = ?",
    "DELETE FROM files WHERE source = (SELECT source FROM documents WHERE id = ?)",
    "UPDATE documents SET hash = '' WHERE id = ?",
)
_MENDED = {"catalog", "documents", "full text", "vectors", "chroma"}


async def diagnose(
    path: Path, *, embedder: str = "", vectors: Vectors | None = None, seconds: float = 600.0
) -> list[Finding]:
    """What is wrong with the index in a folder; nothing, if the list is empty. Writers wait
    meanwhile. `embedder` is the name of the one that a search would use, `vectors` is where they
    are if not in the folder, `seconds` what reading Chroma may take. Raises KnowledgeError where
    there is no index."""
    _known(path)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(writing(path, 0))
        except KnowledgeError as error:
            if isinstance(error.__cause__, Timeout):
                busy = Finding("warning", "lock", "another process writes to it", "Look later.")
                return [busy, *await asyncio.to_thread(check, path / CATALOG)]
        return await _findings(path, embedder, vectors, seconds)


async def repair(
    path: Path, *, embedder: str = "", vectors: Vectors | None = None, seconds: float = 600.0
) -> list[Finding]:
    """Mend an index and return what is still wrong with it. Other processes may have it open, this
    one must have closed it. Raises KnowledgeError where there is none, another process writes to
    it, or the disk does not let it be mended."""
    _known(path)
    async with writing(path, 5):
        found = await _findings(path, embedder, vectors, seconds)
        if parts := _to_mend(found):
            await asyncio.to_thread(_mend, path, parts, vectors)
            found = await _findings(path, embedder, vectors, seconds)
    return found


async def _findings(
    path: Path, embedder: str, vectors: Vectors | None, seconds: float
) -> list[Finding]:
    file = path / CATALOG
    found = await asyncio.to_thread(_folder, path)
    if not file.is_file():
        return [*found, Finding("problem", "catalog", "the file is not there", RESTORE)]
    inside = await asyncio.to_thread(check, file)
    found += inside
    if any(finding.part == "catalog" for finding in inside):
        return found
    found += await asyncio.to_thread(unfinished, file)
    found += await asyncio.to_thread(_agreement, file, embedder)
    if vectors is not None:
        return [*found, *await asyncio.to_thread(asked, path, vectors)]
    return [*found, *await examined(path, seconds)]


def _folder(path: Path) -> list[Finding]:
    """Permissions, and room for what a rebuild writes."""
    found = []
    closed = [p for p in (path, *path.rglob("*")) if not _is_open(p)]
    if closed:
        problem = f"{closed[0]} cannot be read and written by this user"
        found.append(Finding("warning", "folder", problem, "Change its permissions."))
    free = shutil.disk_usage(path).free
    if free < size_of(path) + _SPARE:
        problem = f"the disk has {free / 1e6:.0f} MB left, less than a rebuild takes"
        found.append(Finding("warning", "folder", problem, "Make room."))
    return found


def _is_open(path: Path) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, os.R_OK | os.W_OK, effective_ids=effective)


def size_of(path: Path) -> int:
    """The bytes of a folder's files, those left out that vanish meanwhile."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue
    return total


def _agreement(file: Path, embedder: str) -> list[Finding]:
    with open_read_only(file) as connection:
        made_with = read_meta(connection, "embedder")
    if not embedder or not made_with or made_with == embedder:
        return []
    problem = f"its vectors are of {made_with}, the settings name {embedder}"
    next_step = "Set [knowledge] embedder to the former, or run: agentkit index --rebuild"
    return [Finding("problem", "embedder", problem, next_step)]


def _to_mend(found: list[Finding]) -> set[str]:
    """The parts that are worth a repair; none where the catalog itself is damaged."""
    if any(finding.part == "catalog" and not finding.repairable for finding in found):
        return set()
    return {finding.part for finding in found} & _MENDED


def _mend(path: Path, parts: set[str], vectors: Vectors | None) -> None:
    """Bring catalog, full text and Chroma to what the live passages say. Raises KnowledgeError."""
    try:
        _mend_catalog(path, bool(parts & {"full text", "documents", "vectors"}))
        if parts - {"full text"}:
            rebuild_chroma(path, vectors)
    except Exception as error:
        raise KnowledgeError(
            f"{path} could not be mended ({error}). Look at its disk and permissions."
        ) from error


def _mend_catalog(path: Path, full_text: bool) -> None:
    """Delete what belongs to nothing or cannot be used. A document that this tears keeps its text
    and forgets its hash, so that the next indexing cuts and embeds it anew."""
    with closing(Catalog(path / CATALOG)) as catalog, catalog.writing() as connection:
        connection.execute(
            "DELETE FROM chunks WHERE state != 'active'"
            " OR document_id NOT IN (SELECT id FROM documents)"
        )
        torn = [(id_,) for id_ in unsound_documents(connection)]
        unsound = [(content,) for content in unsound_contents(connection)]
        connection.executemany("DELETE FROM embeddings WHERE content = ?", unsound)
        for statement in _LOOSEN:
            connection.executemany(statement, torn)
        if full_text:
            rebuild_full_text(connection)


def rebuild_chroma(path: Path, vectors: Vectors | None = None) -> None:
    """Make Chroma anew from the catalog beside it. Readers scan the catalog meanwhile."""
    with open_read_only(path / CATALOG) as connection:
        ids, matrix = sound_vectors(connection)
    chroma = vectors or Vectors(path / "chroma")
    with closing(Catalog(path / CATALOG)) as catalog:
        catalog.mark_chroma(OUTDATED)
        chroma.clear()
        if ids:
            chroma.upsert(ids, matrix)
        if vectors is None:
            chroma.close()
        catalog.mark_chroma("")


def _known(path: Path) -> None:
    if not path.is_dir():
        raise KnowledgeError(f"{path} holds no index. Make one with: agentkit index")
