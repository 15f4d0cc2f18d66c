"""Report of an evaluation: figures with intervals, comparison with an earlier run, and questions.

A figure is the mean of one score over all questions, named as in `recall@5`, or over a group of
them, as in `recall@5:en` or `facts:fact`. Its bound is a minimum, for error rates a maximum.
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
from agentkit.errors import ConfigError, file_error
from agentkit.evaluation.metrics import Interval, Ranks, interval, recall
from agentkit.evaluation.questions import Question
from agentkit.evaluation.runner import Outcome, retrieval_scores

LABELS = {
    "all@5": "all expected places in the top 5",
    "first": "expected place ranked first",
    "mrr": "mean reciprocal rank",
    "facts": "answers with all key facts",
    "fact_recall": "key facts in the answers",
    "citation_precision": "supported citations of expected places",
    "citation_recall": "expected places that are cited",
    "refusal_recall": "unanswerable questions refused",
    "refusal_precision": "refusals that are correct",
    "over_refused": "answerable questions refused",
    "quotes": "answers with only exact quotes",
}

_ORDER = ("all", "first", "recall", "mrr", "ndcg", *LABELS)

ERROR_RATES = frozenset(("over_refused",))
"""Figures that should be low."""

DEMO_BOUNDS = {
    "all@5": 0.95,
    "first": 0.80,
    "all@5:en": 0.85,
    "facts:fact": 0.75,
    "refusal_recall": 0.80,
    "over_refused": 0.10,
}
"""Bounds for the questions of the demo."""

Bounds = Mapping[str, float]
NO_BOUNDS: Bounds = MappingProxyType({})
_ROUNDING_ERROR = 1e-9


@dataclass(frozen=True)
class Figure:
    """The mean of one score over some questions, with its bound, if any."""

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
    def total(self) -> float:
        return sum(self.values)

    @property
    def count(self) -> int:
        return len(self.values)

    @property
    def share(self) -> float:
        return self.total / self.count if self.count else 0.0

    @cached_property
    def interval(self) -> Interval:
        """95 % confidence interval of the mean."""
        return interval(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the bound is met; None without one."""
        if self.bound is None:
            return None
        return self.share <= self.bound if self.name in ERROR_RATES else self.share >= self.bound

    @property
    def requirement(self) -> str:
        if self.bound is None:
            return ""
        return f"{'<=' if self.name in ERROR_RATES else '>='} {self.bound:.1%}".replace(".0%", "%")


def figures(outcomes: Sequence[Outcome], depth: int, bounds: Bounds = NO_BOUNDS) -> list[Figure]:
    """Compute the figures of a run, over all questions, then by language, kind and wording."""
    scores = [outcome.scores(depth) for outcome in outcomes]
    found = _means("", scores, bounds)
    for group, members in _groups([outcome.question for outcome in outcomes]):
        found += _means(group, [scores[at] for at in members], bounds)
    return found


def retriever_figures(
    questions: Sequence[Question], rankings: Mapping[str, Sequence[Ranks]], depth: int
) -> dict[str, list[Figure]]:
    """Compute the retrieval figures of each retriever."""
    return {
        name: _means(
            "", [retrieval_scores(q, r, depth) for q, r in zip(questions, ranks, strict=True)], {}
        )
        for name, ranks in rankings.items()
    }


def order_of(name: str) -> tuple[int, int]:
    """Sort key of a figure: retrieval first, then by k."""
    kind, _, k = name.partition("@")
    return _ORDER.index(kind), int(k or 0)


def parse_bounds(items: Sequence[str]) -> dict[str, float]:
    """Parse the values of --fail-under, such as "recall@5=0.9". Raises ConfigError."""
    bounds: dict[str, float] = {}
    for item in items:
        name, _, number = item.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1:
            raise ConfigError(
                f"Invalid bound {item!r}. Write a name and 0 to 1, as in recall@5=0.9."
            )
        bounds[name.strip()] = value
    return bounds


def check_bounds(bounds: Bounds, questions: Sequence[Question], answers: bool, depth: int) -> None:
    """Raise ConfigError for a figure that a run, with answers or without, does not measure."""
    known = sorted(_possible_keys(questions, answers, depth))
    for name in bounds:
        if name not in known:
            near = get_close_matches(name, known, n=3) or [k for k in known if ":" not in k]
            raise ConfigError(
                f"This run does not measure {name!r}. Did you mean: {', '.join(near)}?"
            )


def _possible_keys(questions: Sequence[Question], answers: bool, depth: int) -> set[str]:
    """Return the keys of all figures that a run may have, from outcomes that find nothing."""
    keys: set[str] = set()
    for answer in (Answer(""), Answer("", stop_reason="refused")) if answers else (None,):
        outcomes = [Outcome(q, (), (None,) * len(q.expected), answer) for q in questions]
        keys |= {figure.key for figure in figures(outcomes, depth)}
    recalls = [key for key in keys if key.startswith("citation_recall")]
    return keys | {key.replace("recall", "precision") for key in recalls}


def _means(group: str, scores: Sequence[Mapping[str, float]], bounds: Bounds) -> list[Figure]:
    names = sorted({name for found in scores for name in found}, key=order_of)
    keys = {name: f"{name}:{group}" if group else name for name in names}
    return [
        Figure(key, tuple(found[name] for found in scores if name in found), bounds.get(key))
        for name, key in keys.items()
    ]


def _groups(questions: Sequence[Question]) -> Iterator[tuple[str, list[int]]]:
    """Yield name and member indexes of each group."""
    wording = {True: "paraphrased", False: "own-words"}
    for named in (
        [question.language for question in questions],
        [question.kind for question in questions],
        [wording[q.paraphrased] if q.answerable else "" for q in questions],
    ):
        names = [name for name in dict.fromkeys(named) if name]
        for name in names:
            yield name, [at for at, own in enumerate(named) if own == name]


class _EarlierQuestion(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str
    scores: dict[str, float]


class EarlierRun(BaseModel):
    """The part that is compared of a file written by `agentkit eval --json`."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    questions: tuple[_EarlierQuestion, ...]
    settings: dict[str, Any] = {}


@dataclass(frozen=True, slots=True)
class ScoreChange:
    """One score in two runs, over the questions that have it in both. `interval` is that of the
    paired difference; `better` and `worse` are the ids of questions that changed."""

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
        """Whether the interval excludes 0."""
        return self.interval[0] > 0 or self.interval[1] < 0


def load_earlier(path: Path) -> EarlierRun:
    """Read an earlier run. Raises ConfigError."""
    try:
        return EarlierRun.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(file_error(path, error)) from error
    except ValidationError as error:
        raise ConfigError(
            f"{path} is not a report. Write one with: agentkit eval --json {path.name}"
        ) from error


def compare(earlier: EarlierRun, outcomes: Sequence[Outcome], depth: int) -> list[ScoreChange]:
    """Compare every score that both runs have for a question. Raises ConfigError without any."""
    before = {question.id: question.scores for question in earlier.questions}
    pairs: dict[str, dict[str, tuple[float, float]]] = {}
    for outcome in outcomes:
        id_ = outcome.question.id
        for name, value in outcome.scores(depth).items():
            if name in before.get(id_, {}):
                pairs.setdefault(name, {})[id_] = before[id_][name], value
    if not pairs:
        raise ConfigError("The earlier run has no question in common with this one.")
    return [_change(name, pairs[name]) for name in sorted(pairs, key=order_of)]


def _change(name: str, pairs: dict[str, tuple[float, float]]) -> ScoreChange:
    moves = {id_: now - before for id_, (before, now) in pairs.items()}
    risen = tuple(id_ for id_, move in moves.items() if move > _ROUNDING_ERROR)
    fallen = tuple(id_ for id_, move in moves.items() if move < -_ROUNDING_ERROR)
    better, worse = (fallen, risen) if name in ERROR_RATES else (risen, fallen)
    befores, nows = zip(*pairs.values(), strict=True)
    count = len(pairs)
    means = sum(befores) / count, sum(nows) / count
    return ScoreChange(name, *means, count, interval([*moves.values()]), better, worse)


@dataclass(frozen=True, slots=True)
class Report:
    """One run. The rankings and figures of single retrievers, and the changes, are optional."""

    settings: Mapping[str, Any]
    depth: int
    outcomes: Sequence[Outcome]
    figures: Sequence[Figure]
    rankings: Mapping[str, Sequence[Ranks]] = field(default_factory=dict)
    retrievers: Mapping[str, Sequence[Figure]] = field(default_factory=dict)
    changes: Sequence[ScoreChange] = ()

    @property
    def missed(self) -> list[Figure]:
        """The figures that miss their bound."""
        return [figure for figure in self.figures if figure.met is False]

    def curves(self) -> dict[str, list[float]]:
        """Return recall at each k up to the depth, of each retriever or of the search."""
        rankings = self.rankings or {"search": [outcome.ranks for outcome in self.outcomes]}
        return {name: _curve(ranks, self.depth) for name, ranks in rankings.items()}


def describe_faults(outcome: Outcome, depth: int) -> list[str]:
    """Describe what went wrong with a question."""
    scores = outcome.scores(depth)
    faults = [
        message
        for name, message in (
            ("first", "not ranked first"),
            ("all@5", "not in the top 5"),
            ("facts", "facts missing"),
            ("refusal_recall", "not refused"),
        )
        if scores.get(name) == 0
    ]
    if scores.get("over_refused"):
        faults.append("refused")
    return [*faults, f"failed: {outcome.error}"] if outcome.error else faults


def _curve(ranks: Sequence[Ranks], depth: int) -> list[float]:
    scored = [found for found in ranks if found]
    if not scored:
        return []
    return [sum(recall(r, k) for r in scored) / len(scored) for k in range(1, depth + 1)]
