"""Metrics of retrieval and answers, and bootstrap confidence intervals of their means.

Retrieval metrics depend on the rank at which each expected place is first found. Recall, reciprocal
rank and nDCG equal those of trec_eval with binary relevance, each expected place as one relevant
item. Intervals are by the percentile bootstrap (Efron, "Bootstrap methods", 1979) with a fixed
seed; for paired runs as in Koehn, "Statistical significance tests for machine translation
evaluation", 2004.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from agentkit.answers import Answer, Citation
from agentkit.documents import Chunk, Hit
from agentkit.evaluation.questions import Place, Question

Interval = tuple[float, float]
Ranks = tuple[int | None, ...]
"""For each expected place the rank, from 1, at which it is first found, else None."""

RESAMPLES = 2000
LEVEL = 0.95
_SEED = 20261122
_MAX_DRAWS = 2_000_000


def ranks_of(question: Question, hits: Iterable[tuple[int, Hit]]) -> Ranks:
    """Find the ranks of a question's expected places among ranked hits, best first."""
    ranked = list(hits)
    return tuple(
        next((rank for rank, hit in ranked if _is_in(hit.chunk, places)), None)
        for places in question.expected
    )


def recall(ranks: Ranks, k: int) -> float:
    """Share of expected places among the first k hits."""
    return sum(rank is not None and rank <= k for rank in ranks) / len(ranks)


def found_all(ranks: Ranks, k: int) -> float:
    """1 if every expected place is among the first k hits, else 0."""
    return float(all(rank is not None and rank <= k for rank in ranks))


def reciprocal_rank(ranks: Ranks) -> float:
    """Reciprocal of the rank of the first hit in an expected place, 0 without one."""
    return max((1 / rank for rank in ranks if rank is not None), default=0.0)


def ndcg(ranks: Ranks, k: int) -> float:
    """Normalized discounted cumulative gain of the first k hits. A passage in two expected places
    counts for both; the result is at most 1."""
    gain = sum(_discount(rank) for rank in ranks if rank is not None and rank <= k)
    best = sum(_discount(rank) for rank in range(1, min(k, len(ranks)) + 1))
    return min(1.0, gain / best)


def fact_recall(question: Question, text: str) -> float:
    """Share of key facts that a text contains in one of their spellings, ignoring case."""
    folded = text.casefold()
    found = [any(form.casefold() in folded for form in forms) for forms in question.facts]
    return sum(found) / len(found)


def has_exact_quotes(answer: Answer) -> bool:
    """Whether an answer has quotes, and each is a substring of the passage it cites."""
    quotes = [c for c in answer.citations if c.quote]
    return bool(quotes) and all(c.quote in c.chunk.text for c in quotes if c.quote)


def citation_precision(question: Question, citations: Sequence[Citation]) -> float:
    """Share of citations that are supported by a quote and lead to an expected place."""
    correct = [
        _is_supported(citation)
        and any(_is_in(citation.chunk, places) for places in question.expected)
        for citation in citations
    ]
    return sum(correct) / len(citations)


def citation_recall(question: Question, citations: Sequence[Citation]) -> float:
    """Share of expected places to which a citation with a supporting quote leads."""
    supported = [citation.chunk for citation in citations if _is_supported(citation)]
    found = [any(_is_in(chunk, places) for chunk in supported) for places in question.expected]
    return sum(found) / len(found)


def _is_supported(citation: Citation) -> bool:
    quote = citation.quote or ""
    return citation.supported and bool(quote) and quote in citation.chunk.text


def _is_in(chunk: Chunk, places: Sequence[Place]) -> bool:
    return any(place.contains(chunk) for place in places)


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 1)


def interval(values: Sequence[float]) -> Interval:
    """95 % confidence interval of the mean, from 2000 resamples; (0, 0) without values. For paired
    runs pass the differences: if 0 is outside, one run is better."""
    if not values:
        return 0.0, 0.0
    data = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(_SEED)
    rows = max(1, _MAX_DRAWS // len(data))
    means = [
        data[random.integers(0, len(data), (min(rows, RESAMPLES - done), len(data)))].mean(axis=1)
        for done in range(0, RESAMPLES, rows)
    ]
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), (outside, 1 - outside))
    return float(low), float(high)
