"""Cosine and keywords as one relevance, passage by passage.

A passage in the question's script is weighed by both. One in the other script shares few words with
the question however well it answers: it is given the keyword score that passages in the question's
script get by chance, so that neither they nor their noise decide.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from agentkit.knowledge.dense import Nearest

KEYWORDS = 0.65
"""The weight of the keyword share."""

_DENSE = 0.0325
"""The weight of one standard deviation above the mean cosine. With `KEYWORDS` chosen on XQuAD
English and CMRC 2018, where recall@1 is flat from 0.03 to 0.05."""

_NAMES = 0.1
_BY_CHANCE_RANK = 5
_IN_FAVOUR = 0.05
_IMPUTED = 0.3
_BEND = 0.05
_LEAD = 0.25
"""How much of the lead in cosine of the question's own script is taken back."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is expected of cosines before an index has shown its own: `weight` in chunks."""

    mean: float = 0.75
    deviation: float = 0.02
    weight: float = 20


E5 = Prior(weight=1500)
"""Of the e5 models it is known: their cosines lie between 0.7 and 1 whatever the texts."""


@dataclass(frozen=True, slots=True)
class Scale:
    """From a cosine to how far it stands above the unrelated."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, near: Nearest, prior: Prior) -> Scale:
        total = near.count + prior.weight
        mean = (near.count * near.mean + prior.weight * min(prior.mean, near.mean)) / total
        variance = near.count * near.deviation**2 + prior.weight * prior.deviation**2
        return cls(mean, float(np.sqrt(variance / total)))

    def deviations(self, cosine: float) -> float:
        return (cosine - self.mean) / self.deviation


def fused(
    near: Nearest,
    cosines: Mapping[int, float],
    shares: Mapping[int, float],
    names: Mapping[int, float],
    prior: Prior,
) -> dict[int, float]:
    """Number -> relevance between 0 and 1. `shares` are of the passages in the question's script;
    the others have `names`, their shares of the words that nobody translates."""
    scale = Scale.of(near, prior)
    chance = _by_chance(shares.values())
    found = {}
    for number, cosine in cosines.items():
        if number in shares:
            dense, words = cosine, KEYWORDS * shares[number]
        else:
            dense = cosine + _LEAD * near.lead
            words = KEYWORDS * (chance + _IN_FAVOUR) + _NAMES * names.get(number, 0.0)
        found[number] = _bounded(_DENSE * scale.deviations(dense) + words)
    return found


def _bounded(score: float) -> float:
    """Between 0 and 1 without ties: the ends are bent, for even the worst keep their order."""
    if score < _BEND:
        return _BEND * math.exp(score / _BEND - 1)
    if score > 1 - _BEND:
        return 1 - _BEND * math.exp((1 - score) / _BEND - 1)
    return score


def _by_chance(shares: Collection[float]) -> float:
    """The keyword share that a passage of the question's script gets without an answer in it: that
    of the fifth best, or the worst of fewer. Where there are none, what a fair match would get."""
    return sorted(shares)[-min(_BY_CHANCE_RANK, len(shares))] if shares else _IMPUTED
