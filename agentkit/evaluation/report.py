"""What an evaluation found, whole: settings, figures, legs, changes, and every question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentkit.evaluation.compare import Change
from agentkit.evaluation.figures import Figure
from agentkit.evaluation.metrics import Ranks, recall
from agentkit.evaluation.runner import Outcome


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
