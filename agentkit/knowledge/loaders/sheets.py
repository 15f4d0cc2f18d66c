"""Load tables: Excel (.xlsx), CSV and TSV, with the place of every row. A row is never split.

Excel values are those that Excel saved, dates in ISO form; empty rows and cells at a row's end are
left out, charts, comments and colours are not read, and the numbers of rows and cells are bounded.
CSV rows are numbered as in a spreadsheet: the first is 1, a blank line counts. A quote that is
never closed affects its own line only.
"""

from __future__ import annotations

import csv
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, time
from io import BytesIO
from itertools import islice, repeat
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document, Part
from agentkit.knowledge.loaders.archive import checked, core_metadata, reading
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.text import decoded
from agentkit.text.terms import clean

_MOST_CELLS = 2_000_000
_MOST_ROWS = 300_000
_LAST_ROW = 1 << 20
"""Of Excel itself."""
_MOST_COLUMNS = 200
_MOST_NAME = 100
_HEADER_WITHIN = 5
"""The names of the columns are searched in so many rows from the first."""
_CELL_NUMBER = re.compile(r"[-+]?[\d.,:\- ]*\d%?")
_NUMBER = re.compile(r"[-+]?[\d.,]*\d%?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_MOST_BROKEN = 100


@dataclass
class _Tally:
    """What has been read of a workbook."""

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
    """metadata["columns"] has the names of each sheet's columns, where they are found."""
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
    """Read values and formulas, which are two views of one book, side by side."""
    with _open_book(content, values=True) as book:
        if not has_formulas:
            for sheet in book.worksheets:
                _read_sheet(sheet, None, tally)
        else:
            with _open_book(content, values=False) as written:
                for sheet, formulas in zip(book.worksheets, written.worksheets, strict=True):
                    _read_sheet(sheet, formulas, tally)
        return core_metadata(book.properties)


@contextmanager
def _open_book(content: bytes, values: bool) -> Iterator[Any]:
    """Open a workbook for reading row by row, without the library's warnings about styles."""
    import openpyxl

    warnings.filterwarnings("ignore", module=r"openpyxl\.")
    book = openpyxl.load_workbook(
        BytesIO(content), read_only=True, data_only=values, keep_links=False
    )
    with closing(book):
        yield book


def _rows(sheet: Any) -> Iterator[tuple[Any, ...]]:
    """The rows from the first on, empty ones too. A sheet's stated size is not trusted."""
    sheet.reset_dimensions()
    yield from islice(sheet.iter_rows(), _LAST_ROW)


def _read_sheet(sheet: Any, formulas: Any, tally: _Tally) -> None:
    title = clean(sheet.title)
    seen = 0
    unsaved: list[int] = []
    written = _rows(formulas) if formulas is not None else repeat(())
    for number, (row, as_written) in enumerate(zip(_rows(sheet), written, strict=False), 1):
        if any(
            f.data_type == "f" and v.value is None for v, f in zip(row, as_written, strict=False)
        ):
            unsaved.append(number)
        values = [_cell_text(cell) for cell in row]
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


def _names_columns(values: list[str]) -> bool:
    """Whether these are two or more names, without numbers and gaps."""
    numbers = [v for v in values if _CELL_NUMBER.fullmatch(v) and not _YEAR.fullmatch(v)]
    return len(values) > 1 and all(values) and not numbers


def _cell_text(cell: Any) -> str:
    """A value about as Excel displays it: dates in ISO form, percentages with a %."""
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


def load_csv(content: bytes, source: str) -> Loaded:
    """The column names are in metadata["columns"], unless the first row has numbers."""
    text = decoded(content)
    lines = _LINE.findall(text)
    is_tsv = PurePosixPath(source).suffix.lower() == ".tsv"
    broken: list[int] = []
    parts: list[Part] = []
    columns: list[str] = []
    starts = _starts(lines)
    for number, (fields, first, last) in enumerate(
        _records(lines, "\t" if is_tsv else _delimiter(lines), broken), start=1
    ):
        row = text[starts[first] : starts[last]].rstrip("\r\n")
        if not row.strip():
            continue
        if not parts:
            columns = _header(fields)
        parts.append(Part("row", str(number), starts[first], starts[first] + len(row)))
    metadata = {"columns": columns} if columns else {}
    stem = PurePosixPath(source).stem
    document = Document(source, text, stem, metadata=metadata, format="rows", parts=tuple(parts))
    return Loaded(document, _warnings(broken))


def _starts(lines: Iterable[str]) -> list[int]:
    """Where each line begins, and where the last one ends."""
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    return starts


def _records(
    lines: list[str], delimiter: str, broken: list[int]
) -> Iterator[tuple[list[str], int, int]]:
    """The fields of each record and the range of its lines. A line with broken quotes is its
    own record; after a hundred of them every line is, since each restarts the parser."""
    begin = 0
    while begin < len(lines) and len(broken) < _MOST_BROKEN:
        reader = csv.reader(islice(lines, begin, None), delimiter=delimiter, strict=True)
        base = begin
        try:
            for fields in reader:
                yield fields, begin, base + reader.line_num
                begin = base + reader.line_num
        except csv.Error:
            broken.append(begin + 1)
            yield lines[begin].split(delimiter), begin, begin + 1
            begin += 1
    for at in range(begin, len(lines)):
        yield lines[at].split(delimiter), at, at + 1


def _delimiter(lines: list[str]) -> str:
    """The delimiter that splits most rows into the same number of fields, two or more."""

    def agreement(delimiter: str) -> tuple[float, int]:
        sample: list[int] = [
            len(fields)
            for fields, *_ in islice(_records(lines[:_SAMPLE_LINES], delimiter, []), _SAMPLE_LINES)
            if fields
        ]
        width, rows = Counter(sample).most_common(1)[0] if sample else (1, 0)
        return (rows / len(sample), width) if width > 1 else (0.0, 0)

    return max(_DELIMITERS, key=agreement)


def _header(fields: list[str]) -> list[str]:
    names = [" ".join(field[:_MOST_NAME].split()) for field in fields[:_MOST_COLUMNS]]
    numbers = [name for name in names if _NUMBER.fullmatch(name) and not _YEAR.fullmatch(name)]
    return [] if numbers or not any(names) else names


def _warnings(broken: list[int]) -> tuple[str, ...]:
    if not broken:
        return ()
    more = " and more" if len(broken) >= _MOST_BROKEN else ""
    named = ", ".join(map(str, broken[:10])) + (" ..." if len(broken) > 10 else more)
    return (f"quotes do not match or a field is too long, in line {named}: read line by line",)
