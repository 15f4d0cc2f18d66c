"""The figures of a run: the mean of each score, over all questions and over groups of them.

A figure is named as in `recall@5`, and within a group as in `recall@5:en` or `facts:fact`. What is
asked of it is a bound from below, of those that tell of faults one from above.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from types import MappingProxyType

from agentkit.answers import Answer
from agentkit.errors import ConfigError
from agentkit.evaluation.bootstrap import Interval, interval
from agentkit.evaluation.metrics import Ranks
from agentkit.evaluation.questions import Question
from agentkit.evaluation.runner import Outcome, retrieval_scores

LABELS = {
    "all@5": "place among the first 5",
    "first": "place first",
    "mrr": "mean reciprocal rank",
    "facts": "key facts all in the answer",
    "fact_recall": "key facts, one by one",
    "citation_precision": "citations that prove it from an expected place",
    "citation_recall": "expected places that are cited",
    "refusal_recall": "unanswerable and refused",
    "refusal_precision": "refused and unanswerable",
    "over_refused": "answerable but refused",
    "quotes": "answers whose quotes all stand in the source",
}

_ORDER = ("all", "first", "recall", "mrr", "ndcg", *LABELS)

FAULTS = frozenset(("over_refused",))
"""Figures that should be low."""

DEMO_BOUNDS = {
    "all@5": 0.95,
    "first": 0.80,
    "all@5:en": 0.85,
    "facts:fact": 0.75,
    "refusal_recall": 0.80,
    "over_refused": 0.10,
}
"""What is asked for on the demo's own questions."""

Bounds = Mapping[str, float]
NO_BOUNDS: Bounds = MappingProxyType({})


@dataclass(frozen=True)
class Figure:
    """The mean of one score over some questions, and what is asked for, if anything is."""

    key: str
    values: tuple[float, ...]
    bound: float | None = None

    @property
    def name(self) -> str:
        return self.key.partition(":")[0]

    @property
    def group(self) -> str:
        return self.key.partition(":")[2]

    @property
    def label(self) -> str:
        return LABELS.get(self.name, self.name)

    @property
    def reached(self) -> float:
        return sum(self.values)

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def share(self) -> float:
        return self.reached / self.count if self.count else 0.0

    @cached_property
    def interval(self) -> Interval:
        """Where the mean of all such questions is likely to lie, at 95 %."""
        return interval(self.values)

    @property
    def met(self) -> bool | None:
        """Whether what is asked for is reached; None where nothing is."""
        if self.bound is None:
            return None
        return self.share <= self.bound if self.name in FAULTS else self.share >= self.bound

    @property
    def asked(self) -> str:
        if self.bound is None:
            return ""
        return f"{'<=' if self.name in FAULTS else '>='} {self.bound:.1%}".replace(".0%", "%")


def figures(outcomes: Sequence[Outcome], depth: int, bounds: Bounds = NO_BOUNDS) -> list[Figure]:
    """Every figure of a run: over all questions, then by language, kind and wording."""
    scores = [outcome.scores(depth) for outcome in outcomes]
    found = _means("", scores, bounds)
    for group, members in _groups([outcome.question for outcome in outcomes]):
        found += _means(group, [scores[at] for at in members], bounds)
    return found


def leg_figures(
    questions: Sequence[Question], legs: Mapping[str, Sequence[Ranks]], depth: int
) -> dict[str, list[Figure]]:
    """For each leg its figures of retrieval."""
    return {
        leg: _means(
            "", [retrieval_scores(q, r, depth) for q, r in zip(questions, ranks, strict=True)], {}
        )
        for leg, ranks in legs.items()
    }


def place_of(name: str) -> tuple[int, int]:
    """Where a figure stands in a table: retrieval first, by k."""
    kind, _, k = name.partition("@")
    return _ORDER.index(kind), int(k or 0)


def read_bounds(given: Sequence[str]) -> dict[str, float]:
    """What --fail-under asks for: "recall@5=0.9". Raises ConfigError."""
    found: dict[str, float] = {}
    for item in given:
        name, _, number = item.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise ConfigError(f"{item!r} is no bound. Write a name and 0 to 1, as in recall@5=0.9.")
        found[name.strip()] = value
    return found


def check_bounds(bounds: Bounds, questions: Sequence[Question], asked: bool, depth: int) -> None:
    """Raise ConfigError, before anything is asked, for a figure that such a run does not have."""
    known = sorted(_possible(questions, asked, depth))
    for name in bounds:
        if name not in known:
            near = get_close_matches(name, known, n=3) or [k for k in known if ":" not in k]
            raise ConfigError(f"This run measures no {name!r}. Near to it: {', '.join(near)}.")


def _possible(questions: Sequence[Question], asked: bool, depth: int) -> set[str]:
    """The figures that a run may have."""
    ends = (Answer(""), Answer("", stop_reason="refused")) if asked else (None,)
    nowhere = [(None,) * len(question.expected) for question in questions]
    found = {
        figure.key
        for end in ends
        for figure in figures(
            [Outcome(q, (), r, end) for q, r in zip(questions, nowhere, strict=True)], depth
        )
    }
    if any(key.startswith("citation_recall") for key in found):
        recalls = [key for key in found if key.startswith("citation_recall")]
        found |= {key.replace("recall", "precision") for key in recalls}
    return found


def _means(group: str, scores: Sequence[Mapping[str, float]], bounds: Bounds) -> list[Figure]:
    names = sorted({name for found in scores for name in found}, key=place_of)
    keys = {name: f"{name}:{group}" if group else name for name in names}
    return [
        Figure(key, tuple(found[name] for found in scores if name in found), bounds.get(key))
        for name, key in keys.items()
    ]


def _groups(questions: Sequence[Question]) -> Iterator[tuple[str, list[int]]]:
    """The name and members of each group that is not the whole."""
    wording = {True: "paraphrased", False: "own-words"}
    for named in (
        [question.language for question in questions],
        [question.kind for question in questions],
        [wording[q.paraphrased] if q.answerable else "" for q in questions],
    ):
        names = [name for name in dict.fromkeys(named) if name]
        for name in names:
            yield name, [at for at, own in enumerate(named) if own == name]
