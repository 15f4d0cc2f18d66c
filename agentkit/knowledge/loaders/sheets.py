"""Load Excel workbooks (.xlsx) with the place of every row. A row is never split.

Values are those that Excel saved, numbers in their format and dates in ISO form; a merged value
stands in all of its cells, and the names of the columns may be below titles and in two rows. Empty
rows and cells at a row's end are left out, comments and text boxes stand at the end of their row,
charts and colours are not read, and the numbers of rows and cells are bounded.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from io import BytesIO
from itertools import islice, repeat
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document, Part
from agentkit.knowledge.loaders.archive import (
    checked,
    core_metadata,
    parsed,
    reading,
    relations_of,
    repacked,
)
from agentkit.knowledge.loaders.charts import diagram_block
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.notation import shifted
from agentkit.knowledge.loaders.number_format import formatted, formatted_date
from agentkit.knowledge.loaders.tables import Span, table
from agentkit.text.terms import clean

_MOST_CELLS = 2_000_000
_MOST_ROWS = 300_000
_LAST_ROW = 1 << 20
"""Of Excel itself."""
_MOST_COLUMNS = 200
_MOST_NAME = 100
_MOST_MERGED = 20_000
_HEADER_WITHIN = 8
"""The names of the columns are searched in so many rows from the first."""
_SHEET = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_FORMULAS = (b"<f>", b"<f ", b":f>", b":f ")
_RICH = (b"vertAlign", b"strike")
"""Some programs write `<x:f>`, with a prefix."""
_MERGED = b"mergeCell "
_MERGE = re.compile(rb'[<:]mergeCell ref="([A-Z]{1,3}\d{1,7}:[A-Z]{1,3}\d{1,7})"')
_ROW = re.compile(r"\d{1,7}$")
_COPY = "[Threaded comment]"
"""The begin of a comment that repeats a thread for versions that do not know them."""
_CELL_NUMBER = re.compile(r"[-+]?[\d.,:\- ]*\d%?")
_YEAR = re.compile(r"(?:19|20)\d\d")


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
    marks = checked(content, ".xlsx", marks=(*_FORMULAS, _MERGED))
    tally = _Tally()
    with reading(".xlsx", "Excel"):
        has_formulas = any(marks[mark] for mark in _FORMULAS)
        metadata = core_metadata(content)
        _read(repacked(content, ".xlsx", _rewritten), tally, has_formulas, marks[_MERGED])
    if tally.columns:
        metadata["columns"] = tally.columns
    title = str(metadata.get("title") or PurePosixPath(source).stem)
    text, parts = "\n".join(tally.lines), tuple(tally.parts)
    document = Document(source, text, title, metadata=metadata, format="rows", parts=parts)
    return Loaded(document, tuple(tally.warnings))


def _rewritten(name: str, data: bytes) -> bytes:
    """A part of a workbook with what is read of it alone, since the library refuses a file for any
    other value that it does not know. Rich text is written by the convention of `notation`."""
    file = name.rpartition("/")[2]
    is_rich = name.endswith(".xml") and any(mark in data for mark in _RICH)
    if not is_rich and file not in ("styles.xml", "workbook.xml"):
        return data
    from lxml import etree

    root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, huge_tree=True))
    if file == "styles.xml":
        root = _plain_styles(root)
    elif file == "workbook.xml":
        for child in list(root):
            if child.tag not in (f"{_SHEET}workbookPr", f"{_SHEET}sheets"):
                root.remove(child)
    else:
        for item in root.iter(f"{_SHEET}si", f"{_SHEET}is"):
            _write_plain(item)
    return bytes(etree.tostring(root))


def _plain_styles(root: Any) -> Any:
    """A style sheet that says of each style its number format and whether it is struck out."""
    from lxml.etree import SubElement

    plain = root.makeelement(root.tag, nsmap={None: _SHEET[1:-1]})
    formats, fonts, styles = (
        SubElement(plain, f"{_SHEET}{name}") for name in ("numFmts", "fonts", "cellXfs")
    )
    for code in root.findall(f"{_SHEET}numFmts/{_SHEET}numFmt"):
        if code.get("numFmtId", "").isdigit() and code.get("formatCode"):
            formats.append(code)
    for struck in (False, True):
        SubElement(SubElement(fonts, f"{_SHEET}font"), f"{_SHEET}strike", val=str(int(struck)))
    struck_fonts = {
        str(at)
        for at, font in enumerate(root.iterfind(f"{_SHEET}fonts/{_SHEET}font"))
        for strike in font.iterfind(f"{_SHEET}strike")
        if strike.get("val", "1") in ("1", "true")
    }
    for style in root.iterfind(f"{_SHEET}cellXfs/{_SHEET}xf"):
        font = str(int(style.get("fontId", "0") in struck_fonts))
        code = style.get("numFmtId", "0")
        SubElement(styles, f"{_SHEET}xf", numFmtId=code if code.isdigit() else "0", fontId=font)
    return plain


def _write_plain(item: Any) -> None:
    """Join the runs of a text: raised, lowered and struck-out ones by their properties."""
    runs = item.findall(f"{_SHEET}r")
    if not runs:
        return
    pieces = []
    for run in runs:
        properties = {child.tag: child.get("val", "1") for child in run.findall(f"{_SHEET}rPr/*")}
        align = properties.get(f"{_SHEET}vertAlign", "")
        if properties.get(f"{_SHEET}strike", "0") not in ("1", "true"):
            kind = align if align in ("superscript", "subscript") else ""
            pieces.append((run.findtext(f"{_SHEET}t") or "", kind))
        item.remove(run)
    plain = item.makeelement(f"{_SHEET}t")
    plain.text = shifted(pieces)
    item.insert(0, plain)


def _read(content: bytes, tally: _Tally, has_formulas: bool, has_merged: bool) -> None:
    """Read values and formulas, which are two views of one book, side by side."""
    with _open_book(content, values=True) as book:
        written = nullcontext(None) if not has_formulas else _open_book(content, values=False)
        with zipfile.ZipFile(BytesIO(content)) as archive, written as other:
            formulas = other.worksheets if other is not None else [None] * len(book.worksheets)
            for sheet, with_formulas in zip(book.worksheets, formulas, strict=True):
                path = sheet._worksheet_path
                spans = _merged(archive.read(path)) if has_merged else []
                _read_sheet(sheet, with_formulas, spans, _remarks(archive, path), tally)


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


def _merged(sheet: bytes) -> list[Span]:
    """The merged cells of a sheet, which the library does not give when it reads by row."""
    from openpyxl.utils.cell import range_boundaries

    found = _MERGE.findall(sheet)[:_MOST_MERGED]
    spans = []
    for reference in found:
        left, top, right, bottom = range_boundaries(reference.decode())
        if None not in (left, top, right, bottom):
            spans.append(Span(top, left - 1, bottom - top + 1, right - left + 1))
    return sorted(spans)


def _remarks(archive: zipfile.ZipFile, path: str) -> dict[int, list[str]]:
    """Row number -> what is written over the row: comments of its cells, and the text boxes and
    drawings that begin there. `path` is that of the sheet."""
    found: dict[int, list[str]] = defaultdict(list)
    for kind, part in relations_of(archive, path):
        if kind in ("comments", "threadedComment"):
            for comment in parsed(archive.read(part)).iter("{*}comment", "{*}threadedComment"):
                text = _joined(comment)
                row = _ROW.search(comment.get("ref", ""))
                if row and text and not text.startswith(_COPY):
                    found[int(row[0])].append(f"Comment on {comment.get('ref')}: {text}")
        elif kind == "drawing":
            for anchor in parsed(archive.read(part)):
                row = _ROW.search(anchor.findtext("{*}from/{*}row", ""))
                boxes = [_joined(box) for box in anchor.iter("{*}txBody")]
                found[int(row[0]) + 1 if row else 1] += filter(None, boxes)
            for inner, data in relations_of(archive, part):
                if inner == "diagramData" and (block := diagram_block(archive.read(data))):
                    found[1].append(" ".join(block.split()))
    return {row: texts for row, texts in found.items() if texts}


def _joined(element: Any) -> str:
    """The text in an element, its paragraphs and lines apart, without the readings of ruby."""
    pieces = []
    for child in element.iter("{*}t", "{*}text", "{*}p", "{*}br"):
        if child.getparent() is None or not child.getparent().tag.endswith("rPh"):
            pieces.append(" " if child.tag.endswith(("}p", "}br")) else child.text or "")
    return " ".join(clean("".join(pieces)).split())


def _rows(sheet: Any) -> Iterator[tuple[Any, ...]]:
    """The rows from the first on, empty ones too. A sheet's stated size is not trusted."""
    sheet.reset_dimensions()
    yield from islice(sheet.iter_rows(), _LAST_ROW)


def _read_sheet(
    sheet: Any, formulas: Any, spans: list[Span], remarks: dict[int, list[str]], tally: _Tally
) -> None:
    title = clean(sheet.title) + ("" if sheet.sheet_state == "visible" else " (hidden)")
    unsaved: list[int] = []
    top: list[tuple[int, list[str]]] = []
    written = _rows(formulas) if formulas is not None else repeat(())
    merges = _Merges(spans)
    struck = _struck_styles(sheet.parent)
    for number, (row, as_written) in enumerate(zip(_rows(sheet), written, strict=False), 1):
        if any(
            f.data_type == "f" and v.value is None for v, f in zip(row, as_written, strict=False)
        ):
            unsaved.append(number)
        values = [
            "" if struck and getattr(cell, "_style_id", None) in struck else _cell_text(cell)
            for cell in row
        ]
        tally.cells += merges.fill(number, values)
        while values and not values[-1]:
            values.pop()
        written_over = remarks.pop(number, [])
        if not values and not written_over:
            continue
        if len(tally.parts) >= _MOST_ROWS or tally.cells >= _MOST_CELLS:
            tally.warnings.append(f"{title}: rows from {number} on were left out, it has too many")
            break
        if values and len(top) < _HEADER_WITHIN:
            top.append((number, values))
        tally.cells += len(values)
        tally.add(title, number, " | ".join([*values, *written_over]))
    for number, below in sorted(remarks.items()):
        tally.add(title, number, " | ".join(below))
    if columns := _columns(top, spans):
        tally.columns[title] = columns
    if unsaved:
        places = f"{len(unsaved)} row{'s' if len(unsaved) > 1 else ''} from {unsaved[0]} on"
        tally.warnings.append(
            f"{title}: formulas without a saved value in {places}. Open it in Excel and save it"
        )


def _struck_styles(book: Any) -> frozenset[int]:
    """The cell styles whose font is struck out."""
    fonts = [bool(font.strike) for font in book._fonts]
    styles = enumerate(book._cell_styles) if any(fonts) else ()
    return frozenset(at for at, style in styles if fonts[style.fontId])


class _Merges:
    """The merged cells of a sheet, followed from row to row. `spans` are in order."""

    def __init__(self, spans: list[Span]) -> None:
        self._waiting = deque(spans)
        self._open: list[tuple[Span, str]] = []

    def fill(self, number: int, values: list[str]) -> int:
        """Put merged values where they cover a row; returns how many cells that were."""
        self._open = [(s, text) for s, text in self._open if number < s.row + s.rows]
        while self._waiting and self._waiting[0].row <= number:
            span = self._waiting.popleft()
            if span.row == number and span.column < len(values) and values[span.column]:
                self._open.append((span, values[span.column]))
        count = 0
        for span, text in self._open:
            end = min(span.column + span.columns, _MOST_COLUMNS)
            values.extend([""] * (end - len(values)))
            for column in range(span.column, end):
                values[column] = values[column] or text
                count += 1
        return count


def _columns(top: list[tuple[int, list[str]]], spans: list[Span]) -> list[str]:
    """The names of the columns, in the first row that has only names; [] where there is none."""
    numbers = {number: at for at, (number, _) in enumerate(top)}
    inside = [s._replace(row=numbers[s.row]) for s in spans if s.row in numbers]
    rows = table([values for _, values in top], inside).rows
    for row in rows:
        values = [value[:_MOST_NAME] for value in row[:_MOST_COLUMNS]]
        while values and not values[-1]:
            values.pop()
        if _names_columns(values):
            return values
    return []


def _names_columns(values: list[str]) -> bool:
    """Whether these are two or more names, without numbers and gaps."""
    numbers = [v for v in values if _CELL_NUMBER.fullmatch(v) and not _YEAR.fullmatch(v)]
    return len(values) > 1 and all(values[1:]) and any(values) and not numbers


def _cell_text(cell: Any) -> str:
    """A value about as Excel displays it, dates in ISO form."""
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    try:
        code = str(cell.number_format)
    except (IndexError, TypeError):  # The file names a style that it does not have.
        code = "General"
    if isinstance(value, date | time | timedelta):
        return formatted_date(value, code)
    if isinstance(value, int | float):
        return formatted(value, code)
    return " ".join(clean(str(value)).split())
