"""Hybrid retrieval: dense and keyword search, fused into one relevance from 0 to 1.

Both retrievers propose candidates, each candidate is scored by both, and copies are shown once.
Filters apply to both, so the result is the best of what they allow.

A chunk in the query's script is scored by both. One in the other script shares few words with the
query however well it answers: it gets the keyword score that chunks in the query's script get by
chance, so that keywords decide nothing between the scripts.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from agentkit.documents import Hit
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.index.catalog import Catalog, Vector
from agentkit.knowledge.index.token_store import TokenStore
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.search.dense import EXACT_CHUNKS, DenseRetriever, Nearest, scripts
from agentkit.knowledge.search.filters import Filters
from agentkit.knowledge.search.keywords import KeywordQuery, KeywordRetriever
from agentkit.knowledge.search.late import READ, LateInteraction
from agentkit.knowledge.search.lookup import Lookup
from agentkit.knowledge.search.query import Query, analyze
from agentkit.knowledge.search.rerank import Reranker

CANDIDATES = 50
"""How many chunks each retriever proposes, at the least."""

RERANKED = 20
"""How many hits a reranker reads, at the least."""

KEYWORDS = 0.45
"""The weight of the keyword share."""

_DENSE = 0.0325
"""The weight of one standard deviation above the mean cosine. With `KEYWORDS` chosen on XQuAD
English and CMRC 2018, where recall@1 is flat from 0.03 to 0.05."""

NAMES = 0.15
"""The weight of names, which are not translated, for a chunk in the other script."""
_BY_CHANCE_RANK = 5
_IN_FAVOUR = 0.05
_BEND = 0.05
_IMPUTED = 0.3
_LEAD = 0.25
"""How much of the lead in cosine of the query's own script is compensated."""

_SAME_SECTION = 0.85
"""The factor of each further hit of a section."""

CHANGELOG_FACTOR = 0.85
"""The factor of a changelog, which mentions everything, where no change is asked for."""

_CHANGELOG = re.compile(
    r"(?:^|[/_.-])(?:changelog|changes|history|news|release[-_ ]?notes|releases|what'?s[-_ ]?new)"
    r"[^/]*$",
    re.IGNORECASE,
)
_NEAR_COPY = 0.97
_NEAR_COPY_FACTOR = 0.5
_SPREAD = 4


@dataclass(frozen=True, slots=True)
class Prior:
    """The expected distribution of cosines, which weighs as much as `weight` chunks."""

    mean: float = 0.75
    deviation: float = 0.02
    weight: float = 20


E5 = Prior(weight=1500)
"""Cosines of the e5 models lie between 0.7 and 1 whatever the texts."""


def fused(
    near: Nearest,
    cosines: Mapping[int, float],
    shares: Mapping[int, float],
    names: Mapping[int, float],
    prior: Prior,
) -> dict[int, float]:
    """Number -> relevance between 0 and 1. `shares` are the keyword shares of chunks in the query's
    script; the others have `names`, their shares of the words that are not translated, if any."""
    total = near.count + prior.weight
    mean = (near.count * near.mean + prior.weight * min(prior.mean, near.mean)) / total
    variance = near.count * near.deviation**2 + prior.weight * prior.deviation**2
    deviation = float(np.sqrt(variance / total))
    chance = _IMPUTED
    if shares:  # What a chunk without an answer gets: the fifth best, or the worst of fewer.
        chance = sorted(shares.values())[-min(_BY_CHANCE_RANK, len(shares))]
    relevance = {}
    for number, cosine in cosines.items():
        if number in shares:
            words = KEYWORDS * shares[number]
        else:
            cosine += _LEAD * near.lead
            imputed = chance + _IN_FAVOUR
            words = KEYWORDS * (imputed + NAMES * (names.get(number, imputed) - imputed))
        relevance[number] = _bounded(_DENSE * (cosine - mean) / deviation + words)
    return relevance


def _bounded(score: float) -> float:
    """Between 0 and 1 without ties: both ends are bent, so that the order is kept."""
    if score < _BEND:
        return _BEND * math.exp(score / _BEND - 1)
    if score > 1 - _BEND:
        return 1 - _BEND * math.exp((1 - score) / _BEND - 1)
    return score


def spread(hits: Iterable[Hit], vectors: Mapping[str, Vector], changelog: float = 1.0) -> list[Hit]:
    """Sort hits best first, with lower scores for a section's further hits, for near copies of a
    better hit from another section, and by a factor for changelogs. `vectors` are by chunk id."""
    found: list[Hit] = []
    seen: Counter[tuple[str, str]] = Counter()
    shown: list[tuple[tuple[str, str], Vector]] = []
    for hit in hits:
        section = (hit.chunk.source, hit.chunk.heading)
        factor = _SAME_SECTION ** seen[section]
        if _CHANGELOG.search(hit.chunk.source):
            factor *= changelog
        vector = vectors.get(hit.chunk.id)
        if vector is not None:
            others = [v for place, v in shown if place != section]
            if others and float(np.max(np.stack(others) @ vector)) > _NEAR_COPY:
                factor *= _NEAR_COPY_FACTOR
            shown.append((section, vector))
        found.append(replace(hit, score=hit.score * factor))
        seen[section] += 1
    found.sort(key=lambda hit: -hit.score)
    return [replace(hit, score=round(hit.score, 4)) for hit in found]


class _Scores(NamedTuple):
    """The scores of candidates by number: together, by vectors, and by keywords where the query is
    in their script."""

    fused: dict[int, float]
    cosines: Mapping[int, float]
    shares: Mapping[int, float]


class Retriever:
    """Searches one index. The best hits are reranked by the embedder's token vectors where
    `tokens` keeps them; `reranker`, where there is one, decides the final order."""

    def __init__(
        self,
        catalog: Catalog,
        vectors: Vectors,
        embedder: Embedder,
        reranker: Reranker | None = None,
        exact_chunks: int = EXACT_CHUNKS,
        tokens: TokenStore | None = None,
    ) -> None:
        self.reranker = reranker
        self._lookup = Lookup(catalog)
        self._dense = DenseRetriever(self._lookup, vectors, exact_chunks)
        self._keywords = KeywordRetriever(self._lookup)
        self.late = LateInteraction(self._lookup, embedder, tokens) if tokens else None
        self._embedder = embedder
        self._prior = E5 if "e5" in embedder.name.lower() else Prior()

    async def search(self, query: str, k: int, filters: Filters = Filters()) -> list[Hit]:
        """The k best hits of an index, best first. Raises KnowledgeError for a bad filter."""
        if analyze(query).is_filler or not await asyncio.to_thread(self._lookup.refreshed_count):
            return []
        asked = await self.late.query(query) if self.late else None
        vector = asked[0] if asked else (await self._embedder.embed_queries([query]))[0]
        wanted = max(k, READ if asked else k, RERANKED if self.reranker else k)
        hits = await asyncio.to_thread(self.search_vector, query, vector, wanted, filters)
        if self.late and asked:
            hits = await self.late.rerank(asked[1], hits)
        if self.reranker is not None:
            hits = await self.reranker.rerank(query, hits)
        return hits[:k]

    def search_vector(
        self, query: str, vector: Vector, k: int, filters: Filters = Filters()
    ) -> list[Hit]:
        """The k best hits for a query whose vector is known, without reranking."""
        self._lookup.refresh()
        allowed = self._lookup.allowed(filters) if filters else None
        analyzed = analyze(query)
        wanted = self._keywords.weighed(analyzed)
        fetch = max(CANDIDATES, _SPREAD * k)
        while True:
            near = self._dense.nearest(vector, analyzed.is_cjk, fetch, filters, allowed)
            matching = self._keywords.candidates(wanted, fetch, allowed)
            scores = self._scores(analyzed, vector, wanted, near, matching)
            numbers, hits = self._distinct(scores, near, matching, _SPREAD * k)
            if len(hits) >= k or len(near.cosines) < fetch:
                break
            fetch *= _SPREAD  # copies filled the page
        vectors = self._lookup.vectors(numbers)
        known = {h.chunk.id: vectors[n] for n, h in zip(numbers, hits, strict=True) if n in vectors}
        return spread(hits, known, 1.0 if analyzed.asks_for_changes else CHANGELOG_FACTOR)[:k]

    def _scores(
        self, query: Query, vector: Vector, wanted: KeywordQuery, near: Nearest, matching: list[int]
    ) -> _Scores:
        """The scores of every candidate, by both retrievers and together."""
        lacking = [number for number in matching if number not in near.cosines]
        found = self._lookup.vectors(lacking)
        cosines = dict(near.cosines) | {n: float(v @ vector) for n, v in found.items()}
        words = self._keywords.words(cosines)
        cjk = scripts(self._lookup, words)
        own = {number: found for number, found in words.items() if cjk[number] == query.is_cjk}
        others = {number: found for number, found in words.items() if number not in own}
        names = self._keywords.weighed_names(query)
        known = {number: cosines[number] for number in words}
        shares = self._keywords.shares(wanted, own)
        named = self._keywords.shares(names, others) if names.terms else {}
        return _Scores(fused(near, known, shares, named, self._prior), known, shares)

    def _distinct(
        self, scores: _Scores, near: Nearest, matching: Sequence[int], count: int
    ) -> tuple[list[int], list[Hit]]:
        """The best chunks, best first, each text once, and their numbers. White space and the title
        in the headings do not make a text another one."""
        dense = {number: rank for rank, number in enumerate(near.cosines, start=1)}
        keyword = {number: rank for rank, number in enumerate(matching, start=1)}
        together = scores.fused
        ordered = sorted(together, key=lambda number: (-together[number], number))
        texts: set[tuple[str, str]] = set()
        kept: dict[int, Hit] = {}
        for at in range(0, len(ordered), count):
            part = ordered[at : at + count]
            chunks = self._lookup.chunks(part)
            for n in part:
                if n not in chunks:
                    continue
                chunk = chunks[n]
                text = chunk.heading.removeprefix(chunk.title), "".join(chunk.text.split())
                if text not in texts:
                    texts.add(text)
                    ranks, share = (dense.get(n), keyword.get(n)), scores.shares.get(n)
                    kept[n] = Hit(chunk, together[n], *ranks, None, scores.cosines[n], share)
            if len(kept) >= count:
                break
        return list(kept), list(kept.values())
