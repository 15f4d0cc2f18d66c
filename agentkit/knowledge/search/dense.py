"""The dense leg: the passages whose vectors lie nearest a question's, from both scripts.

Up to EXACT_CHUNKS chunks are compared one by one in memory, and Chroma is not even imported. Above
that Chroma proposes, and what filters allow is compared one by one where it is little.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentkit.knowledge.index.catalog import OUTDATED, Vector
from agentkit.knowledge.index.scan import Scan
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.search.filters import Filters
from agentkit.knowledge.search.lookup import Lookup, Numbers

_log = logging.getLogger(__name__)

EXACT_CHUNKS = 20_000
"""Up to so many vectors are held in memory: 30 MB at 384 dimensions, 3 ms a question."""

_SAMPLE = 1000
_MOST_FETCHED = 10_000
_RARE_SCRIPT = 0.005


@dataclass(frozen=True, slots=True)
class Nearest:
    """What lies near a question: number -> cosine, best first, and how the index lies to it.

    `mean` and `deviation` are of the cosines of `count` chunks in the question's script (of all
    chunks where that has too few); `lead` is how much higher they are than those of the other
    script, 0 where there is but one.
    """

    cosines: dict[int, float]
    mean: float
    deviation: float
    count: int
    lead: float


class DenseLeg:
    """Nearest chunks of one index."""

    def __init__(self, lookup: Lookup, vectors: Vectors) -> None:
        self._lookup = lookup
        self._vectors = vectors
        self._generation = -1
        self._fresh = False
        self._stale = False
        self._made_with = ""
        self._scan: Scan | None = None
        self._part: tuple[Filters, Scan] | None = None
        self._sample: Scan | None = None

    def nearest(
        self, vector: Vector, cjk: bool, k: int, filters: Filters, allowed: Numbers | None
    ) -> Nearest:
        """The nearest k in each script, of the allowed; `cjk` is the question's script."""
        self._refresh()
        if self._lookup.count <= EXACT_CHUNKS:
            return self._scanned(self._whole(), vector, cjk, k, allowed)
        if allowed is not None and len(allowed) <= EXACT_CHUNKS:
            return self._scanned(self._allowed(filters, allowed), vector, cjk, k, None)
        try:
            if not self._stale:
                return self._proposed(vector, cjk, k, filters, allowed)
        except Exception as error:
            _log.warning("Chroma failed (%s): scanning the catalog instead", error)
            self._vectors.close()
        return self._scanned(self._whole(), vector, cjk, k, allowed)

    def _refresh(self) -> None:
        generation = self._lookup.refresh()
        if generation == self._generation:
            return
        self._vectors.close()
        self._stale = self._lookup.meta("chroma") == OUTDATED
        self._part = self._sample = None
        made_with = self._lookup.meta("embedder")
        if made_with != self._made_with:
            self._scan, self._made_with = None, made_with
        self._fresh = False
        self._generation = generation

    def _whole(self) -> Scan:
        """All vectors; after a write, only the new ones are read."""
        if self._scan is None or not self._fresh:
            self._scan = Scan.of(self._lookup, self._lookup.active_numbers(), self._scan)
            self._fresh = True
        return self._scan

    def _allowed(self, filters: Filters, allowed: Numbers) -> Scan:
        if self._part is None or self._part[0] != filters:
            self._part = filters, Scan.of(self._lookup, allowed)
        return self._part[1]

    def _scanned(
        self, scan: Scan, vector: Vector, cjk: bool, k: int, allowed: Numbers | None
    ) -> Nearest:
        if not len(scan.numbers):
            return Nearest({}, 0.0, 0.0, 0, 0.0)
        cosines = scan.cosines(vector)
        return _around(scan.nearest(cosines, k, allowed), cosines, scan.cjk == cjk)

    def _proposed(
        self, vector: Vector, cjk: bool, k: int, filters: Filters, allowed: Numbers | None
    ) -> Nearest:
        """From Chroma. Where both scripts are there, it is asked for the other one too, with the
        question moved by what parts the two: its own script lies nearer whatever it says."""
        if self._sample is None:
            self._sample = Scan.of(self._lookup, self._lookup.spread_numbers(_SAMPLE))
        own = self._sample.cjk == cjk
        found = self._asked(vector, k, allowed)
        if allowed is not None and len(found) < min(k, len(allowed)):
            return self._scanned(self._allowed(filters, allowed), vector, cjk, k, None)
        if _RARE_SCRIPT < own.mean() < 1 - _RARE_SCRIPT:
            apart = self._sample.matrix[~own].mean(axis=0) - self._sample.matrix[own].mean(axis=0)
            found += self._asked(vector + apart, max(1, k // 2), allowed)
        vectors = self._lookup.vectors(found)
        exact = {number: float(v @ vector) for number, v in vectors.items()}
        ordered = dict(sorted(exact.items(), key=lambda pair: -pair[1]))
        return _around(ordered, self._sample.cosines(vector), own)

    def _asked(self, vector: Vector, k: int, allowed: Numbers | None) -> list[int]:
        """Chroma's nearest k that are live and allowed; more are fetched until there are k."""
        fetch = k
        while True:
            near = self._vectors.query(vector, min(fetch, self._lookup.count))
            found = [*self._lookup.numbers_of([id_ for id_, _ in near]).values()]
            if allowed is None:
                return found
            found = [*np.asarray(found)[np.isin(found, allowed)]]
            if len(found) >= k or fetch >= min(_MOST_FETCHED, self._lookup.count):
                return found
            fetch *= 4


def _around(
    nearest: dict[int, float], cosines: NDArray[np.float32], own: NDArray[np.bool_]
) -> Nearest:
    is_enough = own.sum() >= 20
    base = cosines[own] if is_enough else cosines
    lead = 0.0
    if is_enough and not own.all():
        lead = float(base.mean() - cosines[~own].mean())
    return Nearest(nearest, float(base.mean()), float(base.std()), len(base), lead)
