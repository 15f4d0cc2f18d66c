"""The write path of an index: documents in, chunks pending, live, and the dead buried.

The order is what makes a kill harmless: new chunks are pending in the catalog, then in Chroma, then
one transaction makes them live and the old ones dead, then the dead leave. The next run finishes
what was cut short.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from agentkit.documents import Chunk, Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.catalog import Catalog, StoredChunk
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.splitter import split
from agentkit.knowledge.vectors import Vectors

_BATCH = 16


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


class Indexer:
    """Writes to one index. The caller holds the index's lock."""

    def __init__(
        self, catalog: Catalog, vectors: Vectors, embedder: Embedder, chunk_tokens: int
    ) -> None:
        self._catalog = catalog
        self._vectors = vectors
        self._embedder = embedder
        self._chunk_tokens = chunk_tokens

    async def add(
        self, documents: Sequence[Document], tell: Callable[[Progress], None]
    ) -> IndexReport:
        """Add documents or replace those of the same source, the unchanged left alone. What was
        published before a failure stays. Raises KnowledgeError."""
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
        run.passed(document.source)
        chunks = await asyncio.to_thread(
            split, document, self._embedder.count_tokens, self._chunk_tokens
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
            vectors = await self._embedder.embed_passages([text for _, text in batch])
            _check_vectors(vectors, len(batch), self._embedder)
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

    def remove(self, sources: Sequence[str]) -> None:
        """Take documents out of the index."""
        self._bury(self._catalog.remove(sources))

    def _bury(self, ids: Sequence[str]) -> None:
        if ids:
            self._vectors.delete(ids)
            self._catalog.forget(ids)

    def _recover(self) -> None:
        """Finish what a crash interrupted, and give Chroma back what it lacks."""
        self._catalog.set_meta({"embedder": self._embedder.name})
        if not self._vectors.works():
            self._vectors.clear()
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


def embedded_text(chunk: Chunk) -> str:
    """What is embedded of a chunk: its title and headings, then its text."""
    path = chunk.heading
    if not path.startswith(chunk.title):
        path = f"{chunk.title} > {path}".removesuffix(" > ")
    return f"{path}\n{chunk.text}"


def _check_vectors(vectors: np.ndarray, count: int, embedder: Embedder) -> None:
    if vectors.shape != (count, embedder.dimension) or not np.isfinite(vectors).all():
        raise KnowledgeError(
            f"The embedder {embedder.name} gave vectors of shape {vectors.shape} for {count} "
            f"texts, or numbers that are not finite. Nothing of this document was changed."
        )


def _batches(items: list[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
