"""How far a mean over questions can be trusted: percentile bootstrap, the same at every call.

Efron, "Bootstrap methods", 1979; the paired form, of differences question by question, as in
Koehn, "Statistical significance tests for machine translation evaluation", 2004.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Interval = tuple[float, float]

RESAMPLES = 2000
LEVEL = 0.95

_SEED = 20261122
_DRAWN_AT_ONCE = 2_000_000


def interval(values: Sequence[float]) -> Interval:
    """The 95 % interval of the mean of some values, by 2000 resamples. For paired runs, give the
    differences: without 0 inside, one run is better. (0, 0) of no values."""
    if not values:
        return 0.0, 0.0
    data = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(_SEED)
    rows = max(1, _DRAWN_AT_ONCE // len(data))
    means = [
        data[random.integers(0, len(data), (min(rows, RESAMPLES - done), len(data)))].mean(axis=1)
        for done in range(0, RESAMPLES, rows)
    ]
    outside = (1 - LEVEL) / 2
    low, high = np.quantile(np.concatenate(means), (outside, 1 - outside))
    return float(low), float(high)
