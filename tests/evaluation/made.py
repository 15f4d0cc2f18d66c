"""Questions and hits made up for tests."""

from agentkit import Chunk, Hit
from agentkit.evaluation.questions import Place, Question


def chunk(source="a.md", heading="", text="text", **more):
    return Chunk("id", "d", source, "t", heading, text, 0, len(text), **more)


def hit(source, heading="", **more):
    return Hit(chunk(source, heading), 0.5, **more)


def question(*expected, id="q", kind="fact", facts=(), language="zh", **more):  # noqa: A002
    places = tuple(tuple(Place(source=s, heading=h) for s, h in alts) for alts in expected)
    return Question(
        id=id, language=language, kind=kind, question="?", expected=places, facts=facts, **more
    )
