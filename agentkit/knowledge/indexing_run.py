"""What one indexing run holds: documents to come, what is known, what waits, what is ready.

Values, and the one mutable record that the indexer works through.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from agentkit.documents import Document
from agentkit.knowledge.catalog import Version
from agentkit.knowledge.embedding_queue import EmbeddingQueue
from agentkit.knowledge.progress import Tally

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
