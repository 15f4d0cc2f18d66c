"""Tables as rows of text: repeat merged values, join a head of several rows, take titles out.

A Markdown table has one head row and no merged cells, and each of its rows must be understood by
itself, because it may be quoted alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

_NUMERIC = re.compile(r"[\s$€£¥%+−()'.,:/-]*\d[\d\s.,:'/%$€£¥+−()e-]*", re.IGNORECASE)
_PERIOD = re.compile(r"(?:19|20)\d\d(?:[/–-]\d{2,4})?|\d{1,2}")
_MOST_HEAD = 5
_MOST_GROWTH = 4
_MOST_CELLS = 10_000


class Span(NamedTuple):
    """A merged cell: its first row and column, and how many of each it covers."""

    row: int
    column: int
    rows: int = 1
    columns: int = 1


class Table(NamedTuple):
    """The lines that stand above a table, and its rows; the first is the head."""

    titles: list[str]
    rows: list[list[str]]


def table(rows: Sequence[Sequence[str]], spans: Iterable[Span] = (), marked: int = 0) -> Table:
    """Rows with merged values repeated and one head row. `marked` is the number of head rows that
    the file itself marks."""
    merged = [span for span in spans if span.rows > 1 or span.columns > 1]
    filled = repeated(rows, merged)
    titles: list[str] = []
    while len(filled) > 2 and (title := _title(filled, merged)):
        titles.append(title)
        del filled[0]
        merged = [span._replace(row=span.row - 1) for span in merged]
        marked = max(0, marked - 1)
    depth = head_depth(filled, merged, marked)
    if depth > 1:
        filled = [_joined_head(filled[:depth]), *filled[depth:]]
    return Table(titles, filled)


def repeated(rows: Sequence[Sequence[str]], spans: Iterable[Span]) -> list[list[str]]:
    """Rows of one width, each merged cell's value in all cells that it covers. What would make the
    table more than four times as large is left empty."""
    width = max((len(row) for row in rows), default=0)
    filled = [[*row, *[""] * (width - len(row))] for row in rows]
    budget = _MOST_GROWTH * sum(len(cell) for row in filled for cell in row) + _MOST_CELLS
    for span in spans:
        if span.row >= len(filled) or span.row < 0 or span.column >= width:
            continue
        if not (value := filled[span.row][span.column]):
            continue
        for row in filled[span.row : span.row + span.rows]:
            for column in range(span.column, min(span.column + span.columns, width)):
                budget -= len(value) + 1
                if budget > 0:
                    row[column] = value
    return filled


def _title(rows: Sequence[Sequence[str]], spans: Sequence[Span]) -> str:
    """The first row where it is one text above rows with several cells, else "": a text merged over
    the whole width, or alone where the row below begins."""
    first, second = rows[0], rows[1]
    texts = {cell for cell in first if cell.strip()}
    if len(texts) != 1 or len({cell for cell in second if cell.strip()}) < 2:
        return ""
    wide = max((span.columns for span in spans if span.row == 0), default=1)
    begins = next(at for at, cell in enumerate(second) if cell.strip())
    alone = wide == 1 and bool(first[begins].strip())
    return texts.pop().strip() if wide >= len(first) or alone else ""


def head_depth(rows: Sequence[Sequence[str]], spans: Sequence[Span], marked: int = 0) -> int:
    """The number of head rows: those that the file marks, or one more below each row where a value
    is merged over columns that the next row names one by one."""
    if marked > 1:
        return max(1, min(marked, len(rows) - 1))
    depth = 1
    while depth < min(len(rows) - 1, _MOST_HEAD) and _names_groups(rows, spans, depth):
        depth += 1
    return depth


def _names_groups(rows: Sequence[Sequence[str]], spans: Sequence[Span], at: int) -> bool:
    """Whether a row names the columns below the merged values of the row above it."""
    groups = [
        span
        for span in spans
        if span.row == at - 1 and span.rows == 1 and 1 < span.columns < max(2, len(rows[0]))
    ]
    named = [cell for span in groups for cell in rows[at][span.column : span.column + span.columns]]
    return bool(named) and all(cell.strip() and not _is_value(cell) for cell in named)


def _is_value(cell: str) -> bool:
    """Whether a cell holds a number; a year or a number of up to two digits may be a name."""
    return bool(_NUMERIC.fullmatch(cell)) and not _PERIOD.fullmatch(cell.strip())


def _joined_head(rows: Sequence[Sequence[str]]) -> list[str]:
    """One name for each column: `2023 Q1`."""
    columns = zip(*rows, strict=True)
    return [" ".join(dict.fromkeys(filter(None, map(str.strip, names)))) for names in columns]
