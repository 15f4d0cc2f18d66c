"""Run golden questions: search to a depth, optionally answer, and score each outcome.

Outcomes are in the order of the questions. A model that fails on one question does not end the
run, unless it is the first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from agentkit.answers import Answer
from agentkit.documents import Hit
from agentkit.errors import ModelError
from agentkit.evaluation.metrics import (
    Ranks,
    citation_precision,
    citation_recall,
    fact_recall,
    found_all,
    has_exact_quotes,
    ndcg,
    ranks_of,
    recall,
    reciprocal_rank,
)
from agentkit.evaluation.questions import Question

DEPTH = 10
"""Default number of hits per question."""

RETRIEVER_HITS = 100
"""Number of hits from which the rankings of the single retrievers are read."""

Search = Callable[[str, int], Awaitable[Sequence[Hit]]]
Ask = Callable[[str], Awaitable[Answer]]
OnProgress = Callable[[int], None]
"""Receives the number of questions done."""


def _ignore_progress(done: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one question. `answer` is None without a model; `error` is the model's error,
    with an empty answer."""

    question: Question
    hits: tuple[Hit, ...]
    ranks: Ranks
    answer: Answer | None = None
    error: str = ""

    def scores(self, depth: int) -> dict[str, float]:
        """Return the scores that apply to this question, each from 0 to 1."""
        found = retrieval_scores(self.question, self.ranks, depth)
        return found if self.answer is None else found | _answer_scores(self.question, self.answer)


def retrieval_scores(question: Question, ranks: Ranks, depth: int) -> dict[str, float]:
    """Score a ranking; no scores without expected places."""
    if not ranks:
        return {}
    last = min(depth, DEPTH)
    return {
        **({"all@5": found_all(ranks, 5)} if depth >= 5 else {}),
        "first": float(1 in ranks),
        **{f"recall@{k}": recall(ranks, k) for k in cutoffs(depth)},
        "mrr": reciprocal_rank(ranks),
        f"ndcg@{last}": ndcg(ranks, last),
    }


def cutoffs(depth: int) -> list[int]:
    """Return the values of k for recall@k."""
    return sorted({k for k in (1, 5, DEPTH) if k <= depth} | {depth})


def _answer_scores(question: Question, answer: Answer) -> dict[str, float]:
    scores: dict[str, float] = {}
    is_refused = answer.stop_reason == "refused"
    if question.answerable:
        if question.facts:
            facts = fact_recall(question, answer.text)
            scores |= {"facts": float(facts == 1), "fact_recall": facts}
        if question.expected:
            if answer.citations:
                scores["citation_precision"] = citation_precision(question, answer.citations)
            scores["citation_recall"] = citation_recall(question, answer.citations)
        scores["over_refused"] = float(is_refused)
    else:
        scores["refusal_recall"] = float(is_refused)
    if is_refused:
        return scores | {"refusal_precision": float(not question.answerable)}
    return scores | {"quotes": float(has_exact_quotes(answer))}


async def evaluate(
    questions: Sequence[Question],
    search: Search,
    ask: Ask | None = None,
    *,
    depth: int = DEPTH,
    jobs: int = 1,
    on_progress: OnProgress = _ignore_progress,
) -> list[Outcome]:
    """Search and, with `ask`, answer every question, `jobs` concurrently. Raises ModelError if the
    model fails on the first one."""
    outcomes = []
    for question in questions:
        hits = tuple((await search(question.question, depth))[:depth])
        outcomes.append(Outcome(question, hits, ranks_of(question, enumerate(hits, start=1))))
        if ask is None:
            on_progress(len(outcomes))
    return await _answer_all(outcomes, ask, jobs, on_progress) if ask else outcomes


async def _answer_all(
    outcomes: Sequence[Outcome], ask: Ask, jobs: int, on_progress: OnProgress
) -> list[Outcome]:
    """Add answers to the outcomes. The first one is awaited alone, so that a missing model is
    reported at once."""
    semaphore, done = asyncio.Semaphore(jobs), 0

    async def add_answer(outcome: Outcome) -> Outcome:
        nonlocal done
        async with semaphore:
            try:
                answered = replace(outcome, answer=await ask(outcome.question.question))
            except ModelError as error:
                if done == 0:
                    raise
                answered = replace(outcome, answer=Answer(""), error=str(error))
        done += 1
        on_progress(done)
        return answered

    first = [await add_answer(outcome) for outcome in outcomes[:1]]
    return first + list(await asyncio.gather(*map(add_answer, outcomes[1:])))


async def retriever_ranks(
    questions: Sequence[Question],
    search: Search,
    depth: int = DEPTH,
    on_progress: OnProgress = _ignore_progress,
) -> dict[str, list[Ranks]]:
    """Find the ranks of the dense and the keyword retriever alone, from one search per question. A
    duplicate that the search merges keeps its rank here."""
    rankings: dict[str, list[Ranks]] = {"dense": [], "keyword": []}
    for number, question in enumerate(questions, start=1):
        hits = await search(question.question, RETRIEVER_HITS)
        dense = [(hit.dense_rank, hit) for hit in hits]
        keyword = [(hit.keyword_rank, hit) for hit in hits]
        rankings["dense"].append(ranks_of(question, _by_rank(dense, depth)))
        rankings["keyword"].append(ranks_of(question, _by_rank(keyword, depth)))
        on_progress(number)
    return rankings


def _by_rank(hits: Iterable[tuple[int | None, Hit]], depth: int) -> list[tuple[int, Hit]]:
    found = [(rank, hit) for rank, hit in hits if rank is not None and rank <= depth]
    return sorted(found, key=lambda pair: pair[0])
