"""The write path of an index: documents in, chunks pending, live, and the dead buried.

The order is what makes a kill harmless: new chunks are pending in the catalog, then in Chroma, then
one transaction makes them live and the old ones dead, then the dead leave. The next run finishes
what was cut short. Documents go through it in groups, each whole.

What one indexing run holds: documents to come, what is known, what waits, what is ready.

Values, and the one mutable record that the indexer works through.

How far an indexing run is, and what it did. Values, and the tally they are taken from.

The time left is told from what the documents done so far took, by their size: an estimate.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from agentkit._sync import ahead, in_thread
from agentkit.documents import Chunk, Document
from agentkit.errors import AgentkitError, KnowledgeError
from agentkit.knowledge.chunking.splitter import split
from agentkit.knowledge.embedders.base import Embedder, counter
from agentkit.knowledge.index.catalog import STALE, Catalog, StoredChunk, Version
from agentkit.knowledge.index.embedding_cache import EmbeddingCache, EmbeddingQueue, content_of
from agentkit.knowledge.index.vectors import Vectors
from agentkit.text.terms import clean


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an indexing run is: documents done of all (in a rebuild passages), chunks embedded
    so far, the seconds it has taken and about those it still needs, None while nothing is known."""

    done: int
    total: int
    chunks: int
    source: str
    seconds: float = 0.0
    seconds_left: float | None = None

    @property
    def rate(self) -> float:
        """Passages embedded a second."""
        return self.chunks / self.seconds if self.seconds > 0 else 0.0


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

    @property
    def has_news(self) -> bool:
        """Whether anything was added, changed or removed."""
        return bool(self.added or self.changed or self.removed)


OnProgress = Callable[[Progress], None]


@dataclass
class Tally:
    """The running count of one run. `total` and `done` count documents; `size` and `size_done`
    weigh those that had to be looked at."""

    total: int
    size: int
    tell: OnProgress
    done: int = 0
    size_done: int = 0
    embedded: int = 0
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def passed(self, source: str, documents: int = 0, size: int = 0) -> None:
        self.done += documents
        self.size_done += size
        seconds = time.monotonic() - self._began
        self.tell(
            Progress(self.done, self.total, self.embedded, source, seconds, self._left(seconds))
        )

    def report(self, removed: Sequence[str] = ()) -> IndexReport:
        return IndexReport(
            tuple(self.added),
            tuple(self.changed),
            tuple(self.unchanged),
            tuple(removed),
            self.embedded,
            tuple(self.warnings),
        )

    def _left(self, seconds: float) -> float | None:
        return seconds * (self.size - self.size_done) / self.size_done if self.size_done else None


_GROUP_SECONDS = 10.0
"""Seconds after which the documents that are ready are published, however few they are. Chroma
takes some 30 ms for a call, and what waits is lost to no one: its vectors are written down."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A document to index. `file_hash` is what its file was, "" for one added by hand."""

    document: Document
    file_hash: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A document to come: `size` weighs its share of the time, `load` reads it, and raises
    AgentkitError where it cannot be read: then the index keeps what it has."""

    source: str
    size: int
    load: Callable[[], Incoming]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An entry as it was read; nothing but warnings where it cannot be."""

    entry: Entry
    incoming: Incoming | None
    hash: str
    warnings: tuple[str, ...]


@dataclass
class Run:
    """One `add`: what is known, what waits for its vectors, what is ready to be published."""

    tally: Tally
    queue: EmbeddingQueue
    origin: str
    hashes: dict[str, str]
    origins: dict[str, str]
    waiting: deque[tuple[int, int, Version]] = field(default_factory=deque)
    ready: list[tuple[int, Version]] = field(default_factory=list)
    published: float = field(default_factory=time.monotonic)
    is_sound: bool = False

    def holds(self, incoming: Incoming, hash_: str) -> bool:
        """Whether there is nothing to write, not even where the document came from."""
        source = incoming.document.source
        same = self.hashes.get(source) == hash_ and self.origins[source] == self.origin
        return same and not incoming.file_hash

    def settle(self) -> None:
        """Move on the documents whose vectors are all there, in order."""
        while self.waiting and self.waiting[0][0] <= self.queue.embedded:
            _, size, version = self.waiting.popleft()
            self.ready.append((size, version))

    def is_due(self, group: int) -> bool:
        chunks = sum(len(version.new) for _, version in self.ready)
        late = time.monotonic() - self.published > _GROUP_SECONDS
        return chunks >= group or (late and bool(self.ready))


__all__ = ["Entry", "Incoming", "IndexReport", "Indexer", "Progress", "embedded_text"]

_GROUP = 1000
_PASSING = ("fetched", "last_modified")
"""Metadata that a page fetched again has anew, though it says the same."""


class Indexer:
    """Writes to one index. The caller holds the index's lock. `group` is the number of chunks from
    which documents are published together."""

    group = _GROUP

    def __init__(
        self, catalog: Catalog, vectors: Vectors, embedder: Embedder, chunk_tokens: int
    ) -> None:
        self._catalog = catalog
        self._vectors = vectors
        self._embedder = embedder
        self._chunk_tokens = chunk_tokens
        self._cache = EmbeddingCache(catalog)

    @property
    def cut(self) -> str:
        """What, beside a document itself, decides on its chunks."""
        return f"{self._chunk_tokens} {self._embedder.name}"

    async def add(
        self,
        entries: Sequence[Entry],
        tell: OnProgress,
        *,
        origin: str = "",
        unchanged: Sequence[str] = (),
        jobs: int = 1,
    ) -> IndexReport:
        """Add documents or replace those of the same source, the unchanged left alone. What was
        published before a failure stays. Raises KnowledgeError."""
        run = self._begun(entries, tell, origin, unchanged)
        await self._mend(run)
        try:
            async for loaded in ahead(entries, self._loaded, jobs):
                await self._take(loaded, run)
            while run.waiting:
                await self._embed(run)
        except Exception:
            await self._publish_ready(run)
            raise
        await self._publish_ready(run)
        if run.is_sound:
            await in_thread(self._cache.trim)
        return run.tally.report()

    async def remove(self, sources: Sequence[str]) -> None:
        """Take documents out of the index."""
        await in_thread(self._recover)
        await in_thread(lambda: self._bury(self._catalog.remove(sources)))

    async def rebuild(self, tell: OnProgress) -> int:
        """Embed every passage with this embedder, and Chroma anew. Searches go on with the old
        vectors until all the new ones are there. Returns how many were embedded."""
        tally = Tally(self._catalog.count(), self._catalog.count(), tell)
        queue = EmbeddingQueue(self._cache, self._embedder)
        contents: dict[str, str] = {}
        for block in self._catalog.live_chunks(_GROUP):
            texts = {self._content(s.chunk): embedded_text(s.chunk) for s in block}
            contents |= {s.chunk.id: self._content(s.chunk) for s in block}
            wanted = queue.put(texts)
            while queue.embedded < wanted:
                await queue.embed()
                tally.embedded = queue.embedded
                tally.passed(block[0].chunk.source)
            tally.passed(block[-1].chunk.source, len(block), len(block))
        await in_thread(self._catalog.reembed, self._embedder.name, contents)
        await in_thread(self._recover)
        return queue.embedded

    async def _mend(self, run: Run) -> None:
        """Finish what a crash interrupted, and embed anew what damage took. A sound index is not
        touched, nor is its Chroma opened."""
        lacking = await in_thread(self._catalog.lacking)
        wanted = run.queue.put({s.content: embedded_text(s.chunk) for s in lacking})
        while run.queue.embedded < wanted:
            await run.queue.embed()
        run.tally.embedded = run.queue.embedded
        if lacking or self._catalog.meta("chroma") == STALE or self._catalog.not_live():
            await in_thread(self._recover)

    def _begun(
        self, entries: Sequence[Entry], tell: OnProgress, origin: str, unchanged: Sequence[str]
    ) -> Run:
        size = sum(entry.size for entry in entries)
        tally = Tally(len(entries) + len(unchanged), size, tell, unchanged=list(unchanged))
        tally.passed("", len(unchanged))
        queue = EmbeddingQueue(self._cache, self._embedder)
        return Run(tally, queue, origin, self._catalog.hashes(), self._catalog.origins())

    def _loaded(self, entry: Entry) -> Loaded:
        try:
            incoming = entry.load()
        except AgentkitError as error:
            return Loaded(entry, None, "", (str(error),))
        return Loaded(entry, incoming, self._hash(incoming.document), incoming.warnings)

    async def _take(self, loaded: Loaded, run: Run) -> None:
        """Cut one document, queue its texts, and go on with what that makes possible."""
        run.tally.warnings += loaded.warnings
        source, size = loaded.entry.source, loaded.entry.size
        if loaded.incoming is None or run.holds(loaded.incoming, loaded.hash):
            run.tally.unchanged += [source] if loaded.incoming else []
            run.tally.passed("", 1, size)
            return
        run.tally.passed(source)
        version = await in_thread(self._version, loaded.incoming, loaded.hash, run)
        texts = {stored.content: embedded_text(stored.chunk) for stored in version.new}
        run.waiting.append((run.queue.put(texts), size, version))
        run.settle()
        while run.queue.is_full:
            await self._embed(run)
        if run.is_due(self.group):
            await self._publish_ready(run)

    def _version(self, incoming: Incoming, hash_: str, run: Run) -> Version:
        document = incoming.document
        live = self._catalog.ids_of(document.id)
        new: tuple[StoredChunk, ...] = ()
        kept = frozenset(live)
        if run.hashes.get(document.source) != hash_:
            count = self._embedder.count_tokens
            chunks = split(document, count, self._chunk_tokens, counter(self._embedder))
            new = tuple(StoredChunk(c, self._content(c)) for c in chunks if c.id not in live)
            kept = frozenset(c.id for c in chunks)
        return Version(document, hash_, new, kept, run.origin, incoming.file_hash)

    async def _embed(self, run: Run) -> None:
        await run.queue.embed()
        run.tally.embedded = run.queue.embedded
        run.settle()
        run.tally.passed((run.waiting[0] if run.waiting else run.ready[-1])[-1].document.source)
        if run.is_due(self.group):
            await self._publish_ready(run)

    async def _publish_ready(self, run: Run) -> None:
        group, run.ready, run.published = run.ready, [], time.monotonic()
        if not group:
            return
        await in_thread(self._publish, [version for _, version in group], run)
        run.published = time.monotonic()
        for size, version in group:
            source = version.document.source
            if run.hashes.get(source) == version.hash:
                run.tally.unchanged.append(source)
            else:
                (run.tally.changed if source in run.hashes else run.tally.added).append(source)
            run.tally.passed(source, 1, size)

    def _publish(self, versions: Sequence[Version], run: Run) -> None:
        if not run.is_sound:
            self._recover()
        run.is_sound = True
        new = [stored for version in versions for stored in version.new]
        if new:
            self._catalog.stage(new)
            self._upsert(new)
        self._bury(self._catalog.publish(versions))

    def _bury(self, ids: Sequence[str]) -> None:
        if ids:
            _asked(self._vectors.delete, ids)
            self._catalog.forget(ids)

    def _upsert(self, chunks: Sequence[StoredChunk]) -> None:
        vectors = self._cache.vectors([stored.content for stored in chunks])
        _asked(self._vectors.upsert, [stored.chunk.id for stored in chunks], vectors)

    def _recover(self) -> None:
        """Finish what a crash interrupted, and give Chroma back what it lacks."""
        if self._catalog.meta("embedder") != self._embedder.name:
            self._catalog.set_meta({"embedder": self._embedder.name})
        if self._catalog.meta("chroma") != STALE and self._vectors.works():
            self._bury(self._catalog.not_live())
            if _asked(self._vectors.count) == self._catalog.count():
                return
        self._catalog.mark_chroma(STALE)
        _asked(self._vectors.clear)
        self._vectors.works()  # Chroma fails once more after an opening that failed
        self._catalog.forget(self._catalog.not_live())
        for block in self._catalog.live_chunks(_GROUP):
            self._upsert(block)
        self._catalog.mark_chroma("")

    def _content(self, chunk: Chunk) -> str:
        return content_of(embedded_text(chunk), self._embedder.name)

    def _hash(self, document: Document) -> str:
        """What a change of would change the chunks."""
        d = document
        metadata = {key: value for key, value in d.metadata.items() if key not in _PASSING}
        parts = [(p.kind, p.name, p.start, p.end) for p in d.parts]
        whole = [d.title, d.text, metadata, d.format, parts, self.cut]
        written = json.dumps(whole, ensure_ascii=False, default=str, sort_keys=True)
        return hashlib.sha256(written.encode()).hexdigest()


def embedded_text(chunk: Chunk) -> str:
    """What is embedded of a chunk: its title and headings, then its text. A title that is only
    the file's name is left out, so that a renamed file is not embedded again."""
    own = chunk.title != clean(PurePosixPath(chunk.source).stem)
    path = chunk.heading
    if own and not path.startswith(chunk.title):
        path = f"{chunk.title} > {path}".removesuffix(" > ")
    return f"{path}\n{chunk.text}" if path else chunk.text


def _asked(call: Callable[..., Any], *args: object) -> Any:
    """What Chroma answers. Raises KnowledgeError."""
    try:
        return call(*args)
    except KnowledgeError:
        raise
    except Exception as error:
        raise KnowledgeError(
            f"Chroma failed: {error}. Nothing indexed before is lost: index again, and look at the "
            "disk's space and at `agentkit kb doctor` if it stays so."
        ) from error
