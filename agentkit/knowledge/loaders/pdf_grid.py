"""Read the tables of a PDF page from their ruling lines: what stands in which cell.

The lines that cross make a grid; where a line is missing between two cells, they are one. Boxes
with hardly any text, as of a chart, or with long prose, as of a page, are not read as tables.
PDFium is not thread-safe: callers hold the lock of pdf.py.
"""

from __future__ import annotations

import ctypes
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import mean
from typing import Any, NamedTuple

from agentkit.knowledge.loaders.pdf_bidi import share_from_right
from agentkit.knowledge.loaders.pdf_page import Cell, Line, Place
from agentkit.knowledge.loaders.pdf_view import PageView
from agentkit.knowledge.loaders.tables import Span, table

_MOST_SEGMENTS = 20_000
_MOST_RULINGS = 600
_MOST_CELLS = 3_000
_THIN = 2.5
"""In points: a filled rectangle that is no thicker is a line."""
_SHORTEST = 4.0
_NEAR = 2.5
_PROSE = 300
"""Characters of a cell, on average, from which a grid is a page layout."""
_SHORT = 25
_LETTER_GAP = 0.1
"""Between the letters of a word at most, in sizes of the font."""


class _Ruling(NamedTuple):
    """A line at a distance from the page's edge, and where it begins and ends."""

    at: float
    start: float
    end: float


class Grid:
    """The cells between ruling lines: `xs` from left to right, `ys` from the top down."""

    def __init__(self, level: Sequence[_Ruling], upright: Sequence[_Ruling]) -> None:
        left, right = min(r.start for r in level), max(r.end for r in level)
        bottom, top = min(r.start for r in upright), max(r.end for r in upright)
        self.xs = _distinct([*(r.at for r in upright), left, right])
        self.ys = _distinct([*(r.at for r in level), bottom, top])[::-1]
        self._rising = self.ys[::-1]
        self._level, self._upright = level, upright
        self.spans = list(self._merged()) if self.size <= _MOST_CELLS else []
        self._origins = {
            (row, column): (span.row, span.column)
            for span in self.spans
            for row in range(span.row, span.row + span.rows)
            for column in range(span.column, span.column + span.columns)
        }

    @property
    def size(self) -> int:
        """The number of cells, 0 where there are fewer than two rows or columns."""
        rows, columns = len(self.ys) - 1, len(self.xs) - 1
        return rows * columns if rows > 1 and columns > 1 else 0

    def origin(self, x: float, y: float) -> tuple[int, int] | None:
        """(row, column) of the cell that holds a point, of a merged one its first."""
        if not (self.xs[0] <= x <= self.xs[-1] and self.ys[-1] <= y <= self.ys[0]):
            return None
        column = bisect_right(self.xs, x) - 1
        row = len(self.ys) - 1 - bisect_right(self._rising, y)
        return self._origins.get((row, column))

    def _merged(self) -> Iterator[Span]:
        taken: set[tuple[int, int]] = set()
        for row in range(len(self.ys) - 1):
            for column in range(len(self.xs) - 1):
                if (row, column) in taken:
                    continue
                across = column + 1
                while across < len(self.xs) - 1 and not self._rules_right(row, across - 1):
                    across += 1
                down = row + 1
                while down < len(self.ys) - 1 and not any(
                    self._rules_below(down - 1, at) or (down, at) in taken
                    for at in range(column, across)
                ):
                    down += 1
                taken |= {(y, x) for y in range(row, down) for x in range(column, across)}
                yield Span(row, column, down - row, across - column)

    def _rules_right(self, row: int, column: int) -> bool:
        middle = (self.ys[row] + self.ys[row + 1]) / 2
        return _covers(self._upright, self.xs[column + 1], middle)

    def _rules_below(self, row: int, column: int) -> bool:
        middle = (self.xs[column] + self.xs[column + 1]) / 2
        return _covers(self._level, self.ys[row + 1], middle)


def _covers(rulings: Sequence[_Ruling], at: float, middle: float) -> bool:
    return any(abs(r.at - at) <= _NEAR and r.start <= middle <= r.end for r in rulings)


def _distinct(values: Sequence[float]) -> list[float]:
    """Ascending values, of those that are near to each other one."""
    kept: list[float] = []
    for value in sorted(values):
        if not kept or value - kept[-1] > _NEAR:
            kept.append(value)
    return kept


def grids_of(view: PageView) -> list[Grid]:
    """The grids of a page, where lines cross."""
    level, upright = (_joined(rulings) for rulings in _rulings(view))
    if not level or not upright or len(level) + len(upright) > _MOST_RULINGS:
        return []
    grids = []
    for group in _crossing(level, upright):
        rows = [level[at] for at in group if at < len(level)]
        columns = [upright[at - len(level)] for at in group if at >= len(level)]
        grid = Grid(rows, columns) if len(rows) > 1 and len(columns) > 1 else None
        if grid is not None and 0 < grid.size <= _MOST_CELLS:
            grids.append(grid)
    return grids


def _rulings(view: PageView) -> tuple[list[_Ruling], list[_Ruling]]:
    """The level and the upright lines of a page as it is shown."""
    level: list[_Ruling] = []
    upright: list[_Ruling] = []
    for x1, y1, x2, y2 in _segments(view.objects):
        left, bottom, right, top = view.between((x1, y1), (x2, y2))
        if top - bottom <= _THIN and right - left >= _SHORTEST:
            level.append(_Ruling((top + bottom) / 2, left, right))
        elif right - left <= _THIN and top - bottom >= _SHORTEST:
            upright.append(_Ruling((left + right) / 2, bottom, top))
    return level, upright


def _segments(objects: Sequence[Any]) -> Iterator[tuple[float, float, float, float]]:
    """The straight lines that are drawn, and thin filled rectangles; none on a page of too many."""
    from pypdfium2 import raw

    matrix, x, y = raw.FS_MATRIX(), ctypes.c_float(), ctypes.c_float()
    mode, stroked = ctypes.c_int(), ctypes.c_int()
    paths = [item.raw for item in objects if item.type == raw.FPDF_PAGEOBJ_PATH]
    if sum(raw.FPDFPath_CountSegments(path) for path in paths) > _MOST_SEGMENTS:
        return
    for path in paths:
        raw.FPDFPageObj_GetMatrix(path, matrix)
        raw.FPDFPath_GetDrawMode(path, mode, stroked)
        points: list[tuple[float, float]] = []
        closed = False
        for at in range(raw.FPDFPath_CountSegments(path)):
            segment = raw.FPDFPath_GetPathSegment(path, at)
            if raw.FPDFPathSegment_GetType(segment) == raw.FPDF_SEGMENT_MOVETO:
                yield from _drawn(points, bool(stroked.value), closed)
                points = []
            raw.FPDFPathSegment_GetPoint(segment, x, y)
            points.append((
                matrix.a * x.value + matrix.c * y.value + matrix.e,
                matrix.b * x.value + matrix.d * y.value + matrix.f,
            ))  # fmt: skip
            closed = bool(raw.FPDFPathSegment_GetClose(segment))
        yield from _drawn(points, bool(stroked.value), closed)


def _drawn(
    points: Sequence[tuple[float, float]], stroked: bool, closed: bool
) -> Iterator[tuple[float, float, float, float]]:
    """The lines of a part of a path; a filled one is its box, which may be a line."""
    if stroked:
        for before, after in pairwise([*points, *(points[:1] if closed else ())]):
            yield (*before, *after)
    elif 3 < len(points) < 7:
        xs, ys = zip(*points, strict=True)
        yield min(xs), min(ys), max(xs), max(ys)


def _joined(rulings: list[_Ruling]) -> list[_Ruling]:
    """Lines whose pieces touch are one."""
    found: list[_Ruling] = []
    groups: list[list[_Ruling]] = []
    for ruling in sorted(rulings):
        if not groups or ruling.at - groups[-1][0].at > _NEAR:
            groups.append([])
        groups[-1].append(ruling)
    for group in groups:
        at = group[0].at
        pieces = sorted((ruling.start, ruling.end) for ruling in group)
        start, end = pieces[0]
        for left, right in pieces[1:]:
            if left > end + _NEAR:
                found.append(_Ruling(at, start, end))
                start = left
            end = max(end, right)
        found.append(_Ruling(at, start, end))
    return found


def _crossing(level: Sequence[_Ruling], upright: Sequence[_Ruling]) -> list[list[int]]:
    """Groups of lines that cross each other, as numbers of both lists behind each other."""
    group = list(range(len(level) + len(upright)))

    def root(at: int) -> int:
        while group[at] != at:
            group[at] = group[group[at]]
            at = group[at]
        return at

    for row, across in enumerate(level):
        for column, up in enumerate(upright):
            meets = across.start - _NEAR <= up.at <= across.end + _NEAR
            if meets and up.start - _NEAR <= across.at <= up.end + _NEAR:
                group[root(len(level) + column)] = root(row)
    groups: dict[int, list[int]] = {}
    for at in range(len(group)):
        groups.setdefault(root(at), []).append(at)
    return list(groups.values())


def in_grids(lines: Sequence[Line], grids: Sequence[Grid], height: float) -> list[Line]:
    """The lines of a page, those in the cells of a table joined to its rows."""
    inside: dict[int, list[Line]] = {}
    for line in lines:
        if line.place is not None:
            inside.setdefault(line.place.grid, []).append(line)
    tables = {at for at, held in inside.items() if _is_table(grids[at], held)}
    found: list[Line] = []
    for line in lines:
        if line.place is None or line.place.grid not in tables:
            found.append(replace(line, place=None))
        elif (held := inside.pop(line.place.grid, None)) is not None:
            found += _rows(grids[line.place.grid], held, height)
    return found


def cutting(lines: Sequence[Line]) -> set[int]:
    """The numbers of the grids whose lines run through words, as the frame of a figure does that
    stands over text: no tables."""
    cuts = Counter(
        left.place.grid
        for left, right in pairwise(lines)
        if left.place is not None
        and right.place is not None
        and left.place.grid == right.place.grid
        and left.text[-1:].isalnum()
        and right.text[:1].isalnum()
        and abs(left.bottom - right.bottom) < _NEAR
        and abs(right.left - left.right) < _LETTER_GAP * left.size
    )
    return {grid for grid, count in cuts.items() if count > 1}


def _is_table(grid: Grid, held: Sequence[Line]) -> bool:
    cells: dict[Place, int] = {}
    for line in held:
        if line.place is not None:
            cells[line.place] = cells.get(line.place, 0) + len(line.text)
    filled = len(cells) >= max(2, len(grid.spans) / 4)
    return filled and mean(cells.values()) < _PROSE and len({place.column for place in cells}) > 1


def _rows(grid: Grid, held: Sequence[Line], height: float) -> Iterator[Line]:
    """The rows of a table: merged values repeated, heads joined, titles as lines of their own."""
    size = held[0].size
    rows: list[list[str]] = []
    spans: list[Span] = []
    tops: list[float] = []
    for row in range(len(grid.ys) - 1):
        texts = [
            [line for line in held if line.place is not None and line.place[1:] == (row, column)]
            for column in range(len(grid.xs) - 1)
        ]
        merged = [span for span in grid.spans if span.row == row]
        apart = _apart(texts) if not any(span.rows > 1 for span in merged) else None
        spans += (span._replace(row=len(rows)) for span in merged if apart is None)
        for line_of in apart or [texts]:
            rows.append([" ".join(line.text for line in cell) for cell in line_of])
            bottoms = [line.bottom for cell in line_of for line in cell]
            tops.append(min(bottoms, default=grid.ys[row + 1]))
    whole = table(rows, spans)
    places = tops[len(rows) - len(whole.rows) :]
    from_right = share_from_right(line.text for line in held) > 0.5
    left, right = grid.xs[0], grid.xs[-1]
    for title in whole.titles:
        yield _line(title, (left, right), tops[0] + size, size, height, ())
    for texts_, bottom in zip(whole.rows, places, strict=True):
        cells = tuple(map(Cell, texts_, grid.xs, grid.xs[1:]))
        text = "\t".join(reversed(texts_) if from_right else texts_)
        if text.strip():
            yield _line(text, (left, right), bottom, size, height, cells)


def _apart(cells: Sequence[Sequence[Line]]) -> list[list[list[Line]]] | None:
    """The rows between two ruling lines, where several stand there: most of their lines have short
    texts in most columns; None where the lines are those of wrapped texts."""
    levels = _distinct([line.bottom for cell in cells for line in cell])[::-1]
    rows = [
        [[line for line in cell if abs(line.bottom - level) <= _NEAR] for cell in cells]
        for level in levels
    ]
    full = sum(2 * sum(map(bool, row)) > len(cells) for row in rows)
    texts = [line.text for cell in cells for line in cell]
    if len(rows) < 3 or full < 0.7 * len(rows) or mean(map(len, texts)) > _SHORT:
        return None
    return rows


def _line(
    text: str,
    sides: tuple[float, float],
    bottom: float,
    size: float,
    height: float,
    cells: tuple[Cell, ...],
) -> Line:
    left, right = sides
    share = bottom / height if height else 0.5
    return Line(
        text, left, right, bottom, size, right - left, share, False, cells, ruled=bool(cells)
    )
