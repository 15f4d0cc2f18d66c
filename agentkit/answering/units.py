"""Answer units: the pieces of a passage that can answer a question by themselves.

A unit is a sentence, an item of a list, a lead-in with the list, table or code that it announces,
the rows of a table under their header, or a heading with the lines under it. Each is one or more
exact slices of its passage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import zip_longest
from typing import Literal

from agentkit.documents import Chunk, Passage
from agentkit.knowledge.chunking.blocks import Block, Section, Span
from agentkit.knowledge.chunking.markdown import item_starts, markdown_sections
from agentkit.text.terms import sentences

UnitKind = Literal["sentence", "item", "list", "row", "table", "code", "section"]

MAX_LIST = 700
"""The most characters of a printed list, table or code block."""

MAX_SECTION = 320
"""The most characters of a section, a paragraph or a piece of code that is a unit as a whole."""

MIN_SENTENCE = 30
"""The fewest characters of a heading that is a sentence rather than a name."""

_MARK = re.compile(r"(?:(?:\d{1,3}[.)]|[-*+>•])[ \t]+(?:\[[ xX]\][ \t]+)?)+")
_HEADING = re.compile(r"#{1,6}[ \t]+|(?:[ \t]*\n)?[=-]{3,}[ \t]*$")
_FENCE = re.compile(r"[ \t]*(?:```|~~~)")
_FENCE_LINE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_DELIMITER = re.compile(r"\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-*:?[ \t]*)*")
_LEAD_IN = re.compile(r"[:：]\s*(?:\*\*|__)?\s*$")
_MARKUP = re.compile(
    r"<!--[\s\S]*?(?:-->|\Z)|</?[A-Za-z][^<>\n]*>?|!?\[[^\]\n]*\]\([^)\n]*\)?|\w+://[^\s)>\]]+"
    r"|\[[^\]\n]*\]\[[^\]\n]*\]|^\.\. [\w|].*$|^(?:[ \t]*\|[\w-]+\|)+[ \t]*$|&#?\w{1,9};|[!-~]{60,}"
    r"|(?:\w+=[\w%+.-]*&){2}[^\s]*",
    re.MULTILINE,
)
"""HTML tags, images, links, addresses and directives."""
_TARGET = re.compile(r"(?<=\])\([^)\n]*\)?|\w+://[^\s)>\]]+")
"""The address of a link, and a bare one."""
_PIPED = re.compile(r"[ \t]*\|[^|\n]*\|[^\n]*")
_DATED = re.compile(r"\b(?:19|20)\d\d[-/.年]\d|\b\w{3,9}\.? (?:\d{1,2}, )?(?:19|20)\d\d\b")
"""A date, as in the heading of a release."""
_ROW_PLACE = re.compile(r"(?:^|, )rows? \d")
"""The end of a place in a table of its own: a CSV file or a sheet of a workbook."""
_SHEET_ROW = re.compile(r"(?:(?<![^,;\t\n])\"(?:[^\"]|\"\")*\"|[^\r\n])+")
"""A row of such a table: a line, whose quoted cells may have more."""
_BLANK_LINES = re.compile(r"\n(?:[ \t]*\n)+")
_WORD = re.compile(
    r"(?:^|(?<=[\s|(`'\"*_>]))[^\W\d_]{2,}(?=$|[\s|,.;:!?)`'\"*_-])|[\u3040-\u9fff]|\d"
)
_LEAST_PROSE = 0.4


def _is_prose(text: str) -> bool:
    """Whether a text says something beside links, badges and markup."""
    prose = _MARKUP.sub(" ", text)
    words = _WORD.findall(prose)
    letters = sum(map(str.isalnum, _TARGET.sub("", text)))
    return bool(words) and sum(map(str.isalnum, prose)) >= _LEAST_PROSE * letters


@dataclass(frozen=True)
class Unit:
    """A piece of a passage: `spans` are slices of the passage's text, in order. `lead` is the
    number of spans that introduce it: a lead-in, the header of a table, the line that opens a code
    block; `tail` the number of those that close it."""

    passage: Passage
    kind: UnitKind
    spans: tuple[Span, ...]
    heading: str = ""
    lead: int = 0
    is_cut: bool = False
    tail: int = 0

    @cached_property
    def text(self) -> str:
        """The unit as it is printed."""
        whole = self.passage.chunk.text
        is_joined = self.kind in ("row", "table", "list") or self.tail
        separator = "\n" if is_joined else "\n\n"
        text = separator.join(whole[start:end] for start, end in self.spans)
        if self.kind == "list" and self.lead:
            lead, _, items = text.partition("\n")
            text = f"{lead}\n\n{items}"
        return f"{text}\n…" if self.is_cut else text

    @property
    def sentences(self) -> list[str]:
        """Its sentences; rows and code are one, with what introduces them."""
        spans = [] if self.kind in ("row", "table", "code") else sentences(self.text)
        return [self.text[start:end] for start, end in spans] or [self.text]

    @property
    def own(self) -> Sequence[Span]:
        """The spans without what introduces and closes them."""
        return self.spans[self.lead : len(self.spans) - self.tail]

    @cached_property
    def body(self) -> str:
        """The text without its lead-in or header."""
        whole = self.passage.chunk.text
        return "\n".join(whole[start:end] for start, end in self.own)

    @property
    def range(self) -> Chunk:
        """Its place in the document, without what introduces and closes it."""
        chunk, own = self.passage.chunk, self.own
        return replace(chunk, start=chunk.start + own[0][0], end=chunk.start + own[-1][1])

    @property
    def start(self) -> int:
        return self.spans[0][0]

    @property
    def end(self) -> int:
        return self.spans[-1][1]

    @property
    def is_block(self) -> bool:
        """Whether it is printed in lines of its own."""
        return self.kind in ("row", "table", "code", "list", "section")


def split_units(passage: Passage) -> list[Unit]:
    """All units of a passage, in order; front matter and headings alone are none."""
    text = passage.chunk.text
    outer = passage.chunk.heading.split(" > ")[-1]
    found: list[Unit] = []
    if _ROW_PLACE.search(passage.chunk.part):
        found += _sheet_units(passage, outer)
    else:
        for section in markdown_sections(text):
            heading = section.heading.split(" > ")[-1] or outer
            found += _SectionUnits(passage, section, heading).units()
    return [unit for unit in found if _is_prose(unit.body)]


def _sheet_units(passage: Passage, columns: str) -> Iterator[Unit]:
    """The rows of a CSV file or a sheet, under their header where the passage begins with it."""
    text = passage.chunk.text
    lines = [match.span() for match in _SHEET_ROW.finditer(text) if match.group().strip()]
    names = re.sub(r"\W", "", columns)  # cut where they are long
    first = "".join(re.findall(r"\w", text[slice(*lines[0])])) if lines else ""
    has_header = len(names) > len("Columns") and f"Columns{first}".startswith(names)
    yield from _row_units(passage, columns, lines, int(has_header and len(lines) > 1))


def _row_units(passage: Passage, heading: str, lines: Sequence[Span], lead: int) -> Iterator[Unit]:
    """The rows of a table, each under the `lead` lines of its header, and the table as a whole."""
    header, rows = tuple(lines[:lead]), lines[lead:]
    for row in rows:
        yield Unit(passage, "row", (*header, row), heading, lead)
    if len(rows) > 1 and lines[-1][1] - lines[0][0] <= MAX_LIST:
        yield Unit(passage, "table", (*header, *rows), heading, lead)


class _SectionUnits:
    """Splits one section into units."""

    def __init__(self, passage: Passage, section: Section, heading: str) -> None:
        self._passage = passage
        self._text = passage.chunk.text
        self._section = section
        self._heading = heading

    def units(self) -> Iterator[Unit]:
        blocks = [b for b in self._section.blocks if self._is_content(b)]
        headings = [block for block in self._section.blocks if block.kind == "heading"]
        yield from self._long_headings(headings[:-1])
        if blocks and headings:
            yield from self._headed(headings[-1], blocks)
        elif headings:
            yield self._unit("sentence", (self._named(headings[-1]),))
        before: Block | None = None
        for block, after in zip_longest(blocks, blocks[1:]):
            announces = after is not None and after.kind in ("list", "table", "code")
            for unit in self._block_units(block, before):
                is_last = unit.kind == "sentence" and unit.end == block.end
                if not (announces and is_last and _LEAD_IN.search(unit.text)):
                    yield unit
            before = block

    def _headed(self, heading: Block, blocks: Sequence[Block]) -> Iterator[Unit]:
        """A heading with its section, else with the first paragraph, where that is short; and a
        heading with a date alone. Of a table the rows are units, not the section."""
        name = self._named(heading)
        start, end = blocks[0].start, blocks[-1].end
        is_whole = end - heading.start <= MAX_SECTION
        if not is_whole and blocks[0].kind == "prose":
            gap = _BLANK_LINES.search(self._text, start, blocks[0].end)
            end = gap.start() if gap else blocks[0].end
        announces = not is_whole and _LEAD_IN.search(self._text[start:end])
        has_table = any(block.kind == "table" and block.start < end for block in blocks)
        if end - heading.start <= MAX_SECTION and not announces and not has_table:
            yield self._unit("section", (name, (start, end)), lead=1)
        if _DATED.search(self._text, *name):
            yield self._unit("sentence", (name,))

    def _named(self, heading: Block) -> Span:
        """The span of a heading without its marks."""
        mark = _HEADING.match(self._text, heading.start)
        return (mark.end() if mark else heading.start), heading.end

    def _long_headings(self, headings: Sequence[Block]) -> Iterator[Unit]:
        """Headings with nothing under them that are sentences."""
        for heading in headings:
            start, end = self._named(heading)
            if end - start >= MIN_SENTENCE:
                yield self._unit("sentence", ((start, end),))

    def _is_content(self, block: Block) -> bool:
        text = self._text[block.start : block.end]
        return block.kind != "heading" and not text.startswith("---\n")

    def _unit(
        self,
        kind: UnitKind,
        spans: Sequence[Span],
        lead: int = 0,
        cut: bool = False,
        tail: int = 0,
    ) -> Unit:
        return Unit(self._passage, kind, tuple(spans), self._heading, lead, cut, tail)

    def _block_units(self, block: Block, before: Block | None) -> Iterator[Unit]:
        text = self._text[block.start : block.end]
        if block.kind == "table":
            yield from self._table_units(block, before)
        elif block.kind == "code" and _FENCE.match(text):
            yield from self._code_units(block, before)
        elif block.kind == "list":
            yield from self._list_units(block, before)
        else:
            yield from self._prose_units(block.start, block.end, "sentence")

    def _prose_units(self, start: int, end: int, kind: UnitKind) -> Iterator[Unit]:
        """The sentences of some prose, its rows, and its paragraphs of several sentences."""
        text = self._text
        ends = [
            (m.start() + start, m.end() + start) for m in _BLANK_LINES.finditer(text[start:end])
        ]
        begins = [start, *(after for _, after in ends)]
        for begin, stop in zip(begins, [*(before for before, _ in ends), end], strict=True):
            pieces = list(self._sentences(begin, stop, kind))
            if len(pieces) > 1 and pieces[-1].end - pieces[0].start <= MAX_SECTION:
                yield self._unit(kind, ((pieces[0].start, pieces[-1].end),))
            yield from pieces

    def _sentences(self, start: int, end: int, kind: UnitKind) -> Iterator[Unit]:
        for at, stop in sentences(self._text[start:end]):
            begin, stop = start + at, start + stop
            mark = _MARK.match(self._text, begin, stop)
            begin = mark.end() if mark else begin
            inside = self._text[begin:stop]
            if _is_prose(inside):
                yield self._unit("row" if _PIPED.fullmatch(inside) else kind, ((begin, stop),))

    def _lead_in(self, before: Block | None) -> tuple[Span, ...]:
        """The last sentence of the block before, where it announces this one."""
        if before is None or before.kind in ("table", "code"):
            return ()
        found = sentences(self._text[before.start : before.end])
        if not found:
            return ()
        start, end = (before.start + at for at in found[-1])
        mark = _MARK.match(self._text, start, end)
        return (((mark.end() if mark else start), end),)

    def _announced(self, before: Block | None) -> tuple[Span, ...]:
        lead = self._lead_in(before)
        return lead if lead and _LEAD_IN.search(self._text[lead[0][0] : lead[0][1]]) else ()

    def _code_units(self, block: Block, before: Block | None) -> Iterator[Unit]:
        lead = self._lead_in(before)
        is_closed = len(_FENCE_LINE.findall(self._text, block.start, block.end)) > 1
        if is_closed and block.end - block.start <= MAX_LIST:
            yield self._unit("code", (*lead, (block.start, block.end)), len(lead))
        if is_closed and block.end - block.start > MAX_SECTION:
            yield from self._code_pieces(block)

    def _code_pieces(self, block: Block) -> Iterator[Unit]:
        """The parts of a long code block between its empty lines, in the fence of the block."""
        inside = self._text[block.start : block.end]
        first, last = inside.find("\n"), inside.rfind("\n")
        opening = (block.start, block.start + first)
        closing = (block.start + last + 1, block.end)
        reached = first + 1
        for gap in [*_BLANK_LINES.finditer(inside, reached, last), None]:
            start, end = reached, gap.start() if gap else last
            is_short = end - start <= MAX_SECTION
            for line in [None] if is_short else re.finditer(r"[^\n]+", inside[start:end]):
                at, stop = line.span() if line else (0, end - start)
                part = (block.start + start + at, block.start + start + stop)
                if part[0] < part[1]:
                    yield self._unit("code", (opening, part, closing), lead=1, tail=1)
            reached = gap.end() if gap else last

    def _list_units(self, block: Block, before: Block | None) -> Iterator[Unit]:
        starts = [block.start, *item_starts(self._text, block.start, block.end)]
        starts = sorted(set(starts))
        items = [
            (start, start + len(self._text[start:end].rstrip()))
            for start, end in zip(starts, [*starts[1:], block.end], strict=True)
        ]
        lead = self._announced(before)
        kept = list[Span]()
        for item in items:
            if kept and item[1] - items[0][0] > MAX_LIST:
                break
            kept.append(item)
        if len(items) > 1 and kept[-1][1] - kept[0][0] <= MAX_LIST:
            yield self._unit("list", (*lead, *kept), len(lead), cut=len(kept) < len(items))
        for start, end in items:
            mark = _MARK.match(self._text, start, end)
            begin = mark.end() if mark else start
            pieces = list(self._prose_units(begin, end, "item"))
            if len(pieces) > 1 and end - begin <= MAX_SECTION:
                yield self._unit("item", ((begin, end),))
            yield from pieces

    def _table_units(self, block: Block, before: Block | None) -> Iterator[Unit]:
        lines = list(self._lines(block))
        has_header = len(lines) > 2 and _DELIMITER.fullmatch(self._text[slice(*lines[1])].strip())
        yield from _row_units(self._passage, self._heading, lines, 2 if has_header else 0)

    def _lines(self, block: Block) -> Iterator[Span]:
        for match in re.finditer(r"[^\n]+", self._text[block.start : block.end]):
            if match.group().strip():
                yield block.start + match.start(), block.start + match.end()
