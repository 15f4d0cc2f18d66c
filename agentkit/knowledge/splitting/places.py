"""Which page, slides, rows or lines a stretch of a document stands on, found by bisection."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate

from agentkit.documents import Document, Part, page_of, part_of
from agentkit.knowledge.splitting.blocks import line_starts

_PAGES = ("page", "slide", "chapter", "message", "cell")


class Places:
    """The parts of one document, and the lines of a code."""

    def __init__(self, document: Document) -> None:
        self._parts = sorted(document.parts, key=lambda part: part.start)
        self._starts = [part.start for part in self._parts]
        self._reach = list(accumulate((part.end for part in self._parts), max))
        of_code = document.format == "code" and not document.parts
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
        first, last = bisect_right(self._lines, start), bisect_left(self._lines, end)
        return f"line {first}" if first == last else f"lines {first}-{last}"

    def _near(self, start: int, end: int) -> list[Part]:
        first = bisect_right(self._reach, start)
        return self._parts[first : bisect_left(self._starts, end, lo=first)]
