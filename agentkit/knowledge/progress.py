"""How far an indexing run is, and what it did. Values, and the tally they are taken from.

The time left is told from what the documents done so far took, by their size: an estimate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an indexing run is: documents done of all (in a rebuild passages), chunks embedded
    so far, the seconds it has taken and about those it still needs, None while nothing is known."""

    done: int
    total: int
    chunks: int
    source: str
    seconds: float = 0.0
    seconds_left: float | None = None

    @property
    def rate(self) -> float:
        """Passages embedded a second."""
        return self.chunks / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an indexing run did: sources by what became of them, chunks embedded anew, and one
    line for each file that could not be read."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    embedded: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def has_news(self) -> bool:
        """Whether anything was added, changed or removed."""
        return bool(self.added or self.changed or self.removed)


OnProgress = Callable[[Progress], None]


@dataclass
class Tally:
    """The running count of one run. `total` and `done` count documents; `size` and `size_done`
    weigh those that had to be looked at."""

    total: int
    size: int
    tell: OnProgress
    done: int = 0
    size_done: int = 0
    embedded: int = 0
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    def passed(self, source: str, documents: int = 0, size: int = 0) -> None:
        self.done += documents
        self.size_done += size
        seconds = time.monotonic() - self._began
        self.tell(
            Progress(self.done, self.total, self.embedded, source, seconds, self._left(seconds))
        )

    def report(self, removed: Sequence[str] = ()) -> IndexReport:
        return IndexReport(
            tuple(self.added),
            tuple(self.changed),
            tuple(self.unchanged),
            tuple(removed),
            self.embedded,
            tuple(self.warnings),
        )

    def _left(self, seconds: float) -> float | None:
        return seconds * (self.size - self.size_done) / self.size_done if self.size_done else None
