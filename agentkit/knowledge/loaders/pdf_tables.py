"""Place the cells of a PDF's tables in columns by their positions, and read columns of prose apart.

A PDF has no tables, only pieces of text at places. Rows below each other whose pieces stand apart
are a table; an empty cell keeps its column, and a head over several columns stands over each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from statistics import mean

from agentkit.knowledge.loaders.pdf_page import Cell, Line

_MOST_COLUMNS = 60
_MOST_DROP = 4.0
"""In font sizes: a larger distance between two rows ends a table."""
_SAME_ROW = 0.25
"""In font sizes: how far two pieces of one row may differ in height."""
_LOOK_BACK = 3
_SHARED = 0.6
"""In font sizes: how far two gaps below each other overlap."""
_MARKER = re.compile(
    r"[•◦▪●○■□‣·–—*-]|[(\[]?(?:\d{1,3}(?:\.\d{1,3}){0,4}|[A-Za-z]|[ivx]{1,5})[.)\]]?"
)
_PROSE = 22
"""Characters of a piece, on average, from which two columns hold prose."""
_LEAST_PROSE = 5
"""Rows of two columns of prose."""

_Column = tuple[float, float]


def in_columns(lines: Sequence[Line]) -> list[Line]:
    """The lines of a page, the rows of tables with a tab between their columns."""
    found: list[Line] = []
    lines = _beside(lines)
    cut = list(_cut(lines))
    uncut = {id(after): before for before, after in zip(lines, cut, strict=True)}
    for run in _runs(cut):
        if run[0].ruled:
            found += run
            continue
        full = max(len(line.cells) for line in run)
        head = next(at for at, line in enumerate(run) if len(line.cells) == full)
        rows = [line for line in run[head:] if len(line.cells) > 1]
        columns = _columns(rows) if len(rows) > 1 or (rows and head) else []
        if head > 2 or not _are_columns(run[head:], columns):
            found += (uncut[id(line)] for line in run)
            continue
        placed = [_placed(line.cells, columns, at < head) for at, line in enumerate(run)]
        found += _apart(run, placed) if _is_prose(placed) else map(_row, run, placed)
    return found


def _cut(lines: Sequence[Line]) -> Iterator[Line]:
    """The lines, cut at narrow gaps too where two of the lines around have a gap at this place."""
    gaps = [
        [] if line.fixed else [(a.right, b.left) for a, b in pairwise(line.pieces)]
        for line in lines
    ]
    for at, line in enumerate(lines):
        if len(line.pieces) <= len(line.cells) or line.fixed or line.ruled:
            yield line
            continue
        around = [
            gaps[other]
            for other in range(max(0, at - _LOOK_BACK), min(len(lines), at + _LOOK_BACK + 1))
            if other != at
            and abs(lines[other].bottom - line.bottom) < _LOOK_BACK * _MOST_DROP / 2 * line.size
        ]
        kept = {(a.right, b.left) for a, b in pairwise(line.cells)}
        cells = [line.pieces[0]]
        for piece, gap in zip(line.pieces[1:], gaps[at], strict=True):
            shared = sum(
                any(min(gap[1], end) - max(gap[0], start) > _SHARED * line.size for start, end in g)
                for g in around
            )
            listed = len(cells) == 1 and _MARKER.fullmatch(cells[0].text)
            if gap in kept or (shared > 1 and not listed):
                cells.append(piece)
            else:
                cells[-1] = Cell(f"{cells[-1].text} {piece.text}", cells[-1].left, piece.right)
        text = "\t".join(cell.text for cell in cells)
        yield replace(line, text=text, cells=tuple(cells)) if len(cells) > len(line.cells) else line


def _are_columns(rows: Sequence[Line], columns: Sequence[_Column]) -> bool:
    """Whether rows agree in their columns: each holds a piece of two rows, most rows fill most of
    them, and hardly any piece lies in two. Code has gaps of its own."""
    if len(columns) < 2 or len(rows) < 2 or all(line.fixed for line in rows):
        return False
    cells = [cell for line in rows for cell in line.cells]
    touched = [[_overlap(cell, column) > 0 for column in columns] for cell in cells]
    held = all(sum(column) > 1 for column in zip(*touched, strict=True))
    across = sum(sum(of_cell) > 1 for of_cell in touched)
    return held and 2 * len(cells) >= len(rows) * len(columns) and across <= len(cells) / 20


def _beside(lines: Sequence[Line]) -> list[Line]:
    """The lines, with those in one where PDFium broke a row between its cells."""
    found: list[Line] = []
    for line in lines:
        if line.ruled:
            found.append(line)
            continue
        near = range(len(found) - 1, max(-1, len(found) - 1 - _LOOK_BACK), -1)
        row = next((at for at in near if _is_one_row(found[at], line)), None)
        if row is None:
            found.append(line)
            continue
        last = found[row]
        text = f"{last.text}\t{line.text}"
        found[row] = replace(last, text=text, right=line.right, cells=(*last.cells, *line.cells))
    return found


def _is_one_row(before: Line, after: Line) -> bool:
    if before.ruled:
        return False
    level = abs(before.bottom - after.bottom) <= _SAME_ROW * after.size
    return level and after.left >= before.right and bool(before.cells and after.cells)


def _runs(lines: Sequence[Line]) -> Iterator[list[Line]]:
    """Runs of rows: lines with several pieces, and single ones below them that stand to the right
    of where the rows begin."""
    run: list[Line] = []
    for line in lines:
        drop = run[-1].bottom - line.bottom if run else 0.0
        near = bool(run) and 0.3 * line.size < drop < _MOST_DROP * line.size
        rows = [other for other in run[-_LOOK_BACK:] if len(other.cells) > 1]
        inside = bool(rows) and line.left > min(cell.right for row in rows for cell in row.cells)
        ruled = bool(run) and (line.ruled or run[-1].ruled)
        if run and (ruled or not (near and rows and (len(line.cells) > 1 or inside))):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _columns(rows: Sequence[Line]) -> list[_Column]:
    """The left and right edges of the columns, from the rows with the most pieces on."""
    columns: list[_Column] = []
    for line in sorted(rows, key=lambda line: -len(line.cells)):
        for cell in line.cells:
            touched = [at for at, column in enumerate(columns) if _overlap(cell, column) > 0]
            if not touched and len(columns) < _MOST_COLUMNS:
                columns.append((cell.left, cell.right))
                columns.sort()
            elif len(touched) == 1:
                left, right = columns[touched[0]]
                columns[touched[0]] = min(left, cell.left), max(right, cell.right)
    return columns


def _overlap(cell: Cell, column: _Column) -> float:
    return min(cell.right, column[1]) - max(cell.left, column[0])


def _placed(cells: Sequence[Cell], columns: Sequence[_Column], is_head: bool) -> list[str]:
    """The texts of a row by column; in the head a piece over several columns stands in each."""
    row = [""] * len(columns)
    for cell in cells:
        shares = [_overlap(cell, column) for column in columns]
        covered = [max(range(len(columns)), key=shares.__getitem__)]
        if is_head and len(cells) > 1 and sum(share > 0 for share in shares) != 1:
            covered = _covered(cell, columns) or covered
        for at in covered:
            row[at] = f"{row[at]} {cell.text}".strip()
    return row


def _covered(cell: Cell, columns: Sequence[_Column]) -> list[int]:
    """The columns over whose middle a piece stands, the fewest; [] where it stands over none."""
    middle = (cell.left + cell.right) / 2
    for count in range(2, len(columns) + 1):
        for first in range(len(columns) - count + 1):
            left, right = columns[first][0], columns[first + count - 1][1]
            inside = left <= cell.left + 2 and cell.right - 2 <= right
            if inside and abs(middle - (left + right) / 2) < 0.15 * (right - left):
                return list(range(first, first + count))
    return []


def _is_prose(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the columns hold running text, which is read one column after the other."""
    if len(rows) < _LEAST_PROSE or not 2 <= len(rows[0]) <= 3:
        return False
    full = [row for row in rows if all(row)]
    return len(full) > 0.6 * len(rows) and all(
        mean(len(text) for text in column) >= _PROSE for column in zip(*full, strict=True)
    )


def _apart(run: Sequence[Line], rows: Sequence[Sequence[str]]) -> Iterator[Line]:
    """The lines of columns of prose, one column after the other."""
    for at in range(len(rows[0])):
        for line, row in zip(run, rows, strict=True):
            if not row[at]:
                continue
            cell = next((c for c in line.cells if c.text == row[at]), line.cells[0])
            word = len(row[at].split()[0]) / max(1, len(row[at]))
            opening = (cell.right - cell.left) * word
            yield replace(
                line, text=row[at], left=cell.left, right=cell.right, opening=opening, cells=(cell,)
            )


def _row(line: Line, row: Sequence[str]) -> Line:
    return replace(line, text="\t".join(row)) if len(row) > 1 else line
