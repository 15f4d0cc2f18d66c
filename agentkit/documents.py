"""Documents, their chunks, the hits of a search, and passages that an answer can cite."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
    parts: tuple[Part, ...] = ()


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
        below = path[1:] if path[0].startswith(self.title) else path
        return " > ".join([self.source, *(name for name in (part, *below) if name)])


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search found. `score` is a relevance from 0 to 1, comparable across queries;
    the ranks are its places (from 1) in the results of the two retrievers, None where one did not
    find it. `late` is its score by late interaction, None where it has none."""

    chunk: Chunk
    score: float
    dense_rank: int | None = None
    keyword_rank: int | None = None
    late: float | None = None


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
