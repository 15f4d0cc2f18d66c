"""What an evaluation found, whole: settings, figures, legs, changes, and every question.

The figures of a run: the mean of each score, over all questions and over groups of them.

A figure is named as in `recall@5`, and within a group as in `recall@5:en` or `facts:fact`. What is
asked of it is a bound from below, of those that tell of faults one from above.

Two runs side by side, question by question: what got better, what got worse, and whether that
is more than chance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from agentkit.answers import Answer
from agentkit.errors import ConfigError
from agentkit.evaluation.metrics import Interval, Ranks, interval, recall
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


_ROUNDED = 1e-9


class _EarlierQuestion(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    scores: dict[str, float]


class Earlier(BaseModel):
    """What is read of a run that `agentkit eval --json` wrote."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    questions: tuple[_EarlierQuestion, ...]
    settings: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Change:
    """One score in both runs, over the questions that have it in both. `interval` is of the
    difference, paired; `better` and `worse` name the questions that moved."""

    name: str
    earlier: float
    now: float
    count: int
    interval: Interval
    better: tuple[str, ...]
    worse: tuple[str, ...]

    @property
    def difference(self) -> float:
        return self.now - self.earlier

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves no difference out."""
        return self.interval[0] > 0 or self.interval[1] < 0


def load_earlier(path: Path) -> Earlier:
    """Read an earlier run. Raises ConfigError."""
    try:
        return Earlier.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise ConfigError(
            f"{path} is no earlier run. Write one with: agentkit eval --json {path.name}"
        ) from error


def compared(earlier: Earlier, outcomes: Sequence[Outcome], depth: int) -> list[Change]:
    """The changes of every score that both runs have on a question."""
    before = {question.id: question.scores for question in earlier.questions}
    pairs: dict[str, dict[str, tuple[float, float]]] = {}
    for outcome in outcomes:
        id_ = outcome.question.id
        for name, value in outcome.scores(depth).items():
            if name in before.get(id_, {}):
                pairs.setdefault(name, {})[id_] = before[id_][name], value
    if not pairs:
        raise ConfigError("The earlier run has no question in common with this one.")
    return [_change(name, pairs[name]) for name in sorted(pairs, key=place_of)]


def _change(name: str, pairs: dict[str, tuple[float, float]]) -> Change:
    moves = {id_: now - before for id_, (before, now) in pairs.items()}
    risen = tuple(id_ for id_, move in moves.items() if move > _ROUNDED)
    fallen = tuple(id_ for id_, move in moves.items() if move < -_ROUNDED)
    better, worse = (fallen, risen) if name in FAULTS else (risen, fallen)
    befores, nows = zip(*pairs.values(), strict=True)
    count = len(pairs)
    means = sum(befores) / count, sum(nows) / count
    return Change(name, *means, count, interval([*moves.values()]), better, worse)


@dataclass(frozen=True, slots=True)
class Report:
    """One run. `leg_ranks` and `legs` are empty where the legs were not asked for, `changes` where
    it was not compared."""

    settings: Mapping[str, Any]
    depth: int
    outcomes: Sequence[Outcome]
    figures: Sequence[Figure]
    leg_ranks: Mapping[str, Sequence[Ranks]] = field(default_factory=dict)
    legs: Mapping[str, Sequence[Figure]] = field(default_factory=dict)
    changes: Sequence[Change] = ()

    @property
    def missed(self) -> list[Figure]:
        """The figures that are not what is asked for."""
        return [figure for figure in self.figures if figure.met is False]

    def curves(self) -> dict[str, list[float]]:
        """Recall at each k up to the depth: of every leg, or of the search alone."""
        rankings = self.leg_ranks or {"search": [outcome.ranks for outcome in self.outcomes]}
        return {name: _curve(ranks, self.depth) for name, ranks in rankings.items()}


def faults_of(outcome: Outcome, depth: int) -> list[str]:
    """What went wrong with a question, in words."""
    scores = outcome.scores(depth)
    faults = [
        word
        for name, word in (
            ("first", "not first"),
            ("all@5", "not among 5"),
            ("facts", "facts missing"),
            ("refusal_recall", "not refused"),
        )
        if scores.get(name) == 0
    ]
    if scores.get("over_refused"):
        faults.append("refused")
    return [*faults, f"failed: {outcome.error}"] if outcome.error else faults


def _curve(ranks: Sequence[Ranks], depth: int) -> list[float]:
    placed = [found for found in ranks if found]
    return [
        sum(recall(found, k) for found in placed) / len(placed)
        for k in range(1, depth + 1)
        if placed
    ]
