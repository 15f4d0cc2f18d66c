"""Read a folder's files for the index, and watch it for changes.

Each file is read and hashed once, since times and sizes can be wrong, and parsed if it changed. A
file whose parser exceeded its bounds or crashed is not parsed again until it changes. While a
folder is watched, the system reports that something changed; what changed is found by hashing.
Where the system reports nothing (some network drives), set WATCHFILES_FORCE_POLLING=1.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.indexer import Entry, Incoming, Unreadable
from agentkit.knowledge.index.report import IndexReport, OnProgress, ignore_progress
from agentkit.knowledge.index.roots import Selection
from agentkit.knowledge.loaders.files import Parsers, UnparsedFile, installed_parsers, read_bytes

if TYPE_CHECKING:
    from agentkit.knowledge.knowledge_base import KnowledgeBase

_LOADER_VERSION = "5"
"""Raise it when a loader or the splitter gives another text or other chunks for the same file."""


class Folder:
    """The files of a selection, to be indexed: a folder, a part of one, or a single file."""

    def __init__(self, selection: Selection, max_bytes: int) -> None:
        self._selection = selection
        self._max_bytes = max_bytes

    def entries(self, known: Mapping[str, str], cut: str, parsers: Parsers) -> list[Entry]:
        """Every file as an entry to load. `known` are the hashes of files by source, `cut` is what
        else determines a document's chunks."""
        found: dict[str, Entry] = {}
        twins: list[Entry] = []
        for path in self._selection.files():
            source = self._selection.source(path)
            read = partial(self._read, path, source, cut, known.get(source, ""), parsers)
            try:
                size = path.stat().st_size
            except OSError:  # It is reported when it is read.
                size = 0
            if source in found:
                twins.append(Entry(source, 0, partial(_refuse_twin, path)))
            else:
                found[source] = Entry(source, size, read)
        return [*found.values(), *twins]

    def _read(
        self, path: Path, source: str, cut: str, known: str, parsers: Parsers
    ) -> Incoming | Unreadable | None:
        """The file's document, None where its hash is the known one. Raises KnowledgeError."""
        content = read_bytes(path, self._max_bytes)
        digest = hashlib.sha256(f"{_LOADER_VERSION} {cut}\0".encode())
        digest.update(content)
        refused = f"{digest.hexdigest()} {installed_parsers()}"
        if known in (digest.hexdigest(), refused):
            return None
        try:
            loaded = parsers.load(content, source, str(path))
        except UnparsedFile as error:
            return Unreadable(refused, str(error))
        warnings = tuple(f"{path}: {warning}" for warning in loaded.warnings)
        return Incoming(loaded.document, digest.hexdigest(), warnings)


def _refuse_twin(path: Path) -> Incoming:
    raise KnowledgeError(
        f"{path}: another file has this name in another Unicode form. Rename one of them."
    )


_RETRY_MS = 5000
"""When a failed run is tried again."""


async def watch(
    knowledge: KnowledgeBase,
    path: str | Path,
    *,
    prefix: str = "",
    max_file_mb: float = 20.0,
    jobs: int = 1,
    quiet_ms: int = 300,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = ignore_progress,
) -> AsyncGenerator[IndexReport, None]:
    """Index a folder or file now and after every change, until `stop` is set: the first report,
    then one for each change that had an effect. Changes less than `quiet_ms` apart are handled
    together, up to ten times as long. A failed run is reported by a warning and tried again."""
    from watchfiles import awatch

    root = Path(path).resolve()

    async def synced() -> tuple[IndexReport, bool]:
        try:
            report = await knowledge.add_path(
                root, prefix=prefix, max_file_mb=max_file_mb, jobs=jobs, on_progress=on_progress
            )
        except KnowledgeError as error:
            return IndexReport(warnings=(str(error),)), True
        return report, False

    if not await asyncio.to_thread(root.exists):
        raise KnowledgeError(f"{root} does not exist. Name a folder or file that does.")
    changes = awatch(
        root,
        watch_filter=relevant_changes(root, knowledge.path.resolve()),
        debounce=10 * quiet_ms,
        step=quiet_ms,
        rust_timeout=_RETRY_MS,
        yield_on_timeout=True,
        stop_event=stop,
    )
    upcoming = asyncio.ensure_future(anext(changes, None))  # Changes from now on are seen.
    await asyncio.sleep(0)
    try:
        report, failed = await synced()
        yield report
        while (batch := await upcoming) is not None:
            upcoming = asyncio.ensure_future(anext(changes, None))
            before = report
            if batch or failed:
                report, failed = await synced()
                if report.has_news or report.warnings != before.warnings:
                    yield report
    finally:
        upcoming.cancel()
        await asyncio.wait([upcoming])
        await changes.aclose()


def relevant_changes(root: Path, index: Path) -> Callable[[object, str], bool]:
    """A filter of watchfiles without hidden files and the index, whose changes cause more."""

    def is_relevant(_: object, changed: str) -> bool:
        path = Path(changed)
        inside = path.relative_to(root).parts if path.is_relative_to(root) else path.parts[-1:]
        return not (path.is_relative_to(index) or any(part.startswith(".") for part in inside))

    return is_relevant
