"""Ask the golden questions, and say what was found, answered and refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from agentkit.answers import Answer
from agentkit.documents import Hit
from agentkit.evaluation.metrics import (
    found_first,
    found_within,
    holds_facts,
    proven,
    refused,
)
from agentkit.evaluation.questions import Question

FIRST_HITS = 5

Search = Callable[[str, int], Awaitable[Sequence[Hit]]]
Ask = Callable[[str], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one question. `facts` is None where it was not asked or has no answer."""

    question: Question
    first: bool
    within: bool
    answer: Answer | None = None

    @property
    def facts(self) -> bool:
        return self.answer is not None and holds_facts(self.question, self.answer.text)

    @property
    def refused(self) -> bool:
        return self.answer is not None and refused(self.answer)

    @property
    def proven(self) -> bool:
        return self.answer is not None and proven(self.answer)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report: how many of how many, and what is asked for."""

    name: str
    reached: int
    count: int
    target: str = ""

    @property
    def share(self) -> float:
        return self.reached / self.count if self.count else 0.0


async def evaluate(
    questions: Sequence[Question],
    search: Search,
    ask: Ask | None = None,
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[Outcome]:
    """Search and, with `ask`, answer every question, one after another."""
    outcomes = []
    for number, question in enumerate(questions, start=1):
        hits = await search(question.question, FIRST_HITS)
        answer = await ask(question.question) if ask else None
        first, within = found_first(question, hits), found_within(question, hits, FIRST_HITS)
        outcomes.append(Outcome(question, first, within, answer))
        on_progress(number)
    return outcomes


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """The report: retrieval, then answers where there are any."""
    return [*_retrieval(outcomes), *(_answers(outcomes) if _asked(outcomes) else ())]


def _asked(outcomes: Sequence[Outcome]) -> bool:
    return any(outcome.answer is not None for outcome in outcomes)


def _retrieval(outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    answerable = [o for o in outcomes if o.question.answerable]
    yield _figure("place among the first 5", answerable, lambda o: o.within, ">= 95 %")
    yield _figure("place first", answerable, lambda o: o.first, ">= 80 %")
    for language in sorted({o.question.language for o in answerable}):
        own = [o for o in answerable if o.question.language == language]
        target = ">= 85 %" if language == "en" else ""
        yield _figure(f"  {language}: among the first 5", own, lambda o: o.within, target)
        yield _figure(f"  {language}: first", own, lambda o: o.first)
    for kind in dict.fromkeys(o.question.kind for o in answerable):
        own = [o for o in answerable if o.question.kind == kind]
        yield _figure(f"  {kind}: among the first 5", own, lambda o: o.within)
    for paraphrased in (False, True):
        own = [o for o in answerable if o.question.paraphrased == paraphrased]
        name = "paraphrased" if paraphrased else "in the notes' words"
        yield _figure(f"  {name}: among the first 5", own, lambda o: o.within)


def _answers(outcomes: Sequence[Outcome]) -> Iterator[Figure]:
    answerable = [o for o in outcomes if o.question.answerable]
    for kind in dict.fromkeys(o.question.kind for o in answerable):
        own = [o for o in answerable if o.question.kind == kind]
        target = ">= 75 %" if kind == "fact" else ""
        yield _figure(f"key facts in the answer: {kind}", own, lambda o: o.facts, target)
    unanswerable = [o for o in outcomes if not o.question.answerable]
    yield _figure("unanswerable and refused", unanswerable, lambda o: o.refused, ">= 80 %")
    yield _figure("answerable but refused", answerable, lambda o: o.refused, "<= 10 %")
    answered = [o for o in outcomes if not o.refused]
    yield _figure("answers whose quotes all stand in the source", answered, lambda o: o.proven)


def _figure(
    name: str, outcomes: Sequence[Outcome], test: Callable[[Outcome], bool], target: str = ""
) -> Figure:
    return Figure(name, sum(map(test, outcomes)), len(outcomes), target)
