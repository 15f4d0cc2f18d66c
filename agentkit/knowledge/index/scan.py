"""Every vector of an index, or of a part of it, in one matrix: exact, and quick while they are few.

With the vectors stands the script of each chunk, for cosines across languages lie lower.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agentkit.knowledge.index.catalog import Vector
from agentkit.knowledge.search.lookup import Lookup, Numbers

_LEAST_CJK = 0.1
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_WORD = re.compile(r"[A-Za-z]{2,}")


@dataclass(frozen=True, slots=True)
class Scan:
    """Chunks by rising number, their vectors (chunks, dimension), and which are written in CJK."""

    numbers: Numbers
    matrix: NDArray[np.float32]
    cjk: NDArray[np.bool_]

    @classmethod
    def of(
        cls, lookup: Lookup, numbers: Sequence[int] | Numbers, known: Scan | None = None
    ) -> Scan:
        """Read vectors from the catalog, all but those that an earlier scan has."""
        wanted = np.asarray(numbers, np.int64)
        kept = np.isin(known.numbers, wanted) if known is not None else np.zeros(0, bool)
        old = known.numbers[kept] if known is not None else np.empty(0, np.int64)
        missing = np.setdiff1d(wanted, old)
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
        """Of every chunk. Not by BLAS, whose threads wait for each other longer than they work."""
        found: NDArray[np.float32] = np.einsum("ij,j->i", self.matrix, vector)
        return found

    def nearest(
        self, cosines: NDArray[np.float32], k: int, allowed: Numbers | None = None
    ) -> dict[int, float]:
        """Number -> cosine of the nearest k in each script, best first, of the allowed."""
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


def holds_cjk(characters: int, words: int) -> bool:
    """Whether CJK writing is more than a sprinkle in a text of so many CJK characters and so many
    words: code under a Chinese heading counts, an English page that names a Chinese word not."""
    return characters > _LEAST_CJK * (characters + words)


def _read(lookup: Lookup, numbers: Numbers) -> Scan:
    vectors = lookup.vectors(numbers)
    openings = lookup.openings(vectors)
    there = np.array(sorted(vectors), np.int64)
    if not len(there):
        return Scan(there, np.empty((0, 0), np.float32), np.zeros(0, bool))
    matrix = np.stack([vectors[int(number)] for number in there])
    return Scan(there, matrix, np.array([_opens_in_cjk(openings[int(n)]) for n in there], bool))


def _opens_in_cjk(text: str) -> bool:
    return not text.isascii() and holds_cjk(len(_CJK.findall(text)), len(_WORD.findall(text)))


def _best(cosines: NDArray[np.float32], among: NDArray[np.intp], k: int) -> NDArray[np.intp]:
    if len(among) <= k:
        return among
    chosen: NDArray[np.intp] = among[np.argpartition(-cosines[among], k)[:k]]
    return chosen
