"""Texts of many documents, embedded together in large calls and written down call by call.

A kill costs the call in flight and no more. Texts leave in the order in which they came.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

import numpy as np

from agentkit.errors import KnowledgeError
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.embedding_cache import EmbeddingCache
from agentkit.knowledge.threads import in_thread

_CALL = 64
"""Passages in one call. Embedders batch by themselves, so more bring nothing and cost a kill."""


class EmbeddingQueue:
    """Embeds what the cache lacks. An embedder that wants larger calls says so by a number,
    `passages_per_call`."""

    def __init__(self, cache: EmbeddingCache, embedder: Embedder) -> None:
        self._cache = cache
        self._embedder = embedder
        self._call = int(getattr(embedder, "passages_per_call", _CALL))
        self._texts: dict[str, str] = {}
        self._put = 0
        self.embedded = 0

    @property
    def is_full(self) -> bool:
        """Whether there is enough for a call."""
        return len(self._texts) >= self._call

    def put(self, texts: Mapping[str, str]) -> int:
        """Queue texts by content, the known ones left out. All of them are embedded when
        `embedded` has reached the number given back."""
        lacking = texts.keys() - self._cache.known(texts.keys())
        before = len(self._texts)
        self._texts.update((c, text) for c, text in texts.items() if c in lacking)
        self._put += len(self._texts) - before
        return self._put

    async def embed(self) -> None:
        """Embed and write down as many as one call takes. Raises KnowledgeError."""
        batch = dict(islice(self._texts.items(), self._call))
        if not batch:
            return
        vectors = await self._embedder.embed_passages(list(batch.values()))
        self._check(vectors, len(batch))
        await in_thread(self._cache.keep, list(batch), vectors)
        for content in batch:
            del self._texts[content]
        self.embedded += len(batch)

    def _check(self, vectors: np.ndarray, count: int) -> None:
        wanted = (count, self._embedder.dimension)
        if vectors.shape != wanted or not np.isfinite(vectors).all():
            raise KnowledgeError(
                f"The embedder {self._embedder.name} gave vectors of shape {vectors.shape} for "
                f"{count} texts, or numbers that are not finite. What was indexed before stays; "
                "look at the embedder, then index again."
            )
