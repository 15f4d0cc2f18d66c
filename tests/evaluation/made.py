"""Questions and hits made up for tests."""

from typing import Any

from agentkit import Chunk, Hit
from agentkit.evaluation.questions import Kind, Place, Question


def chunk(source: str = "a.md", heading: str = "", text: str = "text", **more: Any) -> Chunk:
    return Chunk("id", "d", source, "t", heading, text, 0, len(text), **more)


def hit(source: str, heading: str = "", **more: Any) -> Hit:
    return Hit(chunk(source, heading), 0.5, **more)


def question(
    *expected: Any,
    id: str = "q",  # noqa: A002
    kind: Kind = "fact",
    facts: tuple[tuple[str, ...], ...] = (),
    language: str = "zh",
    **more: Any,
) -> Question:
    places = tuple(tuple(Place(source=s, heading=h) for s, h in alts) for alts in expected)
    return Question(
        id=id, language=language, kind=kind, question="?", expected=places, facts=facts, **more
    )
