"""Excel (.xlsx): each row a line of cells with its place, "Prices, 12". A row is never split.

Values are those that Excel saved, dates in ISO form. Empty rows and cells at a row's end are left
out; charts, comments and colours are not read. Rows and cells are bounded, and it is said where.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from io import BytesIO
from itertools import islice, repeat
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document, Part
from agentkit.knowledge.loaders.archive import checked
from agentkit.knowledge.loaders.base import Loaded
from agentkit.knowledge.loaders.office import core_metadata, reading
from agentkit.text import clean

_MOST_CELLS = 2_000_000
_MOST_ROWS = 300_000
_LAST_ROW = 1 << 20
"""Of Excel itself."""
_MOST_COLUMNS = 200
_MOST_NAME = 100
_HEADER_WITHIN = 5
"""In how many rows, from the first, the names of the columns are looked for."""
_NUMBER = re.compile(r"[-+]?[\d.,:\- ]*\d%?")
_YEAR = re.compile(r"(?:19|20)\d\d")


@dataclass
class _Tally:
    """What was read of a workbook so far."""

    lines: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    cells: int = 0
    length: int = 0

    def add(self, sheet: str, number: int, line: str) -> None:
        self.parts.append(Part("row", f"{sheet}, {number}", self.length, self.length + len(line)))
        self.lines.append(line)
        self.length += len(line) + 1


def load_sheets(content: bytes, source: str) -> Loaded:
    """metadata["columns"] has the names of each sheet's columns, where they can be told."""
    marks = checked(content, ".xlsx", marks=(b"<f>", b"<f "))
    tally = _Tally()
    with reading(".xlsx", "Excel"):
        metadata = _read(content, tally, any(marks.values()))
    if tally.columns:
        metadata["columns"] = tally.columns
    title = str(metadata.get("title") or PurePosixPath(source).stem)
    text, parts = "\n".join(tally.lines), tuple(tally.parts)
    document = Document(source, text, title, metadata=metadata, format="rows", parts=parts)
    return Loaded(document, tuple(tally.warnings))


def _read(content: bytes, tally: _Tally, has_formulas: bool) -> dict[str, Any]:
    """Values and formulas are two readings of one book, taken side by side."""
    with _Book(content, values=True) as book:
        if not has_formulas:
            for sheet in book.worksheets:
                _read_sheet(sheet, None, tally)
        else:
            with _Book(content, values=False) as written:
                for sheet, formulas in zip(book.worksheets, written.worksheets, strict=True):
                    _read_sheet(sheet, formulas, tally)
        return core_metadata(book.properties)


class _Book:
    """A workbook open for reading row by row, without the library's remarks on styles."""

    def __init__(self, content: bytes, values: bool) -> None:
        import openpyxl

        warnings.filterwarnings("ignore", module=r"openpyxl\.")
        self._book = openpyxl.load_workbook(
            BytesIO(content), read_only=True, data_only=values, keep_links=False
        )

    def __enter__(self) -> Any:
        return self._book

    def __exit__(self, *_: object) -> None:
        self._book.close()


def _rows(sheet: Any) -> Iterator[tuple[Any, ...]]:
    """The rows from the first on, empty ones too. What a sheet says of its size is not trusted."""
    sheet.reset_dimensions()
    yield from islice(sheet.iter_rows(), _LAST_ROW)


def _read_sheet(sheet: Any, formulas: Any, tally: _Tally) -> None:
    title = clean(sheet.title)
    seen = 0
    unsaved: list[int] = []
    written = _rows(formulas) if formulas is not None else repeat(())
    for number, (row, as_written) in enumerate(zip(_rows(sheet), written, strict=False), 1):
        if any(_is_unsaved(*pair) for pair in zip(row, as_written, strict=False)):
            unsaved.append(number)
        values = [_shown(cell) for cell in row]
        while values and not values[-1]:
            values.pop()
        if not values:
            continue
        if len(tally.parts) >= _MOST_ROWS or tally.cells >= _MOST_CELLS:
            tally.warnings.append(f"{title}: rows from {number} on were left out, it has too many")
            break
        if seen < _HEADER_WITHIN and title not in tally.columns and _names_columns(values):
            tally.columns[title] = [value[:_MOST_NAME] for value in values[:_MOST_COLUMNS]]
        seen += 1
        tally.cells += len(values)
        tally.add(title, number, " | ".join(values))
    if unsaved:
        places = f"{len(unsaved)} row{'s' if len(unsaved) > 1 else ''} from {unsaved[0]} on"
        tally.warnings.append(
            f"{title}: formulas without a saved value in {places}. Open it in Excel and save it"
        )


def _is_unsaved(value: Any, formula: Any) -> bool:
    """Whether a cell has a formula and no value of it."""
    return formula.data_type == "f" and value.value is None


def _names_columns(values: list[str]) -> bool:
    """Two names or more, no number among them, and none missing."""
    numbers = [v for v in values if _NUMBER.fullmatch(v) and not _YEAR.fullmatch(v)]
    return len(values) > 1 and all(values) and not numbers


def _shown(cell: Any) -> str:
    """A value about as Excel shows it: dates in ISO form, percentages as such."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, datetime):
        return (
            value.date().isoformat() if value.time() == time() else value.isoformat(" ", "seconds")
        )
    if isinstance(value, int | float):
        is_percentage = str(cell.number_format).rstrip().endswith("%")
        return f"{value * 100:.10g}%" if is_percentage else f"{value:.15g}"
    return " ".join(clean(str(value)).split())
