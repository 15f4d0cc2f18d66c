"""A folder's files against what the index read of them before: only changed ones are parsed.

Every file's bytes are read and hashed, for times and sizes lie. Files are parsed in processes of
their own where more than one job is allowed, so that a parser may even crash.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from agentkit.documents import Document
from agentkit.errors import AgentkitError, KnowledgeError
from agentkit.knowledge.index.indexer import Entry, Incoming
from agentkit.knowledge.loaders.base import Loaded
from agentkit.knowledge.loaders.files import discover, load, read_bytes
from agentkit.text.terms import clean

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor

READING = "2"
"""Raise it when a loader or the splitter gives another text or other chunks for the same file."""

Prepare = Callable[[Document], Document]


class Parsers:
    """Runs the loaders: in this process, or in `jobs` others."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._jobs > 1:
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._jobs, context)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def parse(self, content: bytes, source: str, name: str) -> Loaded:
        """A file's bytes as a document. Raises KnowledgeError, also where a loader breaks down:
        one file must not end the indexing of the others."""
        try:
            if self._pool is None:
                return load(content, source, name)
            return self._pool.submit(load, content, source, name).result()
        except AgentkitError:
            raise
        except BrokenExecutor as error:
            raise KnowledgeError(
                f"{name}: a process that read files ended unasked. Index again with one job to "
                "see which file it was."
            ) from error
        except Exception as error:
            raise KnowledgeError(f"{name}: it cannot be read ({error!r:.200})") from error


@dataclass
class Scan:
    """What a folder holds now: every source, the changed ones to be loaded, and a line for each
    file that cannot be read."""

    present: set[str] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Folder:
    """A folder or file whose documents are kept in an index. `origin` tells them from others: the
    way from the index to the folder, so that both may be moved together, and the prefix; "" for
    one file, which is as good as added by hand."""

    def __init__(self, root: Path, index: Path, prefix: str, max_bytes: int) -> None:
        self._root = root
        self._base = root if root.is_dir() else root.parent
        self._prefix = prefix
        self._max_bytes = max_bytes
        self.origin = f"{_way(index, root)}|{prefix}" if root.is_dir() else ""

    def scan(self, known: Mapping[str, str], cut: str, parsers: Parsers, prepare: Prepare) -> Scan:
        """Read and hash every file. `known` is what each source's file was when it was indexed."""
        found = Scan()
        for path in discover(self._root):
            source = clean(self._prefix + path.relative_to(self._base).as_posix())
            found.present.add(source)
            try:
                content = read_bytes(path, self._max_bytes)
            except KnowledgeError as error:
                found.warnings.append(str(error))
                continue
            if known.get(source) == _file_hash(content, cut):
                found.unchanged.append(source)
                continue
            incoming = partial(self._incoming, path, source, cut, parsers, prepare)
            found.entries.append(Entry(source, len(content), incoming))
        return found

    def _incoming(
        self, path: Path, source: str, cut: str, parsers: Parsers, prepare: Prepare
    ) -> Incoming:
        content = read_bytes(path, self._max_bytes)
        loaded = parsers.parse(content, source, str(path))
        warnings = tuple(f"{path}: {warning}" for warning in loaded.warnings)
        return Incoming(prepare(loaded.document), _file_hash(content, cut), warnings)


def _file_hash(content: bytes, cut: str) -> str:
    digest = hashlib.sha256(f"{READING} {cut}\0".encode())
    digest.update(content)
    return digest.hexdigest()


def _way(index: Path, root: Path) -> str:
    try:
        return Path(os.path.relpath(root.resolve(), index.resolve())).as_posix()
    except ValueError:
        return root.resolve().as_posix()
