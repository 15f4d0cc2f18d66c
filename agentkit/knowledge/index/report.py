"""What an indexing run tells: its progress, and what it did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an indexing run is: documents done of all (in a rebuild passages), chunks embedded
    so far, the seconds taken and an estimate of those left, None while nothing is known."""

    done: int
    total: int
    chunks: int
    source: str
    seconds: float = 0.0
    seconds_left: float | None = None

    @property
    def rate(self) -> float:
        """Passages embedded per second."""
        return self.chunks / self.seconds if self.seconds > 0 else 0.0


OnProgress = Callable[[Progress], None]


def ignore_progress(progress: Progress) -> None:
    """The default of `on_progress`."""


@dataclass(frozen=True, slots=True)
class IndexReport:
    """What an indexing run did: sources by outcome, chunks embedded again, and one line for each
    file that could not be read."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    embedded: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """The warnings, with the files that share a reason named together."""
        files: dict[str, list[str]] = {}
        for warning in self.warnings:
            name, _, reason = warning.partition(": ")
            files.setdefault(reason, []).append(name)
        return tuple(
            f"{len(names)} files: {reason} ({', '.join(map(_file_name, names[:3]))}, ...)"
            if reason and len(names) > 3
            else f"{name}: {reason}"
            if reason
            else name
            for reason, names in files.items()
            for name in (names if len(names) <= 3 or not reason else names[:1])
        )

    @property
    def has_news(self) -> bool:
        """Whether anything was added, changed or removed."""
        return bool(self.added or self.changed or self.removed)


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]
