"""The values of chunking: blocks of a text, the sections they are in, and their places.

`Places` finds by bisection which page, slides, rows or lines a span is on.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from operator import le
from typing import Literal

from agentkit.documents import Document, Part, Parts, page_of, part_of

Span = tuple[int, int]
CountMany = Callable[[Sequence[str]], Sequence[int]]
"""Texts in, the tokens of each out."""

Kind = Literal["prose", "heading", "sentence", "table", "list", "formula", "code", "lines", "row"]
"""The kind of a block decides how it is split where it is too large; a "row" never is."""

SECTION_BLOCKS = 20_000
"""The most blocks of a section, or a long document would take many times its size in memory."""
LONGEST_NAME = 200
"""The most characters of a name in a heading, which is embedded with every chunk."""
_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Block:
    """A span of a text with no white space at its ends."""

    start: int
    end: int
    kind: Kind = "prose"


@dataclass(frozen=True, slots=True)
class Section:
    """The blocks under one path of headings, or some of them where they are very many. They are
    packed into chunks of about equal size if `even`, else into chunks as large as possible."""

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
    """The start of each line of text[start:]; a line ends at a line feed, a carriage return or
    both."""
    return [start, *(match.end() for match in _BREAK.finditer(text, start))]


def one_line(name: str) -> str:
    """A name on one line and not too long."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1] + "…"


_PAGES = ("page", "slide", "chapter", "message", "cell", "file")


def in_order(parts: Sequence[Part]) -> Parts:
    """The parts by their start."""
    found = Parts.of(parts)
    if all(map(le, found.starts, islice(found.starts, 1, None))):
        return found
    return Parts(sorted(found, key=lambda part: part.start))


class Places:
    """The parts of one document, or the lines of source code."""

    def __init__(self, document: Document, first_line: int = 1) -> None:
        self._parts = in_order(document.parts)
        self._starts = self._parts.starts
        self._has_pages = not self._parts.kinds.isdisjoint(("page", "slide"))
        self._reach = array("I", accumulate(self._parts.ends, max))
        of_code = document.format == "code" and not document.parts
        self._first_line = first_line
        self._lines = line_starts(document.text) if of_code else []

    @property
    def seams(self) -> list[int]:
        """The starts of pages and the like, which are good places to split."""
        return [start for kind, _, start, _ in self._parts.labelled() if kind in _PAGES]

    def page(self, start: int, end: int) -> int | None:
        """The first page or slide that a span touches."""
        if not self._has_pages:
            return None
        first, stop = self._near(start, end)
        return page_of(self._parts[first:stop], start, end)

    def part(self, start: int, end: int) -> str:
        """The parts or lines that a span touches, in words."""
        if not self._lines:
            first, stop = self._near(start, end)
            outer = dict.fromkeys(self._parts[at] for at in (first, stop - 1) if first < stop)
            return part_of(outer, start, end)
        before = self._first_line - 1
        first = before + bisect_right(self._lines, start)
        last = before + bisect_left(self._lines, end)
        return f"line {first}" if first == last else f"lines {first}-{last}"

    def _near(self, start: int, end: int) -> tuple[int, int]:
        """The range of parts that a span touches, the first and the last of which it does."""
        first = bisect_right(self._reach, start)
        stop = bisect_left(self._starts, end, lo=first)
        ends = self._parts.ends
        while first < stop and ends[first] <= start:
            first += 1
        while first < stop and ends[stop - 1] <= start:
            stop -= 1
        return first, stop
