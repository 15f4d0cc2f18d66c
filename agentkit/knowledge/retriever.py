"""Hybrid retrieval: nearest vectors and keywords, fused into one relevance from 0 to 1.

Both legs are put on a fixed scale, so that a score means the same for every question: cosine
between what unrelated and matching texts get, BM25 as a share of what a passage could get that
held every term of the question. The keyword leg counts less where question and passages are
written in different scripts.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from agentkit.documents import Chunk, Hit
from agentkit.knowledge.catalog import Catalog, Vector
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.filters import Filters
from agentkit.knowledge.lookup import Lookup
from agentkit.knowledge.vectors import Vectors
from agentkit.text import characters, is_cjk, names, terms

_log = logging.getLogger(__name__)

CANDIDATES = 50
"""How many passages each leg proposes, at the least."""

_AGAIN = 0.85
"""What a section's next passage is worth beside one of a section not yet shown."""

_SATURATION = 1.2
_CEILING = 1 + _SATURATION
"""BM25's k1, and what a term that fills a passage approaches, times its rarity."""


@dataclass(frozen=True, slots=True)
class Fusion:
    """How the two legs make one score.

    `unrelated` and `matching` are the cosines that count as nothing and as all, `weight` is the
    dense leg's share, `characters` the weight of a single CJK character beside a bigram.
    """

    unrelated: float
    matching: float
    weight: float
    characters: float = 0.6

    def score(self, cosine: float, keyword: float) -> float:
        dense = (cosine - self.unrelated) / (self.matching - self.unrelated)
        fused = self.weight * min(1.0, max(0.0, dense)) + (1 - self.weight) * min(1.0, keyword)
        return round(fused, 4)


ONE_SCRIPT = Fusion(unrelated=0.75, matching=0.95, weight=0.35)
"""Chosen on XQuAD English and CMRC 2018, where recall@1 is flat for weights from 0.3 to 0.5."""

ACROSS_SCRIPTS = Fusion(unrelated=0.66, matching=0.88, weight=0.95)
"""Between languages cosines are lower, and the words that count are names."""


class Retriever:
    """Searches one index."""

    def __init__(
        self,
        catalog: Catalog,
        vectors: Vectors,
        embedder: Embedder,
    ) -> None:
        self._catalog = catalog
        self._lookup = Lookup(catalog)
        self._vectors = vectors
        self._embedder = embedder
        self._generation = -1

    async def search(self, query: str, k: int, filters: Filters = Filters()) -> list[Hit]:
        """The k best hits of an index, best first."""
        if not await asyncio.to_thread(self._catalog.count):
            return []
        vector = (await self._embedder.embed_queries([query]))[0]
        return await asyncio.to_thread(self._fused, query, vector, k)

    def _fused(self, query: str, vector: Vector, k: int) -> list[Hit]:
        fetch = max(CANDIDATES, 4 * k)
        cosines = dict(self._dense(vector, fetch))
        across = _across_scripts(query, self._lookup.live([*cosines]).values())
        words = " ".join(names(query, across=True)) if across else query
        keywords = self._keywords(words, fetch)
        chunks = self._lookup.live([*cosines.keys() | keywords.keys()])
        lacking = [id_ for id_ in chunks if id_ not in cosines]
        every_cosine = cosines | {
            id_: float(v @ vector) for id_, v in self._lookup.vectors(lacking).items()
        }
        fusion = ACROSS_SCRIPTS if across else ONE_SCRIPT
        dense_ranks, keyword_ranks = _ranks(cosines), _ranks(keywords)
        hits = [
            Hit(
                chunk,
                fusion.score(every_cosine[id_], keywords.get(id_, 0.0)),
                dense_ranks.get(id_),
                keyword_ranks.get(id_),
            )
            for id_, chunk in chunks.items()
        ]
        return _spread(hits)[:k]

    def _dense(self, vector: Vector, k: int) -> list[tuple[str, float]]:
        """(id, cosine) of the nearest, from Chroma, or by exact scan where Chroma fails."""
        generation = self._catalog.generation
        if generation != self._generation:
            self._vectors.close()
            self._generation = generation
        try:
            return self._vectors.query(vector, k)
        except Exception as error:
            _log.warning("Chroma failed (%s): scanning the catalog instead", error)
            self._vectors.close()
        ids, vectors = self._catalog.all_vectors()
        cosines = vectors @ vector
        best = np.argsort(-cosines)[:k]
        return [(ids[at], float(cosines[at])) for at in best]

    def _keywords(self, query: str, k: int) -> dict[str, float]:
        """Chunk id -> share of the possible BM25. Terms propose the passages, single characters
        only weigh them: an OR over characters would match nearly everything."""
        wanted = list(dict.fromkeys(terms(query)))
        if not wanted:
            return {}
        count = self._catalog.count()
        match = " OR ".join(f'"{term}"' for term in wanted)
        found = dict(self._lookup.full_text(f"{{terms}} : ({match})", k))
        rarities = {c: self._rarity(c, count, "characters") for c in set(characters(query))}
        chunks = self._lookup.live([*found])
        ceiling = sum(self._rarity(term, count, "terms") for term in wanted)
        ceiling = _CEILING * (ceiling + ONE_SCRIPT.characters * sum(rarities.values()))
        return {
            id_: (score + ONE_SCRIPT.characters * _bm25(chunks[id_].text, rarities)) / ceiling
            for id_, score in found.items()
            if id_ in chunks
        }

    def _rarity(self, term: str, count: int, column: str) -> float:
        """The inverse document frequency, as FTS5 weighs it."""
        holding = self._lookup.document_frequency(term, column)
        return max(1e-6, math.log((count - holding + 0.5) / (holding + 0.5)))


def _bm25(text: str, rarities: Mapping[str, float]) -> float:
    """BM25 of single characters in a passage, its length left out."""
    counts = Counter(characters(text))
    return sum(
        rarity * counts[character] * _CEILING / (counts[character] + _SATURATION)
        for character, rarity in rarities.items()
    )


def _spread(hits: Iterable[Hit]) -> list[Hit]:
    """Best first, each section's second and later passages after those of other sections that
    are nearly as good, so that one long section does not fill the page."""
    found: list[Hit] = []
    seen: Counter[tuple[str, str]] = Counter()
    for hit in sorted(hits, key=lambda hit: (-hit.score, hit.chunk.id)):
        section = (hit.chunk.source, hit.chunk.heading)
        found.append(replace(hit, score=round(hit.score * _AGAIN ** seen[section], 4)))
        seen[section] += 1
    return sorted(found, key=lambda hit: -hit.score)


def _ranks(scores: dict[str, float]) -> dict[str, int]:
    ordered = sorted(scores, key=lambda id_: -scores[id_])
    return {id_: rank for rank, id_ in enumerate(ordered, start=1)}


def _across_scripts(query: str, chunks: Collection[Chunk]) -> bool:
    """Whether most of the passages are written in another script than the question."""
    same = sum(is_cjk(chunk.text) == is_cjk(query) for chunk in chunks)
    return 2 * same < len(chunks)
