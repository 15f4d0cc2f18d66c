"""The write path of an index: stage chunks, upsert them in Chroma, activate, delete the stale ones.

The order makes a kill harmless: new chunks are staged in the catalog, then upserted in Chroma, then
one transaction activates them and retires the old ones, which are deleted last. The next run
finishes what was interrupted. Documents go through it in groups, each whole.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentkit._sync import in_thread, map_ordered
from agentkit.documents import Chunk, Document
from agentkit.errors import AgentkitError, KnowledgeError
from agentkit.knowledge.chunking.markup import index_text
from agentkit.knowledge.chunking.splitter import split
from agentkit.knowledge.embedders.base import Embedder, counter
from agentkit.knowledge.index.catalog import OUTDATED, Catalog, StoredChunk, Version
from agentkit.knowledge.index.embedding_cache import EmbeddingCache, EmbeddingQueue, content_of
from agentkit.knowledge.index.report import IndexReport, OnProgress, Progress
from agentkit.knowledge.index.token_store import TokenStore
from agentkit.knowledge.index.vectors import Vectors
from agentkit.text.terms import clean

PUBLISHED_CHUNKS = 1000
_BLOCK_ENTRIES = 16
_BLOCK_SIZE = 100_000
_PUBLISHED_SECONDS = 10.0
"""Seconds after which the documents that are ready are published, however few they are. A call of
Chroma takes some 30 ms, and nothing waits unsaved: vectors are in the cache."""
_VOLATILE = ("fetched", "last_modified")
"""Metadata that a page fetched again has anew, though its text is the same."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A document to index. `file_hash` identifies its file, "" for one added by hand."""

    document: Document
    file_hash: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is not read again while its hash stays, and why: the index keeps what it has."""

    file_hash: str
    reason: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A document to be loaded: `size` weighs its share of the time; `load` reads it, or returns
    None where its file is unchanged. It raises AgentkitError for a file that cannot be read now:
    then the index keeps what it has, and the next run tries again."""

    source: str
    size: int
    load: Callable[[], Incoming | Unreadable | None]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What became of an entry: a document, an error, or neither where its file is unchanged."""

    entry: Entry
    incoming: Incoming | None = None
    hash: str = ""
    error: str = ""
    failed_hash: str = ""


@dataclass
class _IndexingRun:
    """The state of one run: what is known, what waits for vectors, what is ready, and the counts.
    `size` and `size_done` weigh the documents, for the estimate of the time left."""

    total: int
    size: int
    on_progress: OnProgress
    queue: EmbeddingQueue
    origin: str = ""
    hashes: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    done: int = 0
    size_done: int = 0
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    waiting: deque[tuple[int, int, Version]] = field(default_factory=deque)
    ready: list[tuple[int, Version]] = field(default_factory=list)
    published: float = field(default_factory=time.monotonic)
    is_recovered: bool = False
    began: float = field(default_factory=time.monotonic)

    def advance(self, source: str, documents: int = 0, size: int = 0) -> None:
        """Count finished documents and report the progress."""
        self.done += documents
        self.size_done += size
        seconds = time.monotonic() - self.began
        left = None
        if self.size_done:
            left = seconds * (self.size - self.size_done) / self.size_done
        embedded = self.queue.embedded
        self.on_progress(Progress(self.done, self.total, embedded, source, seconds, left))

    def collect_ready(self) -> None:
        """Move the documents whose vectors are all there from waiting to ready, in order."""
        while self.waiting and self.waiting[0][0] <= self.queue.embedded:
            _, size, version = self.waiting.popleft()
            self.ready.append((size, version))

    def is_due(self, group: int) -> bool:
        """Whether what is ready should be published now."""
        chunks = sum(len(version.new) for _, version in self.ready)
        late = time.monotonic() - self.published > _PUBLISHED_SECONDS
        return chunks >= group or (late and bool(self.ready))

    def report(self) -> IndexReport:
        return IndexReport(
            added=tuple(self.added),
            changed=tuple(self.changed),
            unchanged=tuple(self.unchanged),
            embedded=self.queue.embedded,
            warnings=tuple(self.warnings),
        )


class Indexer:
    """Writes to one index. The caller holds the index's lock. `group` is the number of chunks from
    which documents are published together."""

    def __init__(
        self,
        catalog: Catalog,
        vectors: Vectors,
        embedder: Embedder,
        chunk_tokens: int,
        group: int = PUBLISHED_CHUNKS,
        tokens: TokenStore | None = None,
    ) -> None:
        self._catalog = catalog
        self._vectors = vectors
        self._embedder = embedder
        self._chunk_tokens = chunk_tokens
        self._group = group
        self._cache = EmbeddingCache(catalog)
        self._tokens = tokens

    @property
    def cut(self) -> str:
        """What, beside a document itself, determines its chunks."""
        return f"{self._chunk_tokens} {self._embedder.name}"

    async def add(
        self, entries: Sequence[Entry], on_progress: OnProgress, *, origin: str = "", jobs: int = 1
    ) -> IndexReport:
        """Add documents or replace those of the same source. What was published before a failure
        stays. Raises KnowledgeError."""
        run = _IndexingRun(
            total=len(entries),
            size=sum(entry.size for entry in entries),
            on_progress=on_progress,
            queue=EmbeddingQueue(self._cache, self._embedder, self._tokens),
            origin=origin,
            hashes=await in_thread(self._catalog.hashes),
            origins=await in_thread(self._catalog.origins),
        )
        await self._finish_interrupted(run)
        try:
            async for block in map_ordered(_blocks(entries), self._load, jobs):
                for loaded in block:
                    await self._take(loaded, run)
            while run.waiting:
                await self._embed(run)
        except Exception:
            await self._publish_ready(run)
            raise
        await self._publish_ready(run)
        if run.is_recovered:
            await in_thread(self._cache.trim)
        return run.report()

    async def remove(self, sources: Sequence[str]) -> None:
        """Take documents out of the index."""
        await in_thread(self._recover)
        await in_thread(lambda: self._delete(self._catalog.remove(sources)))

    async def rebuild(self, on_progress: OnProgress) -> int:
        """Embed every passage with this embedder, and fill Chroma again. Searches use the old
        vectors until all the new ones are there. Returns how many were embedded."""
        count = await in_thread(self._catalog.count)
        run = _IndexingRun(
            count, count, on_progress, EmbeddingQueue(self._cache, self._embedder, self._tokens)
        )
        contents: dict[str, str] = {}
        blocks = self._catalog.active_chunks(PUBLISHED_CHUNKS)
        while block := await in_thread(next, blocks, None):
            texts = {self._content(s.chunk): index_text(s.chunk) for s in block}
            contents |= {s.chunk.id: self._content(s.chunk) for s in block}
            wanted = await in_thread(run.queue.put, texts)
            while run.queue.embedded < wanted:
                await run.queue.embed()
                run.advance(block[0].chunk.source)
            run.advance(block[-1].chunk.source, len(block), len(block))
        await in_thread(self._catalog.reembed, self._embedder.name, contents)
        await in_thread(self._recover)
        return run.queue.embedded

    async def _finish_interrupted(self, run: _IndexingRun) -> None:
        """Recover from a crash, and embed again what damage took. A sound index is not touched,
        nor is its Chroma opened."""
        lost = await in_thread(self._catalog.chunks_without_vector)
        wanted = run.queue.put({s.content: index_text(s.chunk) for s in lost})
        while run.queue.embedded < wanted:
            await run.queue.embed()
        if await in_thread(self._is_interrupted) or lost:
            await in_thread(self._recover)

    def _is_interrupted(self) -> bool:
        """Whether a write was not finished."""
        return self._catalog.meta("chroma") == OUTDATED or bool(self._catalog.inactive_ids())

    def _load(self, entries: Sequence[Entry]) -> list[_Loaded]:
        loaded = []
        for entry in entries:
            try:
                incoming = entry.load()
            except AgentkitError as error:
                loaded.append(_Loaded(entry, error=str(error)))
                continue
            if incoming is None:
                loaded.append(_Loaded(entry))
                continue
            if isinstance(incoming, Unreadable):
                reason, hash_ = incoming.reason, incoming.file_hash
                loaded.append(_Loaded(entry, error=reason, failed_hash=hash_))
                continue
            incoming = replace(incoming, document=_prepared(incoming.document))
            loaded.append(_Loaded(entry, incoming, self._hash(incoming.document)))
        return loaded

    async def _take(self, loaded: _Loaded, run: _IndexingRun) -> None:
        """Split one document, queue its texts, and embed and publish what is due."""
        source, size, incoming = loaded.entry.source, loaded.entry.size, loaded.incoming
        if incoming is None:
            if loaded.error:
                run.warnings.append(loaded.error)
            elif source in run.hashes:
                run.unchanged.append(source)
            if loaded.failed_hash:
                failed = (source, run.origin, loaded.failed_hash, loaded.error)
                await in_thread(self._catalog.set_unread, *failed)
            run.size -= size
            run.advance("", 1)
            return
        run.warnings += incoming.warnings
        is_known = run.hashes.get(source) == loaded.hash
        if is_known and run.origins[source] == run.origin and not incoming.file_hash:
            run.unchanged.append(source)
            run.advance("", 1, size)
            return
        run.advance(source)
        version, texts = await in_thread(self._version, incoming, loaded.hash, run)
        run.waiting.append((await in_thread(run.queue.put, texts), size, version))
        run.collect_ready()
        while run.queue.is_full:
            await self._embed(run)
        if run.is_due(self._group):
            await self._publish_ready(run)

    def _version(
        self, incoming: Incoming, hash_: str, run: _IndexingRun
    ) -> tuple[Version, dict[str, str]]:
        """A document's new version, and the texts to embed by their keys."""
        document = incoming.document
        active = self._catalog.ids_of(document.id)
        new: tuple[StoredChunk, ...] = ()
        kept = frozenset(active)
        if run.hashes.get(document.source) != hash_:
            count = self._embedder.count_tokens
            chunks = split(document, count, self._chunk_tokens, counter(self._embedder))
            new = tuple(StoredChunk(c, self._content(c)) for c in chunks if c.id not in active)
            kept = frozenset(c.id for c in chunks)
        version = Version(document, hash_, new, kept, run.origin, incoming.file_hash)
        return version, {stored.content: index_text(stored.chunk) for stored in new}

    async def _embed(self, run: _IndexingRun) -> None:
        await run.queue.embed()
        run.collect_ready()
        run.advance((run.waiting[0] if run.waiting else run.ready[-1])[-1].document.source)
        if run.is_due(self._group):
            await self._publish_ready(run)

    async def _publish_ready(self, run: _IndexingRun) -> None:
        group, run.ready, run.published = run.ready, [], time.monotonic()
        if not group:
            return
        await in_thread(self._publish, [version for _, version in group], run)
        run.published = time.monotonic()
        for size, version in group:
            source = version.document.source
            if run.hashes.get(source) == version.hash:
                run.unchanged.append(source)
            else:
                (run.changed if source in run.hashes else run.added).append(source)
            run.advance(source, 1, size)

    def _publish(self, versions: Sequence[Version], run: _IndexingRun) -> None:
        if not run.is_recovered:
            self._recover()
        run.is_recovered = True
        new = [stored for version in versions for stored in version.new]
        if new:
            self._catalog.stage(new)
            self._upsert(new)
        self._delete(self._catalog.publish(versions))

    def _delete(self, ids: Sequence[str]) -> None:
        """Delete inactive chunks, from Chroma first."""
        if ids:
            _call_chroma(self._vectors.delete, ids)
            self._catalog.delete_inactive(ids)

    def _upsert(self, chunks: Sequence[StoredChunk]) -> None:
        vectors = self._cache.vectors([stored.content for stored in chunks])
        _call_chroma(self._vectors.upsert, [stored.chunk.id for stored in chunks], vectors)

    def _recover(self) -> None:
        """Finish what a crash interrupted, and give Chroma back what it lacks."""
        if self._catalog.meta("embedder") != self._embedder.name:
            self._catalog.set_meta({"embedder": self._embedder.name})
        if self._catalog.meta("chroma") != OUTDATED and self._vectors.works():
            self._delete(self._catalog.inactive_ids())
            if _call_chroma(self._vectors.count) == self._catalog.count():
                return
        self._catalog.mark_chroma(OUTDATED)
        _call_chroma(self._vectors.clear)
        self._vectors.works()  # Chroma fails once more after an opening that failed.
        self._catalog.delete_inactive(self._catalog.inactive_ids())
        for block in self._catalog.active_chunks(PUBLISHED_CHUNKS):
            self._upsert(block)
        self._catalog.mark_chroma("")

    def _content(self, chunk: Chunk) -> str:
        return content_of(index_text(chunk), self._embedder.name)

    def _hash(self, document: Document) -> str:
        """The hash of everything that determines a document's chunks."""
        d = document
        metadata = {key: value for key, value in d.metadata.items() if key not in _VOLATILE}
        parts = [(p.kind, p.name, p.start, p.end) for p in d.parts]
        whole = [d.title, d.text, metadata, d.format, parts, self.cut]
        written = json.dumps(whole, ensure_ascii=False, default=str, sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()


def _blocks(entries: Sequence[Entry]) -> Iterator[list[Entry]]:
    """Entries to load in one thread call, which costs as much as reading a small file."""
    block: list[Entry] = []
    for entry in entries:
        block.append(entry)
        if len(block) == _BLOCK_ENTRIES or sum(each.size for each in block) >= _BLOCK_SIZE:
            yield block
            block = []
    if block:
        yield block


def document_id(source: str) -> str:
    """The id of the document of a source, in every index."""
    return hashlib.sha256(source.encode()).hexdigest()[:20]


def _prepared(document: Document) -> Document:
    """The document as it is stored: an id derived from its source, and a text any store takes."""
    identity = document_id(document.source)
    title = document.title or Path(document.source).stem
    return replace(document, id=identity, title=clean(title), text=clean(document.text))


def _call_chroma(call: Callable[..., Any], *args: object) -> Any:
    """The result of a call of Chroma. Raises KnowledgeError."""
    try:
        return call(*args)
    except KnowledgeError:
        raise
    except Exception as error:
        raise KnowledgeError(
            f"Chroma failed: {error}. Nothing indexed before is lost: index again. If it fails "
            "again, check the disk's space and run: agentkit kb doctor"
        ) from error
