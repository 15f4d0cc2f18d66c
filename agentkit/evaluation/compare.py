"""Two runs side by side, question by question: what got better, what got worse, and whether that
is more than chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from agentkit.errors import ConfigError
from agentkit.evaluation.bootstrap import Interval, interval
from agentkit.evaluation.figures import FAULTS, place_of
from agentkit.evaluation.runner import Outcome

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
