"""CSV and TSV as they stand, with the place of every row. A row is never split.

Rows are numbered as a spreadsheet shows them: the first is 1, a blank line counts. A quote that is
never closed costs its own line only.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import PurePosixPath

from agentkit.documents import Document, Part
from agentkit.knowledge.loaders.base import Loaded
from agentkit.knowledge.loaders.decoding import decoded

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
_NUMBER = re.compile(r"[-+]?[\d.,]*\d%?")
_YEAR = re.compile(r"(?:19|20)\d\d")
_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50
_MOST_BROKEN = 100
_MOST_COLUMNS = 200
_MOST_NAME = 100


def load_csv(content: bytes, source: str) -> Loaded:
    """The column names are in metadata["columns"], unless the first row holds numbers."""
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
    """The fields of each record and the range of its lines. A line that breaks the format stands
    for itself; after a hundred of them all do, since each costs a new start."""
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
    """The one that cuts most rows into the same number of fields, two or more."""

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
