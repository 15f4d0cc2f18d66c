"""Hybrid retrieval: nearest vectors and keywords, fused into one relevance from 0 to 1.

Both legs propose passages, each passage is scored by both, and copies are shown once. A filter
narrows both legs, so that the answer is the best of what it allows.

Cosine and keywords as one relevance, passage by passage.

A passage in the question's script is weighed by both. One in the other script shares few words with
the question however well it answers: it is given the keyword score that passages in the question's
script get by chance, so that neither they nor their noise decide.

A page of hits that do not repeat each other: copies once, near copies and the later passages of
one section further down.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from agentkit.documents import Chunk, Hit
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.index.catalog import Catalog, Vector
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.search.dense import DenseLeg, Nearest
from agentkit.knowledge.search.filters import Filters
from agentkit.knowledge.search.keywords import KeywordLeg, Wanted
from agentkit.knowledge.search.lookup import Lookup
from agentkit.knowledge.search.rerank import Reranker
from agentkit.text.terms import is_cjk, names

KEYWORDS = 0.65
"""The weight of the keyword share."""

_DENSE = 0.0325
"""The weight of one standard deviation above the mean cosine. With `KEYWORDS` chosen on XQuAD
English and CMRC 2018, where recall@1 is flat from 0.03 to 0.05."""

_NAMES = 0.1
_BY_CHANCE_RANK = 5
_IN_FAVOUR = 0.05
_IMPUTED = 0.3
_BEND = 0.05
_LEAD = 0.25
"""How much of the lead in cosine of the question's own script is taken back."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is expected of cosines before an index has shown its own: `weight` in chunks."""

    mean: float = 0.75
    deviation: float = 0.02
    weight: float = 20


E5 = Prior(weight=1500)
"""Of the e5 models it is known: their cosines lie between 0.7 and 1 whatever the texts."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From a cosine to how far it stands above the unrelated."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, near: Nearest, prior: Prior) -> Scale:
        total = near.count + prior.weight
        mean = (near.count * near.mean + prior.weight * min(prior.mean, near.mean)) / total
        variance = near.count * near.deviation**2 + prior.weight * prior.deviation**2
        return cls(mean, float(np.sqrt(variance / total)))

    def deviations(self, cosine: float) -> float:
        return (cosine - self.mean) / self.deviation


def fused(
    near: Nearest,
    cosines: Mapping[int, float],
    shares: Mapping[int, float],
    names: Mapping[int, float],
    prior: Prior,
) -> dict[int, float]:
    """Number -> relevance between 0 and 1. `shares` are of the passages in the question's script;
    the others have `names`, their shares of the words that nobody translates."""
    scale = Scale.of(near, prior)
    chance = _by_chance(shares.values())
    found = {}
    for number, cosine in cosines.items():
        if number in shares:
            dense, words = cosine, KEYWORDS * shares[number]
        else:
            dense = cosine + _LEAD * near.lead
            words = KEYWORDS * (chance + _IN_FAVOUR) + _NAMES * names.get(number, 0.0)
        found[number] = _bounded(_DENSE * scale.deviations(dense) + words)
    return found


def _bounded(score: float) -> float:
    """Between 0 and 1 without ties: the ends are bent, for even the worst keep their order."""
    if score < _BEND:
        return _BEND * math.exp(score / _BEND - 1)
    if score > 1 - _BEND:
        return 1 - _BEND * math.exp((1 - score) / _BEND - 1)
    return score


def _by_chance(shares: Collection[float]) -> float:
    """The keyword share that a passage of the question's script gets without an answer in it: that
    of the fifth best, or the worst of fewer. Where there are none, what a fair match would get."""
    return sorted(shares)[-min(_BY_CHANCE_RANK, len(shares))] if shares else _IMPUTED


_AGAIN = 0.85
"""What a section's next passage is worth beside one of a section not yet shown."""

_NEAR_COPY = 0.97
_OF_A_NEAR_COPY = 0.5


class Distinct:
    """Tells copies: the same text under the same headings, white space left out."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, str]] = set()

    def is_new(self, chunk: Chunk) -> bool:
        """Whether no chunk before had this text."""
        identity = chunk.heading.removeprefix(chunk.title), "".join(chunk.text.split())
        is_new = identity not in self._seen
        self._seen.add(identity)
        return is_new


def spread(hits: Iterable[Hit], vectors: Mapping[str, Vector]) -> list[Hit]:
    """Best first, after those nearly as good: a section's later passages, and passages whose
    vectors (by chunk id) are all but those of a better one from another section."""
    found: list[Hit] = []
    seen: Counter[tuple[str, str]] = Counter()
    shown: list[tuple[tuple[str, str], Vector]] = []
    for hit in hits:
        section = (hit.chunk.source, hit.chunk.heading)
        worth = _AGAIN ** seen[section]
        vector = vectors.get(hit.chunk.id)
        if vector is not None:
            others = [v for place, v in shown if place != section]
            if others and float(np.max(np.stack(others) @ vector)) > _NEAR_COPY:
                worth *= _OF_A_NEAR_COPY
            shown.append((section, vector))
        found.append(replace(hit, score=hit.score * worth))
        seen[section] += 1
    found.sort(key=lambda hit: -hit.score)
    return [replace(hit, score=round(hit.score, 4)) for hit in found]


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
