"""Split a document into chunks along its structure, with exact offsets.

Markdown is split along headings, blocks and sentences, text along paragraphs and sentences, code at
functions, tables between rows. Every character that is not white space is in exactly one chunk,
except front matter, scripts and other markup that shows nothing. A chunk that continues a table has
its header as context. Sizes are in the embedder's tokens, counted block by block. A row of a table
is never split, so it alone may be above the limit; a sheet is a section, its columns the heading.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from agentkit.documents import Chunk, Document
from agentkit.knowledge.chunking.blocks import (
    SECTION_BLOCKS,
    Block,
    CountMany,
    Places,
    Section,
    Span,
    filled,
    in_order,
    one_line,
    trimmed,
)
from agentkit.knowledge.chunking.code import code_sections
from agentkit.knowledge.chunking.markdown import first_heading, front_matter, markdown_sections
from agentkit.knowledge.chunking.markup import is_markup_only
from agentkit.knowledge.chunking.packing import pack

_LONGEST_HEADING = 300


def row_sections(document: Document) -> Iterator[Section]:
    """One section for each sheet, a long sheet in several; text between rows belongs to the row
    after it."""
    text, columns = document.text, document.metadata.get("columns")
    blocks: list[Block] = []
    sheet, label, reached = "", "", 0
    for kind, row_label, row_start, row_end in in_order(document.parts).labelled():
        if kind not in ("row", "record"):
            continue
        start, end = max(row_start, reached), min(row_end, len(text))
        row_sheet = sheet if row_label == label else row_label.rpartition(", ")[0]
        if blocks and (row_sheet != sheet or len(blocks) >= SECTION_BLOCKS):
            yield Section(_heading(sheet, columns), tuple(blocks), even=False)
            blocks = []
        sheet, label = row_sheet, row_label
        if start < end:
            if text[reached:start].strip():
                blocks.append(trimmed(text, reached, start, "lines"))
            blocks += filled([trimmed(text, start, end, "row")])
            reached = end
    blocks += filled([trimmed(text, reached, len(text), "lines")])
    yield Section(_heading(sheet, columns), tuple(blocks), even=False)


def _heading(sheet: str, columns: Any) -> str:
    """ "Columns: a, b", after the sheet where there are sheets."""
    names = columns.get(sheet) if isinstance(columns, Mapping) else columns
    joined = ", ".join(map(str, names)) if isinstance(names, (list, tuple)) else ""
    parts = [sheet, f"Columns: {joined}" if joined else ""]
    heading = " ".join(" > ".join(part for part in parts if part).split())
    return heading if len(heading) <= _LONGEST_HEADING else heading[: _LONGEST_HEADING - 1] + "…"


__all__ = ["CountTokens", "chunks_of", "first_heading", "front_matter", "sections_of", "split"]

CountTokens = Callable[[str], int]

_BREAK = r"(?:\r\n|\n|\r)"
_BREAK_AT = re.compile(_BREAK)
_PARAGRAPH = re.compile(rf"\S(?:[^\r\n]++|{_BREAK}(?![ \t]*{_BREAK}))*+")
"""Possessive, since what could be given back takes a hundred bytes a character."""


def split(
    document: Document,
    count_tokens: CountTokens,
    limit: int,
    count_many: CountMany | None = None,
) -> list[Chunk]:
    """The chunks of a document, in order, as `chunks_of` yields them."""
    return list(chunks_of(document, count_tokens, limit, count_many))


def chunks_of(
    document: Document,
    count_tokens: CountTokens,
    limit: int,
    count_many: CountMany | None = None,
) -> Iterator[Chunk]:
    """Split a document into chunks, in order; the memory taken does not depend on how many they
    are. `limit` is the most tokens that a chunk may have. `count_many` counts many texts at once,
    where that is faster."""
    count = count_many or (lambda texts: [count_tokens(text) for text in texts])
    places = Places(document)
    tables: list[Block] = []
    is_code = document.format == "code"
    found = code_sections(document, count, limit) if is_code else _sections(document)
    sections = _noting(found, tables)
    for heading, span in pack(document.text, sections, count, limit, places.seams):
        if document.format != "markdown" or not is_markup_only(document.text[slice(*span)]):
            header = _table_header(document.text, tables, span)
            yield _chunk(document, heading, span, places, header)


def _noting(sections: Iterable[Section], tables: list[Block]) -> Iterator[Section]:
    """The sections, with their tables added to a list as they are read."""
    for section in sections:
        tables += (block for block in section.blocks if block.kind == "table")
        yield section


def sections_of(document: Document) -> list[Section]:
    """The sections of a document, in order: for code, those of its outermost definitions."""
    if document.format == "code":
        return code_sections(document)
    return list(_sections(document))


def _sections(document: Document) -> Iterator[Section]:
    match document.format:
        case "markdown":
            yield from markdown_sections(document.text)
        case "rows":
            yield from row_sections(document)
        case _:
            found = (m.span() for m in _PARAGRAPH.finditer(document.text))
            blocks = (trimmed(document.text, *span) for span in found)
            while some := tuple(islice(blocks, SECTION_BLOCKS)):
                yield Section("", some)


def _table_header(text: str, tables: Sequence[Block], span: Span) -> str:
    """The first row of the table that a span continues, "" for one that begins elsewhere."""
    at = bisect_left(tables, span[0], key=lambda table: table.start) - 1
    if at < 0 or tables[at].end <= span[0]:
        return ""
    start, end = tables[at].start, tables[at].end
    line_end = _BREAK_AT.search(text, start, end)
    return one_line(text[start : line_end.start() if line_end else end])


def _chunk(
    document: Document, heading: str, span: Span, places: Places, context: str = ""
) -> Chunk:
    start, end = span
    text = document.text[start:end]
    content = _digest(f"{document.title}\0{heading}\0{context}\0{text}")
    identity = _digest(f"{document.id}\0{content}\0{start}")[:20]
    named = (identity, document.id, document.source, document.title, heading, text)
    return Chunk(*named, start, end, places.page(start, end), places.part(start, end), context)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
