"""The write path of an index: stage chunks, upsert them in Chroma, activate, delete the stale ones.

The order makes a kill harmless: new chunks are staged in the catalog, then upserted in Chroma, then
one transaction activates them and retires the old ones, which are deleted last. The next run
finishes what was interrupted. Documents go through it in groups, each whole.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from agentkit._sync import in_thread, map_ordered
from agentkit.documents import Chunk, Document, Parts
from agentkit.errors import AgentkitError, KnowledgeError
from agentkit.knowledge.chunking.markup import index_text
from agentkit.knowledge.chunking.splitter import chunks_of
from agentkit.knowledge.embedders.base import Embedder, counter
from agentkit.knowledge.index.catalog import OUTDATED, Catalog, StoredChunk, Version
from agentkit.knowledge.index.embedding_cache import EmbeddingCache, EmbeddingQueue, content_of
from agentkit.knowledge.index.report import IndexReport, OnProgress, Progress
from agentkit.knowledge.index.token_store import TokenStore
from agentkit.knowledge.index.vectors import Vectors
from agentkit.text.terms import clean

PUBLISHED_CHUNKS = 1000
_STAGED_CHUNKS = 200
_HASHED_CHARACTERS = 1_000_000
_BLOCK_ENTRIES = 16
_BLOCK_SIZE = 100_000
_PUBLISHED_SECONDS = 10.0
"""Seconds after which the documents that are ready are published, however few they are. A call of
Chroma takes some 30 ms, and nothing waits unsaved: vectors are in the cache."""
_LEAST_KNOWN = 0.02
"""The share of a run from which the time left is estimated."""
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
    `size` weighs the documents, `size_done` what of them is cut and queued, for the estimate of the
    time left."""

    total: int
    size: int
    on_progress: OnProgress
    queue: EmbeddingQueue
    origin: str = ""
    hashes: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    of_passages: bool = False
    done: int = 0
    size_done: float = 0.0
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    waiting: deque[tuple[int, Version]] = field(default_factory=deque)
    ready: list[Version] = field(default_factory=list)
    published: float = field(default_factory=time.monotonic)
    is_recovered: bool = False
    began: float = field(default_factory=time.monotonic)

    def advance(self, source: str, documents: int = 0) -> None:
        """Count finished documents and report the progress."""
        self.done += documents
        seconds = time.monotonic() - self.began
        left = None
        if self.size_done > _LEAST_KNOWN * self.size:
            left = seconds * (self.size - self.size_done) / self.size_done
        counts = (self.done, self.total, self.queue.embedded)
        self.on_progress(Progress(*counts, source, seconds, left, self.of_passages))

    def collect_ready(self) -> None:
        """Move the documents whose vectors are all there from waiting to ready, in order."""
        while self.waiting and self.waiting[0][0] <= self.queue.embedded:
            self.ready.append(self.waiting.popleft()[1])

    def is_due(self, group: int) -> bool:
        """Whether what is ready should be published now."""
        chunks = sum(version.new for version in self.ready)
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
                await self._embed(run, run.waiting[0][-1].document.source)
        except Exception:
            await self._publish_ready(run)
            with suppress(KnowledgeError):
                await in_thread(lambda: self._delete(self._catalog.inactive_ids()))
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
        queue = EmbeddingQueue(self._cache, self._embedder, self._tokens)
        run = _IndexingRun(count, count, on_progress, queue, of_passages=True)
        contents: dict[str, str] = {}
        blocks = self._catalog.active_chunks(PUBLISHED_CHUNKS)
        while block := await in_thread(next, blocks, None):
            named = await in_thread(self._named, [stored.chunk for stored in block])
            contents |= {s.chunk.id: key for s, (key, _) in zip(block, named, strict=True)}
            wanted = await in_thread(run.queue.put, dict(named))
            while run.queue.embedded < wanted:
                await run.queue.embed()
                run.advance(block[0].chunk.source)
            run.size_done += len(block)
            run.advance(block[-1].chunk.source, len(block))
        await in_thread(self._catalog.reembed, self._embedder.name, contents)
        await in_thread(self._recover)
        return run.queue.embedded

    async def _finish_interrupted(self, run: _IndexingRun) -> None:
        """Recover from a crash, and embed again what damage took. A sound index is not touched,
        nor is its Chroma opened."""
        lost = await in_thread(self._catalog.chunks_without_vector)
        wanted = await in_thread(
            lambda: run.queue.put({s.content: index_text(s.chunk) for s in lost})
        )
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
            run.size -= size
            run.advance("", 1)
            return
        run.advance(source)
        size_before = run.size_done
        version, wanted = await self._staged(incoming, loaded.hash, run, size)
        run.size_done = size_before + size
        run.waiting.append((wanted, version))
        run.collect_ready()
        if run.is_due(self._group):
            await self._publish_ready(run)

    async def _staged(
        self, incoming: Incoming, hash_: str, run: _IndexingRun, size: int
    ) -> tuple[Version, int]:
        """Stage a document's new chunks, queue their texts and embed what is due, some at a time: a
        long document has more chunks than memory should hold. Returns its new version, and how many
        texts are embedded when all of its own are."""
        document = incoming.document
        active = await in_thread(self._catalog.ids_of, document.id)
        kept, new, wanted = set[str](), 0, 0
        if run.hashes.get(document.source) == hash_:
            kept = active
        else:
            await in_thread(self._recover_once, run)
            count = self._embedder.count_tokens
            chunks = chunks_of(document, count, self._chunk_tokens, counter(self._embedder))
            per_character = size / max(1, len(document.text))
            while some := await in_thread(self._stage_next, chunks, active, kept):
                staged, characters, texts = some
                new += staged
                run.size_done += characters * per_character
                wanted = await in_thread(run.queue.put, texts)
                while run.queue.is_full:
                    await self._embed(run, document.source)
        origin = run.origin
        version = Version(document, hash_, new, frozenset(kept), origin, incoming.file_hash)
        return version, wanted

    def _stage_next(
        self, chunks: Iterator[Chunk], active: Collection[str], kept: set[str]
    ) -> tuple[int, int, dict[str, str]] | None:
        """Stage the next of a document's chunks that are not active, and add the ids of all to
        `kept`. Returns how many were staged, the characters that all span and the texts to embed by
        key, None at the end."""
        some = list(islice(chunks, _STAGED_CHUNKS))
        kept.update(chunk.id for chunk in some)
        new = [chunk for chunk in some if chunk.id not in active]
        named = self._named(new)
        if new:
            self._catalog.stage(StoredChunk(c, key) for c, (key, _) in zip(new, named, strict=True))
        return (len(new), some[-1].end - some[0].start, dict(named)) if some else None

    async def _embed(self, run: _IndexingRun, source: str) -> None:
        await run.queue.embed()
        run.collect_ready()
        run.advance(run.waiting[0][-1].document.source if run.waiting else source)
        if run.is_due(self._group):
            await self._publish_ready(run)

    async def _publish_ready(self, run: _IndexingRun) -> None:
        group, run.ready, run.published = run.ready, [], time.monotonic()
        if not group:
            return
        await in_thread(self._publish, group, run)
        run.published = time.monotonic()
        for version in group:
            source = version.document.source
            if run.hashes.get(source) == version.hash:
                run.unchanged.append(source)
            else:
                (run.changed if source in run.hashes else run.added).append(source)
            run.advance(source, 1)

    def _publish(self, versions: Sequence[Version], run: _IndexingRun) -> None:
        self._recover_once(run)
        for version in versions:
            for some in self._catalog.keys(_STAGED_CHUNKS, version.document.id):
                self._upsert(some)
        self._delete(self._catalog.publish(versions))

    def _recover_once(self, run: _IndexingRun) -> None:
        """Recover before the first chunk is staged: afterwards inactive chunks are this run's."""
        if not run.is_recovered:
            self._recover()
        run.is_recovered = True

    def _delete(self, ids: Sequence[str]) -> None:
        """Delete inactive chunks, from Chroma first."""
        if ids:
            _call_chroma(self._vectors.delete, ids)
            self._catalog.delete_inactive(ids)

    def _upsert(self, keys: Sequence[tuple[str, str]]) -> None:
        """Give Chroma the vectors of chunks, by the ids of both."""
        vectors = self._cache.vectors([content for _, content in keys])
        _call_chroma(self._vectors.upsert, [id_ for id_, _ in keys], vectors)

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
        for block in self._catalog.keys(PUBLISHED_CHUNKS):
            self._upsert(block)
        self._catalog.mark_chroma("")

    def _named(self, chunks: Iterable[Chunk]) -> list[tuple[str, str]]:
        """The name of each chunk's vector, and the text that is embedded."""
        texts = map(index_text, chunks)
        return [(content_of(text, self._embedder.name), text) for text in texts]

    def _hash(self, document: Document) -> str:
        """The hash of everything that determines a document's chunks."""
        metadata = {key: value for key, value in document.metadata.items() if key not in _VOLATILE}
        whole = [document.title, metadata, document.format, self.cut]
        digest = hashlib.sha256(json.dumps(whole, default=str, sort_keys=True).encode())
        digest.update(Parts.of(document.parts).to_bytes())
        for at in range(0, len(document.text), _HASHED_CHARACTERS):
            digest.update(document.text[at : at + _HASHED_CHARACTERS].encode())
        return digest.hexdigest()


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
        step = "Index again. If it fails again, run: agentkit kb doctor"
        if re.search(r"disk is full|No space left|disk I/O error", str(error)):
            step = "Free some disk space, then index again."
        raise KnowledgeError(
            f"Chroma failed: {error}. Nothing indexed before is lost. {step}"
        ) from error
