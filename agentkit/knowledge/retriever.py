"""Hybrid retrieval: nearest vectors and keywords, fused into one relevance from 0 to 1.

Both legs propose passages, each passage is scored by both, and copies are shown once. A filter
narrows both legs, so that the answer is the best of what it allows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from agentkit.documents import Hit
from agentkit.knowledge.catalog import Catalog, Vector
from agentkit.knowledge.dense import DenseLeg, Nearest
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.filters import Filters
from agentkit.knowledge.fusion import E5, Prior, fused
from agentkit.knowledge.keywords import KeywordLeg, Wanted
from agentkit.knowledge.lookup import Lookup
from agentkit.knowledge.reranker import Reranker
from agentkit.knowledge.variety import Distinct, spread
from agentkit.knowledge.vectors import Vectors
from agentkit.text import is_cjk, names

CANDIDATES = 50
"""How many passages each leg proposes, at the least."""

RERANKED = 20
"""How many hits a reranker reads, at the least."""

_SPREAD = 4


class Retriever:
    """Searches one index. `reranker`, where there is one, has the last word on the order."""

    def __init__(
        self,
        catalog: Catalog,
        vectors: Vectors,
        embedder: Embedder,
        reranker: Reranker | None = None,
    ) -> None:
        self.reranker = reranker
        self._lookup = Lookup(catalog)
        self._dense = DenseLeg(self._lookup, vectors)
        self._keywords = KeywordLeg(self._lookup)
        self._embedder = embedder
        self._prior = E5 if "e5" in embedder.name.lower() else Prior()

    async def search(self, query: str, k: int, filters: Filters = Filters()) -> list[Hit]:
        """The k best hits of an index, best first. Raises KnowledgeError for a bad filter."""
        if not await asyncio.to_thread(self._is_filled):
            return []
        vector = (await self._embedder.embed_queries([query]))[0]
        wanted = k if self.reranker is None else max(k, RERANKED)
        hits = await asyncio.to_thread(self.found, query, vector, wanted, filters)
        if self.reranker is not None:
            hits = await self.reranker.rerank(query, hits)
        return hits[:k]

    def found(self, query: str, vector: Vector, k: int, filters: Filters = Filters()) -> list[Hit]:
        """The k best hits for a question whose vector is known, without reranking."""
        self._lookup.refresh()
        allowed = self._lookup.allowed(filters) if filters else None
        wanted = self._keywords.wanted(query)
        fetch = max(CANDIDATES, _SPREAD * k)
        while True:
            near = self._dense.nearest(vector, is_cjk(query), fetch, filters, allowed)
            matching = self._keywords.proposed(wanted, fetch, allowed)
            scores = self._scores(query, vector, wanted, near, matching)
            numbers, hits = self._distinct(scores, near, matching, _SPREAD * k)
            if len(hits) >= k or len(near.cosines) < fetch:
                break
            fetch *= _SPREAD  # copies filled the page
        vectors = self._lookup.vectors(numbers)
        known = {h.chunk.id: vectors[n] for n, h in zip(numbers, hits, strict=True) if n in vectors}
        return spread(hits, known)[:k]

    def _is_filled(self) -> bool:
        self._lookup.refresh()
        return self._lookup.count > 0

    def _scores(
        self, query: str, vector: Vector, wanted: Wanted, near: Nearest, matching: list[int]
    ) -> dict[int, float]:
        """Number -> relevance of every proposed passage, by both legs."""
        lacking = [number for number in matching if number not in near.cosines]
        found = self._lookup.vectors(lacking)
        cosines = dict(near.cosines) | {n: float(v @ vector) for n, v in found.items()}
        words = self._keywords.words(cosines)
        asked = is_cjk(query)
        own = {number: found for number, found in words.items() if found.is_cjk == asked}
        others = {number: found for number, found in words.items() if number not in own}
        untranslated = self._keywords.wanted(" ".join(names(query, across=True)))
        return fused(
            near,
            {number: cosines[number] for number in words},
            self._keywords.shares(wanted, own),
            self._keywords.shares(untranslated, others),
            self._prior,
        )

    def _distinct(
        self, scores: Mapping[int, float], near: Nearest, matching: Sequence[int], count: int
    ) -> tuple[list[int], list[Hit]]:
        """The best passages, best first, each text once, and their numbers."""
        dense = {number: rank for rank, number in enumerate(near.cosines, start=1)}
        keyword = {number: rank for rank, number in enumerate(matching, start=1)}
        ordered = sorted(scores, key=lambda number: (-scores[number], number))
        texts = Distinct()
        kept: dict[int, Hit] = {}
        for at in range(0, len(ordered), count):
            part = ordered[at : at + count]
            chunks = self._lookup.chunks(part)
            for n in part:
                if n in chunks and texts.is_new(chunks[n]):
                    kept[n] = Hit(chunks[n], scores[n], dense.get(n), keyword.get(n))
            if len(kept) >= count:
                break
        return list(kept), list(kept.values())
