"""What an indexing run tells: its progress, and what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from agentkit.findings import join_names, quantity
from agentkit.knowledge.loaders.files import NEEDS_OCR

_MOST_REASONS = 3
_MOST_FILES = 10_000


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an indexing run is: documents done of all (passages in a rebuild), chunks embedded so
    far, the seconds taken and an estimate of those left, None while too little is known."""

    done: int
    total: int
    chunks: int
    source: str
    seconds: float = 0.0
    seconds_left: float | None = None
    of_passages: bool = False

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
        return tuple(
            f"{len(names)} files: {reason} ({', '.join(map(_file_name, names[:3]))}, ...)"
            if reason and len(names) > 3
            else f"{name}: {reason}"
            if reason
            else name
            for reason, names in _by_reason(self.warnings).items()
            for name in (names if len(names) <= 3 or not reason else names[:1])
        )

    @property
    def has_news(self) -> bool:
        """Whether anything was added, changed or removed."""
        return bool(self.added or self.changed or self.removed)


def reasons_of(unread: Iterable[str]) -> str:
    """Why files were not read, in one line, the reasons of most files first. Each file is given as
    "name: reason"."""
    reasons = _by_reason(unread)
    if len(reasons) == 1:
        return next(iter(reasons))
    common = sorted(reasons, key=lambda reason: -len(reasons[reason]))
    counts = [f"{len(reasons[reason])}: {reason}" for reason in common[:_MOST_REASONS]]
    if others := sum(len(reasons[reason]) for reason in common[_MOST_REASONS:]):
        counts.append(f"{others}: other reasons")
    return "; ".join(counts)


def describe_empty(
    folder: Path, unread: Iterable[str], needs_ocr: Sequence[str] = NEEDS_OCR
) -> str:
    """Why there is no document of a folder, or of a file, in the index. `needs_ocr` are suffixes of
    files that are read with an extra."""
    if lines := list(unread):
        count = quantity(len(lines), "file")
        return f"{folder} has no readable document: {count} not read ({reasons_of(lines)})."
    suffixes = Counter(path.suffix.lower() for path in _files(folder))
    if images := sum(suffixes[suffix] for suffix in needs_ocr):
        have, need = quantity(images, "image"), "needs" if images == 1 else "need"
        return f'{folder} has no readable document: {have} {need} pip install "agentkit-rag[ocr]".'
    if suffixes:
        kinds = join_names([suffix or "no suffix" for suffix, _count in suffixes.most_common()])
        return f"{folder} has no readable document: its files are of other kinds ({kinds})."
    return f"{folder} holds no documents yet. Put some there: Markdown, PDF, HTML, Word, ..."


def _files(path: Path) -> Iterator[Path]:
    """The first files at or below a path, without hidden ones."""
    if path.is_file():
        yield path
    found = (each for each in path.rglob("*") if each.is_file())
    for file in islice(found, _MOST_FILES):
        if not any(part.startswith(".") for part in file.relative_to(path).parts):
            yield file


def _by_reason(lines: Iterable[str]) -> dict[str, list[str]]:
    """Reason -> names, of lines such as "name: reason"."""
    files: dict[str, list[str]] = {}
    for line in lines:
        name, _, reason = line.partition(": ")
        files.setdefault(reason, []).append(name)
    return files


def _file_name(path: str) -> str:
    return path.rpartition("/")[2]
