"""Question -> paragraph sets in SQuAD's JSON: which paragraph was a question asked about?

Paragraphs are numbered in the order of the file, from 0; a text that stands twice counts once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LabelledQuestion:
    """A question, and the number of the paragraph that answers it."""

    question: str
    paragraph: int


@dataclass(frozen=True, slots=True)
class Squad:
    """One set."""

    name: str
    paragraphs: tuple[str, ...]
    questions: tuple[LabelledQuestion, ...]


def read_sets(paths: Iterable[Path]) -> list[Squad]:
    """The sets of some files, or of the JSON files of some folders."""
    files = [file for path in paths for file in (sorted(path.glob("*.json")) or [path])]
    return [read_set(file) for file in files]


def read_set(path: Path) -> Squad:
    """The set of one file."""
    numbers: dict[str, int] = {}
    asked = []
    for article in json.loads(path.read_text(encoding="utf-8"))["data"]:
        for paragraph in article["paragraphs"]:
            number = numbers.setdefault(paragraph["context"], len(numbers))
            asked += [LabelledQuestion(qa["question"], number) for qa in paragraph["qas"]]
    return Squad(path.stem, tuple(numbers), tuple(a for a in asked if a.question.strip()))


def ranks(asked: Sequence[LabelledQuestion], found: Sequence[Sequence[int]]) -> list[int | None]:
    """For each question the rank, from 1, of the first hit from its paragraph; None without one.
    `found` names the paragraph of each hit, best first."""
    return [
        next((rank for rank, n in enumerate(hits, start=1) if n == one.paragraph), None)
        for one, hits in zip(asked, found, strict=True)
    ]
