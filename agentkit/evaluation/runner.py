"""Ask the golden questions, and keep what was found and said.

Searches are made to a depth, answers are asked for one after another or a few at once; the
outcomes stand in the order of the questions. A model that fails on one question does not end the
run, unless that is the first.
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
    facts_held,
    ndcg,
    proven,
    ranks_of,
    recall,
    reciprocal_rank,
    refused,
    whole,
)
from agentkit.evaluation.questions import Question

DEPTH = 10
"""How many hits are looked at, unless asked otherwise."""

WIDE = 100
"""How many hits a search gives for the legs to be read out of."""

Search = Callable[[str, int], Awaitable[Sequence[Hit]]]
Ask = Callable[[str], Awaitable[Answer]]
Tell = Callable[[int], None]


def _silent(done: int) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one question. `answer` is None where none was asked for; `error` is what the
    model failed with, its answer then empty."""

    question: Question
    hits: tuple[Hit, ...]
    ranks: Ranks
    answer: Answer | None = None
    error: str = ""

    def scores(self, depth: int) -> dict[str, float]:
        """Name -> value from 0 to 1, of what can be said of this question."""
        found = retrieval_scores(self.question, self.ranks, depth)
        return found if self.answer is None else found | _answer_scores(self.question, self.answer)


def retrieval_scores(question: Question, ranks: Ranks, depth: int) -> dict[str, float]:
    """What a ranking is worth; nothing for a question that names no place."""
    if not ranks:
        return {}
    last = min(depth, DEPTH)
    return {
        **({"all@5": whole(ranks, 5)} if depth >= 5 else {}),
        "first": float(1 in ranks),
        **{f"recall@{k}": recall(ranks, k) for k in cutoffs(depth)},
        "mrr": reciprocal_rank(ranks),
        f"ndcg@{last}": ndcg(ranks, last),
    }


def cutoffs(depth: int) -> list[int]:
    """The k of recall@k."""
    return sorted({k for k in (1, 5, DEPTH) if k <= depth} | {depth})


def _answer_scores(question: Question, answer: Answer) -> dict[str, float]:
    found: dict[str, float] = {}
    said_no = refused(answer)
    if question.answerable:
        if question.facts:
            held = facts_held(question, answer.text)
            found |= {"facts": float(held == 1), "fact_recall": held}
        if question.expected:
            if answer.citations:
                found["citation_precision"] = citation_precision(question, answer.citations)
            found["citation_recall"] = citation_recall(question, answer.citations)
        found["over_refused"] = float(said_no)
    else:
        found["refusal_recall"] = float(said_no)
    if said_no:
        return found | {"refusal_precision": float(not question.answerable)}
    return found | {"quotes": float(proven(answer))}


async def evaluate(
    questions: Sequence[Question],
    search: Search,
    ask: Ask | None = None,
    *,
    depth: int = DEPTH,
    jobs: int = 1,
    on_progress: Tell = _silent,
) -> list[Outcome]:
    """Search and, with `ask`, answer every question, `jobs` at once. Raises ModelError where the
    model fails on the first one."""
    outcomes = []
    for question in questions:
        hits = tuple((await search(question.question, depth))[:depth])
        outcomes.append(Outcome(question, hits, ranks_of(question, enumerate(hits, start=1))))
        if ask is None:
            on_progress(len(outcomes))
    return await _answered(outcomes, ask, jobs, on_progress) if ask else outcomes


async def _answered(outcomes: Sequence[Outcome], ask: Ask, jobs: int, tell: Tell) -> list[Outcome]:
    """The outcomes with their answers. The first is waited for, so that a model which is not
    there is said at once."""
    gate, done = asyncio.Semaphore(jobs), 0

    async def answered(outcome: Outcome) -> Outcome:
        nonlocal done
        async with gate:
            try:
                found = replace(outcome, answer=await ask(outcome.question.question))
            except ModelError as error:
                if done == 0:
                    raise
                found = replace(outcome, answer=Answer(""), error=str(error))
        done += 1
        tell(done)
        return found

    first = [await answered(outcome) for outcome in outcomes[:1]]
    return first + list(await asyncio.gather(*map(answered, outcomes[1:])))


async def leg_ranks(
    questions: Sequence[Question], search: Search, depth: int = DEPTH, on_progress: Tell = _silent
) -> dict[str, list[Ranks]]:
    """What each leg alone ranks, read out of one wide search a question. A copy that the search
    shows once keeps its place in the legs."""
    legs: dict[str, list[Ranks]] = {"dense": [], "keyword": []}
    for number, question in enumerate(questions, start=1):
        hits = await search(question.question, WIDE)
        dense = [(hit.dense_rank, hit) for hit in hits]
        keyword = [(hit.keyword_rank, hit) for hit in hits]
        legs["dense"].append(ranks_of(question, _ranked(dense, depth)))
        legs["keyword"].append(ranks_of(question, _ranked(keyword, depth)))
        on_progress(number)
    return legs


def _ranked(hits: Iterable[tuple[int | None, Hit]], depth: int) -> list[tuple[int, Hit]]:
    found = [(rank, hit) for rank, hit in hits if rank is not None and rank <= depth]
    return sorted(found, key=lambda pair: pair[0])
