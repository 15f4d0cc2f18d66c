"""What counts as found, answered and refused."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.answers import Answer
from agentkit.documents import Hit
from agentkit.evaluation.questions import Question


def found_within(question: Question, hits: Sequence[Hit], k: int) -> bool:
    """Whether every place that the answer needs is among the first k hits."""
    return all(
        any(place.holds(hit) for place in places for hit in hits[:k])
        for places in question.expected
    )


def found_first(question: Question, hits: Sequence[Hit]) -> bool:
    """Whether the first hit is at a place that the answer needs."""
    return bool(hits) and any(
        place.holds(hits[0]) for places in question.expected for place in places
    )


def holds_facts(question: Question, text: str) -> bool:
    """Whether every key fact stands in a text, in one of its spellings; case does not count."""
    said = text.casefold()
    return all(any(form.casefold() in said for form in forms) for forms in question.facts)


def refused(answer: Answer) -> bool:
    """Whether an answer says that it has none."""
    return answer.stop_reason == "refused"


def proven(answer: Answer) -> bool:
    """Whether an answer cites, and each of its quotes stands in the passage it cites."""
    quotes = [c for c in answer.citations if c.quote]
    return bool(quotes) and all(c.quote in c.chunk.text for c in quotes if c.quote)
