"""Late interaction: score passages, or ranges of them, by the vectors of single tokens.

The score is MaxSim: for each token of the query the largest cosine with a token of the passage,
averaged with the rarity of the query's tokens as weights. Source: Khattab and Zaharia, ColBERT,
https://arxiv.org/abs/2004.12832. The vectors are those of the default embedder's last layer; they
are kept in a file for small indexes and recent passages, and computed for few others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from agentkit.documents import Chunk, Hit
from agentkit.knowledge.chunking.markup import index_text, plain
from agentkit.knowledge.embedders.base import Embedder, TokenEmbedder, TokenVectors, token_embedder
from agentkit.knowledge.index.embedding_cache import content_of
from agentkit.knowledge.index.token_store import StoredTokens, TokenStore
from agentkit.knowledge.search.lookup import Lookup
from agentkit.text.terms import is_cjk

READ = 30
"""How many hits are scored, at the most."""

COMPUTED = 8
"""How many passages are embedded for one question, where their tokens are not kept."""

SECONDS = 0.4
"""Processor time after which no more are."""

WEIGHT = 3.0
"""The weight of the score beside a relevance. Chosen on documentation and even paragraphs."""

UNLIKELY = 0.3
"""Below this relevance a passage is unlikely to be about the query."""

_AT_ONCE = 2
_MIDDLE, _MIDDLE_ACROSS, _SLOPE = 0.80, 0.75, 50.0
"""The score at which a passage is as likely about the query as not, in the same and in another
language, and how steeply the probability grows there. Fitted on the lecture notes (92 questions)
and on half of XQuAD's English articles, with questions about both halves."""


def relevances(query: str, hits: Sequence[Hit]) -> list[float]:
    """How likely each hit is about the query, from 0 to 1, by its score by late interaction; the
    retriever's own relevance where none has one. A hit without a score gets the least of the
    others."""
    known = {at: _relevance(query, hit) for at, hit in enumerate(hits) if hit.late}
    if not known:
        return [hit.score for hit in hits]
    least = min(known.values())
    return [round(known.get(at, least), 2) for at in range(len(hits))]


def _relevance(query: str, hit: Hit) -> float:
    is_across = is_cjk(query) != is_cjk(hit.chunk.text)
    middle = _MIDDLE_ACROSS if is_across else _MIDDLE
    return float(1 / (1 + np.exp(-_SLOPE * ((hit.late or 0.0) - middle))))


@dataclass(frozen=True, slots=True)
class LateQuery:
    """The tokens of a query, (tokens, dimension), and their weights, which add up to one."""

    vectors: NDArray[np.float32]
    weights: NDArray[np.float32]

    @classmethod
    def of(cls, found: TokenVectors) -> LateQuery:
        total = max(float(found.rarity.sum()), 1e-6)
        return cls(found.vectors, (found.rarity / total).astype(np.float32))

    def score(self, similarities: NDArray[np.float32]) -> float:
        """MaxSim from the cosines of the query's tokens with those of a text, (query tokens,
        tokens); 0 where there are none."""
        return float(similarities.max(axis=1) @ self.weights) if similarities.size else 0.0


class LateInteraction:
    """Late interaction in one index, by the embedder's own token vectors."""

    def __init__(self, lookup: Lookup, embedder: Embedder, store: TokenStore) -> None:
        self._lookup = lookup
        self._embedder: TokenEmbedder | None = token_embedder(embedder)
        self._name = embedder.name
        self._store = store
        self._last: tuple[str, NDArray[np.float32], LateQuery] | None = None

    async def query(self, text: str) -> tuple[NDArray[np.float32], LateQuery] | None:
        """The vector of a query and its tokens, from one run; None without token vectors. The last
        query is kept: its answer's units are scored after its passages."""
        last = self._last
        if last is None or last[0] != text:
            if self._embedder is None:
                return None
            [found] = await self._embedder.embed_tokens([text], True)
            self._last = last = (text, found.whole, LateQuery.of(found))
        return last[1], last[2]

    async def rerank(self, query: LateQuery, hits: Sequence[Hit]) -> list[Hit]:
        """The first hits ordered by relevance and score together; those without token vectors
        keep their places. The relevances stay sorted."""
        first = hits[:READ]
        tokens = await self.tokens([hit.chunk for hit in first])

        def similarities(hit: Hit) -> NDArray[np.float32]:
            return tokens[hit.chunk.id].similarities(query.vectors)

        scored = {
            at: replace(hit, late=round(query.score(similarities(hit)), 4))
            for at, hit in enumerate(first)
            if hit.chunk.id in tokens
        }
        ordered = sorted(scored.values(), key=lambda hit: -(hit.score + WEIGHT * (hit.late or 0.0)))
        merged = list(hits)
        for at, hit in zip(sorted(scored), ordered, strict=True):
            merged[at] = hit
        relevances = sorted((hit.score for hit in merged), reverse=True)
        return [replace(h, score=s) for h, s in zip(merged, relevances, strict=True)]

    async def tokens(self, chunks: Sequence[Chunk]) -> dict[str, StoredTokens]:
        """Chunk id -> tokens: those that are kept, and those of the first few others, computed."""
        texts = {chunk.id: index_text(chunk) for chunk in chunks}
        contents = {id_: content_of(text, self._name) for id_, text in texts.items()}
        kept = await asyncio.to_thread(self._store.read, list(contents.values()))
        found = {id_: kept[content] for id_, content in contents.items() if content in kept}
        lacking = [id_ for id_ in texts if id_ not in found][:COMPUTED]
        computed = await self._computed({id_: texts[id_] for id_ in lacking})
        if computed:
            new = {contents[id_]: tokens for id_, tokens in computed.items()}
            await asyncio.to_thread(self._store.keep, new, list(kept))
        return found | computed

    async def scores(self, question: str, ranges: Sequence[Chunk]) -> list[float] | None:
        """The score of each of some ranges of documents (units of answers) for a question, by the
        tokens of the range and of the headings above it, in the chunk that holds it. A range that
        no chunk holds, and one whose tokens are not to be had, has 0. None without token
        vectors."""
        asked = await self.query(question)
        if asked is None:
            return None
        holders = await asyncio.to_thread(self._lookup.holding, ranges)
        chunks = {chunk.id: chunk for chunk in holders if chunk is not None}
        tokens = await self.tokens(list(chunks.values()))
        scorers = {id_: _RangeScorer(asked[1], chunks[id_], found) for id_, found in tokens.items()}
        return [
            scorers[holder.id].score(unit) if holder and holder.id in scorers else 0.0
            for unit, holder in zip(ranges, holders, strict=True)
        ]

    async def _computed(self, texts: Mapping[str, str]) -> dict[str, StoredTokens]:
        """The tokens of a few passages, as long as there is processor time."""
        found: dict[str, StoredTokens] = {}
        began, waiting = time.process_time(), list(texts)
        while waiting and self._embedder and time.process_time() - began < SECONDS:
            part, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            embedded = await self._embedder.embed_tokens([texts[id_] for id_ in part])
            found.update((i, StoredTokens.of(e)) for i, e in zip(part, embedded, strict=True))
        return found


class _RangeScorer:
    """Scores ranges of a document within the chunk that holds them."""

    def __init__(self, query: LateQuery, holder: Chunk, tokens: StoredTokens) -> None:
        self._query = query
        self._holder = holder
        self._spans = tokens.spans
        self._similarities = tokens.similarities(query.vectors)
        self._indexed = index_text(holder)
        self._context = max(0, len(self._indexed) - len(plain(holder.text)))

    def score(self, unit: Chunk) -> float:
        """The score of a range, that of the whole chunk where its text is not in the index."""
        holder = self._holder
        first = max(unit.start, holder.start) - holder.start
        shown = plain(holder.text[first : min(unit.end, holder.end) - holder.start])
        at = self._indexed.find(shown, self._context) if shown else -1
        if self._indexed.find(shown, at + 1) > 0:
            rest = len(plain(holder.text[first:]))
            at = self._indexed.find(shown, max(self._context, len(self._indexed) - rest - _SLACK))
        if at < 0:
            return self._query.score(self._similarities)
        starts, ends = self._spans[:, 0], self._spans[:, 1]
        inside = (ends > at) & (starts < at + len(shown)) | (ends <= self._context)
        return self._query.score(self._similarities[:, inside])


_SLACK = 20
"""Characters by which a range may stand before its expected place in the indexed text."""
