"""What counts as found, answered and refused.

All that is said of a ranking follows from one thing: at which rank each place that the answer
needs is first met. Recall, reciprocal rank and nDCG are those of trec_eval on binary relevance,
every needed place one relevant item.

How far a mean over questions can be trusted: percentile bootstrap, the same at every call.

Efron, "Bootstrap methods", 1979; the paired form, of differences question by question, as in
Koehn, "Statistical significance tests for machine translation evaluation", 2004.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from agentkit.answers import Answer, Citation
from agentkit.documents import Chunk, Hit
from agentkit.evaluation.questions import Place, Question

Ranks = tuple[int | None, ...]
"""For each needed place the rank, from 1, at which it is first met; None where it is not."""


def ranks_of(question: Question, hits: Iterable[tuple[int, Hit]]) -> Ranks:
    """The ranks of a question's places among ranked hits, best first."""
    ranked = list(hits)
    return tuple(
        next((rank for rank, hit in ranked if _stands(hit.chunk, places)), None)
        for places in question.expected
    )


def recall(ranks: Ranks, k: int) -> float:
    """The share of the needed places that are among the first k hits."""
    return sum(rank is not None and rank <= k for rank in ranks) / len(ranks)


def whole(ranks: Ranks, k: int) -> float:
    """1 when every needed place is among the first k hits, else 0."""
    return float(all(rank is not None and rank <= k for rank in ranks))


def reciprocal_rank(ranks: Ranks) -> float:
    """1 by the rank of the first hit at a needed place, 0 without one."""
    return max((1 / rank for rank in ranks if rank is not None), default=0.0)


def ndcg(ranks: Ranks, k: int) -> float:
    """Discounted cumulative gain of the first k hits, by that of the best order. A passage that
    meets two needed places counts for both, and the quotient at most as 1."""
    gained = sum(_discount(rank) for rank in ranks if rank is not None and rank <= k)
    best = sum(_discount(rank) for rank in range(1, min(k, len(ranks)) + 1))
    return min(1.0, gained / best)


def facts_held(question: Question, text: str) -> float:
    """The share of the key facts that stand in a text, in one of their spellings; case does not
    count."""
    said = text.casefold()
    held = [any(form.casefold() in said for form in forms) for forms in question.facts]
    return sum(held) / len(held)


def refused(answer: Answer) -> bool:
    """Whether an answer says that it has none."""
    return answer.stop_reason == "refused"


def proven(answer: Answer) -> bool:
    """Whether an answer cites, and each of its quotes stands in the passage it cites."""
    quotes = [c for c in answer.citations if c.quote]
    return bool(quotes) and all(c.quote in c.chunk.text for c in quotes if c.quote)


def citation_precision(question: Question, citations: Sequence[Citation]) -> float:
    """The share of citations that a quote supports and that lead to an expected place."""
    return sum(_is_good(question, citation) for citation in citations) / len(citations)


def citation_recall(question: Question, citations: Sequence[Citation]) -> float:
    """The share of the needed places to which a citation with a supporting quote leads."""
    supported = [citation.chunk for citation in citations if _supports(citation)]
    met = [any(_stands(chunk, places) for chunk in supported) for places in question.expected]
    return sum(met) / len(met)


def _is_good(question: Question, citation: Citation) -> bool:
    return _supports(citation) and any(
        _stands(citation.chunk, places) for places in question.expected
    )


def _supports(citation: Citation) -> bool:
    quote = citation.quote or ""
    return citation.supported and bool(quote) and quote in citation.chunk.text


def _stands(chunk: Chunk, places: Sequence[Place]) -> bool:
    return any(place.holds(chunk) for place in places)


def _discount(rank: int) -> float:
    return 1 / math.log2(rank + 1)


Interval = tuple[float, float]

RESAMPLES = 2000
LEVEL = 0.95

_SEED = 20261122
_DRAWN_AT_ONCE = 2_000_000


def interval(values: Sequence[float]) -> Interval:
    """The 95 % interval of the mean of some values, by 2000 resamples. For paired runs, give the
    differences: without 0 inside, one run is better. (0, 0) of no values."""
    if not values:
        return 0.0, 0.0
    data = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(_SEED)
    rows = max(1, _DRAWN_AT_ONCE // len(data))
    means = [
        data[random.integers(0, len(data), (min(rows, RESAMPLES - done), len(data)))].mean(axis=1)
        for done in range(0, RESAMPLES, rows)
    ]
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), (outside, 1 - outside))
    return float(low), float(high)
