"""Documents, their chunks, the hits of a search, and passages that an answer can cite."""

from __future__ import annotations

import json
import re
import struct
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args, overload

Format = Literal["markdown", "text", "code", "rows"]
"""How a document is chunked: at headings, at paragraphs, at functions, or between rows."""

PartKind = Literal["page", "slide", "row", "cell", "line", "record", "message", "chapter", "file"]


@dataclass(frozen=True, slots=True)
class Part:
    """A page, slide, row or the like: `text[start:end]` of a document, and its name there.

    `name` is "12", or with its sheet, "Prices, 12".
    """

    kind: PartKind
    name: str
    start: int
    end: int


_NUMBERED = re.compile(r"(.*?)(0|[1-9][0-9]{0,8})", re.DOTALL)
_SIZES = struct.Struct("<II")
_WORDS = 4
"""Columns of the table in `Parts`, of 4 bytes each."""


class Parts(Sequence[Part]):
    """The parts of a document in 16 bytes each: a table may have a million rows. Names are kept as
    a label, such as "Prices, ", and a number."""

    def __init__(self, parts: Iterable[Part] = ()) -> None:
        self._labels: list[tuple[PartKind, str]] = []
        self._columns = tuple(array("I") for _ in range(_WORDS))
        known: dict[tuple[PartKind, str], int] = {}
        labels, numbers, starts, ends = self._columns
        for part in parts:
            match = _NUMBERED.fullmatch(part.name)
            label = (part.kind, match[1] if match else part.name)
            if label not in known:
                known[label] = len(self._labels)
                self._labels.append(label)
            labels.append(known[label])
            numbers.append(int(match[2]) + 1 if match else 0)
            starts.append(part.start)
            ends.append(part.end)

    @classmethod
    def of(cls, parts: Sequence[Part]) -> Parts:
        """The same parts, in this form."""
        return parts if isinstance(parts, cls) else cls(parts)

    @property
    def starts(self) -> Sequence[int]:
        return self._columns[2]

    @property
    def ends(self) -> Sequence[int]:
        return self._columns[3]

    @property
    def kinds(self) -> frozenset[PartKind]:
        return frozenset(kind for kind, _ in self._labels)

    @property
    def last_page(self) -> int | None:
        """The number of the last page or slide, None where the last part is none."""
        last = self[-1] if len(self) else None
        is_page = last and last.kind in ("page", "slide") and last.name.isdecimal()
        return int(last.name) if last and is_page else None

    def touching(self, start: int, end: int) -> Iterator[Part]:
        """The parts that `text[start:end]` overlaps."""
        for at, (first, last) in enumerate(zip(self.starts, self.ends, strict=True)):
            if first < end and start < last:
                yield self[at]

    def labelled(self) -> Iterator[tuple[PartKind, str, int, int]]:
        """Kind, name without its number, start and end of each part."""
        labels, _, starts, ends = self._columns
        for label, start, end in zip(labels, starts, ends, strict=True):
            yield *self._labels[label], start, end

    def __len__(self) -> int:
        return len(self._columns[0])

    @overload
    def __getitem__(self, index: int) -> Part: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Part, ...]: ...
    def __getitem__(self, index: int | slice) -> Part | tuple[Part, ...]:
        if isinstance(index, slice):
            return tuple(self[at] for at in range(*index.indices(len(self))))
        label, number, start, end = (column[index] for column in self._columns)
        kind, name = self._labels[label]
        return Part(kind, f"{name}{number - 1}" if number else name, start, end)

    def __iter__(self) -> Iterator[Part]:
        for label, number, start, end in zip(*self._columns, strict=True):
            kind, name = self._labels[label]
            yield Part(kind, f"{name}{number - 1}" if number else name, start, end)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Parts):
            return self.to_bytes() == other.to_bytes()
        return tuple(self) == other

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __repr__(self) -> str:
        return repr(tuple(self))

    def to_bytes(self) -> bytes:
        """The parts for another process, or to be hashed; `from_bytes` reads them."""
        head = json.dumps(self._labels).encode()
        return b"".join((_SIZES.pack(len(head), len(self)), head, *self._columns))

    @classmethod
    def from_bytes(cls, content: bytes) -> Parts:
        """Read what `to_bytes` wrote. Raises ValueError."""
        found = cls()
        try:
            size, count = _SIZES.unpack_from(content)
            at = _SIZES.size + size
            labels = json.loads(content[at - size : at])
            found._labels = [(_part_kind(kind), str(name)) for kind, name in labels]
            if len(content) != at + _WORDS * 4 * count:
                raise ValueError("the table of parts ends early")
        except (struct.error, TypeError) as error:
            raise ValueError(f"not a table of parts: {error}") from error
        view = memoryview(content)
        for number, column in enumerate(found._columns):
            column.frombytes(view[at + number * 4 * count : at + (number + 1) * 4 * count])
        if count and max(found._columns[0]) >= len(found._labels):
            raise ValueError("a part without a label")
        return found


def _part_kind(kind: str) -> PartKind:
    if kind not in get_args(PartKind):
        raise ValueError(f"unknown kind of part: {kind}")
    return cast(PartKind, kind)


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it comes from.

    `text` is the decoded file, or the text extracted from a binary file; offsets refer to it.
    `parts` are its pages, slides or rows in order, if it has any. `id` is empty until a knowledge
    base assigns one; `source` names the document there.
    """

    source: str
    text: str
    title: str = ""
    id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    format: Format = "markdown"
    parts: Sequence[Part] = ()


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document: `document.text[start:end] == chunk.text`, always.

    `heading` is the path of headings above it, outermost first, joined by " > "; `part` the pages,
    slides, rows or lines that it covers, for people: "slides 3-4", "Prices, rows 2-9". `context` is
    the header of the table that the chunk continues, "" for any other chunk.
    """

    id: str
    document_id: str
    source: str
    title: str
    heading: str
    text: str
    start: int
    end: int
    page: int | None = None
    part: str = ""
    context: str = ""

    @property
    def place(self) -> str:
        """Its place, for people: file, page and the headings below the title."""
        part = self.part or (f"page {self.page}" if self.page is not None else "")
        path = self.heading.split(" > ")
        is_named = path[0].startswith(self.title) or part.startswith(f"{path[0]}, ")
        below = path[1:] if is_named else path
        return " > ".join([self.source, *(name for name in (part, *below) if name)])


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search found. `score` is a relevance from 0 to 1, comparable across queries;
    the ranks are its places (from 1) in the results of the two retrievers, None where one did not
    find it. Its scores by each step: `cosine` of the vectors, `keywords`, the share of the query's
    words that it has, weighed by rarity, None for a query in another script, and `late` by late
    interaction, None where it has none."""

    chunk: Chunk
    score: float
    dense_rank: int | None = None
    keyword_rank: int | None = None
    late: float | None = None
    cosine: float | None = None
    keywords: float | None = None


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that a model was shown, with the marker by which an answer cites it. `relevance` is
    from 0 to 1, None where no search ranked it, such as for an attached file. `above` is the
    marker of an earlier passage of the conversation that has all of its text: a model then reads
    a reference to that in place of the text."""

    marker: str
    chunk: Chunk
    relevance: float | None = None
    above: str = ""


def part_of(parts: Iterable[Part], start: int, end: int) -> str:
    """The parts that `text[start:end]` overlaps, for people: "page 3", "slides 3-4",
    "Prices, rows 2-9"; "" if there are none."""
    met = [part for part in parts if part.start < end and start < part.end]
    if not met:
        return ""
    first, last = met[0], met[-1]
    if first == last:
        return _part_name(first.kind, first.name)
    before, _, name = first.name.rpartition(", ")
    before_last, _, last_name = last.name.rpartition(", ")
    if first.kind != last.kind or before != before_last:
        return f"{_part_name(first.kind, first.name)} to {_part_name(last.kind, last.name)}"
    return f"{before + ', ' if before else ''}{first.kind}s {name}-{last_name}"


def page_of(parts: Iterable[Part], start: int, end: int) -> int | None:
    """The first page or slide that `text[start:end]` overlaps, None if there is none."""
    return next(
        (
            int(part.name)
            for part in parts
            if part.start < end and start < part.end and part.kind in ("page", "slide")
        ),
        None,
    )


def _part_name(kind: PartKind, name: str) -> str:
    before, _, last = name.rpartition(", ")
    return f"{before + ', ' if before else ''}{kind} {last}"
