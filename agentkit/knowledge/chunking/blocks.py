"""The values of chunking: blocks of a text, the sections they are in, and their places.

`Places` finds by bisection which page, slides, rows or lines a span is on.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from agentkit.documents import Document, Part, page_of, part_of

Span = tuple[int, int]
CountMany = Callable[[Sequence[str]], Sequence[int]]
"""Texts in, the tokens of each out."""

Kind = Literal["prose", "heading", "sentence", "table", "list", "formula", "code", "lines", "row"]
"""What a block is, and so how it is cut where it is too large; a "row" never is."""

LONGEST_NAME = 200
"""Characters of one name in a heading: it goes before the text of every chunk for the embedding."""
_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a text with no white space at its ends."""

    start: int
    end: int
    kind: Kind = "prose"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading's own part of a document: its path of headings and its blocks, to be put into
    chunks of about equal size, or else each as large as may be."""

    heading: str
    blocks: tuple[Block, ...]
    even: bool = True


def trimmed(text: str, start: int, end: int, kind: Kind = "prose") -> Block:
    """The block without the white space at its ends."""
    inside = text[start:end]
    return Block(start + len(inside) - len(inside.lstrip()), start + len(inside.rstrip()), kind)


def filled(blocks: Iterable[Block]) -> list[Block]:
    """Those that hold anything but white space."""
    return [block for block in blocks if block.start < block.end]


def line_starts(text: str, start: int = 0) -> list[int]:
    """Where each line of text[start:] begins; a line ends at a line feed, a carriage return or
    both."""
    return [start, *(match.end() for match in _BREAK.finditer(text, start))]


def named(name: str) -> str:
    """A name on one line and not too long."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1] + "…"


_PAGES = ("page", "slide", "chapter", "message", "cell")


class Places:
    """The parts of one document, and the lines of a code."""

    def __init__(self, document: Document, first_line: int = 1) -> None:
        self._parts = sorted(document.parts, key=lambda part: part.start)
        self._starts = [part.start for part in self._parts]
        self._reach = list(accumulate((part.end for part in self._parts), max))
        of_code = document.format == "code" and not document.parts
        self._first_line = first_line
        self._lines = line_starts(document.text) if of_code else []

    @property
    def seams(self) -> list[int]:
        """Where a page or the like begins, which is a good place for a cut."""
        return [part.start for part in self._parts if part.kind in _PAGES]

    def page(self, start: int, end: int) -> int | None:
        """The first page or slide that the stretch touches."""
        return page_of(self._near(start, end), start, end)

    def part(self, start: int, end: int) -> str:
        """The parts or lines that the stretch touches, as people say it."""
        if not self._lines:
            return part_of(self._near(start, end), start, end)
        before = self._first_line - 1
        first = before + bisect_right(self._lines, start)
        last = before + bisect_left(self._lines, end)
        return f"line {first}" if first == last else f"lines {first}-{last}"

    def _near(self, start: int, end: int) -> list[Part]:
        first = bisect_right(self._reach, start)
        return self._parts[first : bisect_left(self._starts, end, lo=first)]
