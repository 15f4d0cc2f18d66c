"""Load CSV and TSV as they are, with the place of every row. A row is never split.

Rows are numbered as in a spreadsheet: the first is 1, a blank line counts. The names of the columns
may be below a title, a comment or `sep=;`. A quote that is never closed affects its own line only.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import PurePosixPath

from agentkit.documents import Document, Part
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.text import decoded

_MOST_COLUMNS = 200
_MOST_NAME = 100
_NUMBER = re.compile(r"[-+]?[\d.,]*\d%?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_SEPARATOR = re.compile(r"sep=(.)", re.IGNORECASE)
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_MOST_BROKEN = 100


def load_csv(content: bytes, source: str) -> Loaded:
    """The column names are in metadata["columns"], unless the first row has numbers."""
    text = decoded(content)
    lines = _LINE.findall(text)
    is_tsv = PurePosixPath(source).suffix.lower() == ".tsv"
    broken: list[int] = []
    parts: list[Part] = []
    columns: list[str] = []
    starts = _starts(lines)
    searched = False
    delimiter = "\t" if is_tsv else _delimiter(lines)
    width = _width(lines, delimiter)
    for number, (fields, first, last) in enumerate(_records(lines, delimiter, broken), start=1):
        row = text[starts[first] : starts[last]].rstrip("\r\n")
        if not row.strip():
            continue
        if not columns and not searched and not _is_preamble(row, fields, width):
            columns, searched = _header(fields), True
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
    """The delimiter that the first line names, or the one that splits most rows into one number
    of fields, two or more."""
    if lines and (named := _SEPARATOR.fullmatch(lines[0].strip())):
        return named[1]

    def agreement(delimiter: str) -> tuple[float, int]:
        sample: list[int] = [
            len(fields)
            for fields, *_ in islice(_records(lines[:_SAMPLE_LINES], delimiter, []), _SAMPLE_LINES)
            if fields
        ]
        width, rows = Counter(sample).most_common(1)[0] if sample else (1, 0)
        return (rows / len(sample), width) if width > 1 else (0.0, 0)

    return max(_DELIMITERS, key=agreement)


def _width(lines: list[str], delimiter: str) -> int:
    """The most frequent number of fields in the first records."""
    sample = islice(_records(lines[:_SAMPLE_LINES], delimiter, []), _SAMPLE_LINES)
    counts = Counter(len(fields) for fields, *_ in sample if fields)
    return counts.most_common(1)[0][0] if counts else 1


def _is_preamble(row: str, fields: list[str], width: int) -> bool:
    """Whether a line stands above the head: `sep=;`, a comment, or a title of one field."""
    if _SEPARATOR.fullmatch(row.strip()) or row.lstrip().startswith(("#", "//")):
        return True
    return width > 1 and sum(1 for field in fields if field.strip()) < 2


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
