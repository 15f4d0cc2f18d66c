"""Dense retrieval: the chunks whose vectors are nearest to a query's, from both scripts.

Up to EXACT_CHUNKS chunks are scanned exactly in memory, and Chroma is not even imported. Above that
Chroma proposes candidates; what filters allow is scanned exactly where it is small enough. With
each vector goes the script of its chunk, since cosines across languages are lower.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentkit.knowledge.index.catalog import OUTDATED, Vector
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.search.filters import Filters
from agentkit.knowledge.search.lookup import Lookup, Numbers
from agentkit.redaction import get_logger

_log = get_logger(__name__)

EXACT_CHUNKS = 20_000
"""The most vectors held in memory: 30 MB at 384 dimensions, 3 ms per query."""

_SAMPLE = 1000
_MOST_FETCHED = 10_000
_RARE_SCRIPT = 0.005
_LEAST_CJK = 0.1
_LEAST_PROSE = 0.08
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_WORD = re.compile(r"[A-Za-z]{2,}")
_PROSE = re.compile(r"\b(?:the|of|and|to|is|are|in|that|for|with|you|it|be|by|as|this|or)\b", re.I)


@dataclass(frozen=True, slots=True)
class Scan:
    """Chunks by ascending number, their vectors (chunks, dimension), and which are in CJK."""

    numbers: Numbers
    matrix: NDArray[np.float32]
    cjk: NDArray[np.bool_]

    @classmethod
    def of(
        cls, lookup: Lookup, numbers: Sequence[int] | Numbers, known: Scan | None = None
    ) -> Scan:
        """Read vectors from the catalog, except those that an earlier scan has."""
        wanted = np.asarray(numbers, np.int64)
        kept = np.isin(known.numbers, wanted) if known is not None else np.zeros(0, bool)
        old = known.numbers[kept] if known is not None else np.empty(0, np.int64)
        missing = np.setdiff1d(wanted, old, assume_unique=True)  # Else it loads numpy.ma.
        read = _read(lookup, missing)
        if known is None or not len(old):
            return read
        if not len(read.numbers):
            return known if kept.all() else cls(old, known.matrix[kept], known.cjk[kept])
        order = np.argsort(np.concatenate([old, read.numbers]), kind="stable")
        return cls(
            np.concatenate([old, read.numbers])[order],
            np.concatenate([known.matrix[kept], read.matrix])[order],
            np.concatenate([known.cjk[kept], read.cjk])[order],
        )

    def cosines(self, vector: Vector) -> NDArray[np.float32]:
        """The cosine of every chunk. Without BLAS, whose threads cost more than they save here."""
        found: NDArray[np.float32] = np.einsum("ij,j->i", self.matrix, vector)
        return found

    def nearest(
        self, cosines: NDArray[np.float32], k: int, allowed: Numbers | None = None
    ) -> dict[int, float]:
        """Number -> cosine of the nearest k in each script among the allowed, best first."""
        permitted = np.ones(len(self.numbers), bool)
        if allowed is not None:
            permitted = np.isin(self.numbers, allowed, assume_unique=True)
        best = np.concatenate(
            [
                _best(cosines, np.flatnonzero(permitted & (self.cjk == cjk)), k)
                for cjk in (False, True)
            ]
        )
        best = best[np.argsort(-cosines[best], kind="stable")]
        return {int(self.numbers[at]): float(cosines[at]) for at in best}


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest chunks, number -> cosine, best first, and how cosines are distributed.

    `mean` and `deviation` are those of the cosines of `count` chunks in the query's script (of all
    chunks where it has too few); `lead` is how much higher they are than those of the other
    script, 0 where there is only one.
    """

    cosines: dict[int, float]
    mean: float
    deviation: float
    count: int
    lead: float


class DenseRetriever:
    """Nearest neighbours in one index. Up to `exact_chunks` are scanned without Chroma."""

    def __init__(self, lookup: Lookup, vectors: Vectors, exact_chunks: int = EXACT_CHUNKS) -> None:
        self._lookup = lookup
        self._vectors = vectors
        self._exact_chunks = exact_chunks
        self._generation = -1
        self._is_current = False
        self._stale = False
        self._embedder = ""
        self._scan: Scan | None = None
        self._part: tuple[Filters, Scan] | None = None
        self._sample: Scan | None = None

    def nearest(
        self, vector: Vector, cjk: bool, k: int, filters: Filters, allowed: Numbers | None
    ) -> Nearest:
        """The nearest k in each script among the allowed; `cjk` is the query's script."""
        self._refresh()
        if self._lookup.count <= self._exact_chunks:
            return self._scanned(self._whole(), vector, cjk, k, allowed)
        if allowed is not None and len(allowed) <= self._exact_chunks:
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
        embedder = self._lookup.meta("embedder")
        if embedder != self._embedder:
            self._scan, self._embedder = None, embedder
        self._is_current = False
        self._generation = generation

    def _whole(self) -> Scan:
        """All vectors; after a write, only the new ones are read."""
        if self._scan is None or not self._is_current:
            self._scan = Scan.of(self._lookup, self._lookup.active_numbers(), self._scan)
            self._is_current = True
        return self._scan

    def _allowed(self, filters: Filters, allowed: Numbers) -> Scan:
        part = self._part  # read once: searches with other filters run in other threads
        if part is None or part[0] != filters:
            part = self._part = filters, Scan.of(self._lookup, allowed)
        return part[1]

    def _scanned(
        self, scan: Scan, vector: Vector, cjk: bool, k: int, allowed: Numbers | None
    ) -> Nearest:
        if not len(scan.numbers):
            return Nearest({}, 0.0, 0.0, 0, 0.0)
        cosines = scan.cosines(vector)
        return _nearest(scan.nearest(cosines, k, allowed), cosines, scan.cjk == cjk)

    def _proposed(
        self, vector: Vector, cjk: bool, k: int, filters: Filters, allowed: Numbers | None
    ) -> Nearest:
        """Candidates from Chroma. In an index of both scripts a second query, moved by the
        difference between their means, finds those of the other: a script is nearer to itself."""
        if self._sample is None:
            self._sample = Scan.of(self._lookup, self._lookup.spread_numbers(_SAMPLE))
        own = self._sample.cjk == cjk
        found = self._query_chroma(vector, k, allowed)
        if allowed is not None and len(found) < min(k, len(allowed)):
            return self._scanned(self._allowed(filters, allowed), vector, cjk, k, None)
        if _RARE_SCRIPT < own.mean() < 1 - _RARE_SCRIPT:
            shift = self._sample.matrix[~own].mean(axis=0) - self._sample.matrix[own].mean(axis=0)
            found += self._query_chroma(vector + shift, max(1, k // 2), allowed)
        vectors = self._lookup.vectors(found)
        exact = {number: float(v @ vector) for number, v in vectors.items()}
        ordered = dict(sorted(exact.items(), key=lambda pair: -pair[1]))
        return _nearest(ordered, self._sample.cosines(vector), own)

    def _query_chroma(self, vector: Vector, k: int, allowed: Numbers | None) -> list[int]:
        """Chroma's nearest k that are active and allowed; more are fetched until there are k."""
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


def _nearest(
    nearest: dict[int, float], cosines: NDArray[np.float32], own: NDArray[np.bool_]
) -> Nearest:
    is_enough = own.sum() >= 20
    base = cosines[own] if is_enough else cosines
    lead = 0.0
    if is_enough and not own.all():
        lead = float(base.mean() - cosines[~own].mean())
    return Nearest(nearest, float(base.mean()), float(base.std()), len(base), lead)


def _read(lookup: Lookup, numbers: Numbers) -> Scan:
    vectors = lookup.vectors(numbers)
    cjk = scripts(lookup, vectors)
    there = np.array(sorted(vectors), np.int64)
    if not len(there):
        return Scan(there, np.empty((0, 0), np.float32), np.zeros(0, bool))
    matrix = np.stack([vectors[int(number)] for number in there])
    return Scan(there, matrix, np.array([cjk[int(n)] for n in there], bool))


def scripts(lookup: Lookup, numbers: Iterable[int]) -> dict[int, bool]:
    """Number -> whether a chunk is in CJK. What is neither CJK nor English prose, such as code or a
    table, is in the script of its document."""
    found, open_ = dict[int, bool](), dict[int, str]()
    for number, (document, opening) in lookup.openings(numbers).items():
        characters = 0 if opening.isascii() else len(_CJK.findall(opening))
        words = len(_WORD.findall(opening))
        found[number] = characters > _LEAST_CJK * (characters + words)
        if not found[number] and len(_PROSE.findall(opening)) < _LEAST_PROSE * words:
            open_[number] = document
    documents = lookup.cjk_documents(set(open_.values()))
    return found | {number: document in documents for number, document in open_.items()}


def _best(cosines: NDArray[np.float32], among: NDArray[np.intp], k: int) -> NDArray[np.intp]:
    if len(among) <= k:
        return among
    chosen: NDArray[np.intp] = among[np.argpartition(-cosines[among], k)[:k]]
    return chosen
