"""Pack the blocks of each section into chunks within a token limit, and split large blocks.

Sizes are counted for many texts at a time and added up. A table is split between rows, a list
between items, code between lines, prose between sentences, a sentence at a comma or a space near
its middle. A row is never split, nor is what a reader sees as one character: a surrogate pair, a
letter and its accents, an emoji sequence. Headings stay with what follows them.
"""

from __future__ import annotations

import math
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from agentkit.knowledge.chunking.blocks import (
    SECTION_BLOCKS,
    Block,
    CountMany,
    Kind,
    Section,
    Span,
    filled,
    line_starts,
    trimmed,
)
from agentkit.knowledge.chunking.markdown import item_starts
from agentkit.text.terms import sentences

_CLAUSE_END = re.compile(r"[，、；：,;:]")
_SPACE = re.compile(r"\s")
_FENCES = ("```", "~~~")
_STANZA_END = re.compile(r"(?:\r\n|\n|\r)(?:[ \t]*(?:\r\n|\n|\r))+")
_JOINERS = re.compile("[\u200c\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\u1160-\u11ff]")
_REGIONAL = re.compile("[\U0001f1e6-\U0001f1ff]")
_LEAST_ENCODED = 5000
_ENCODED_RUN = re.compile(rf"(?<![A-Za-z0-9+/=_-])[A-Za-z0-9+/=_-]{{{_LEAST_ENCODED},}}+")
_REPEATED_RUN = re.compile(r"(\S)(?<!\1\1)\1{999,}+")
_KEPT_OF_RUN = 200
_NEAR = 50
_LONGEST_RUN = 1000
"""The most characters examined on either side of a place, which bounds the time."""


def finer(text: str, block: Block) -> list[Block]:
    """The block in smaller blocks, in order and complete; none where it cannot be split."""
    cut = _CUTS.get(block.kind)
    found = _rejoined(text, filled(cut(text, block))) if cut else []
    return [] if found == [block] else found


def separable(text: str, at: int) -> bool:
    """Whether text[at - 1] and text[at] are two visible characters."""
    before, after = text[at - 1], text[at]
    if after.isascii():
        return not (before == "\u200d" or (before, after) == ("\r", "\n"))
    if before == "\u200d" or _JOINERS.match(after) or unicodedata.category(after)[0] == "M":
        return False
    if _REGIONAL.match(before) and _REGIONAL.match(after):
        return _flags_before(text, at) % 2 == 0
    return not ("\ud800" <= before <= "\udbff" and "\udc00" <= after <= "\udfff")


def _flags_before(text: str, at: int) -> int:
    start = at
    while start > max(0, at - _LONGEST_RUN) and _REGIONAL.match(text[start - 1]):
        start -= 1
    return at - start


def _rejoined(text: str, blocks: Sequence[Block]) -> list[Block]:
    """Join what was split within one visible character."""
    found: list[Block] = []
    for block in blocks:
        if found and found[-1].end == block.start and not separable(text, block.start):
            block = Block(found.pop().start, block.end, block.kind)
        found.append(block)
    return found


def _by_sentences(text: str, block: Block) -> Iterator[Block]:
    for start, end in sentences(text[block.start : block.end]):
        begin = block.start + start
        kind: Kind = "formula" if text.startswith("$$", begin) else "sentence"
        yield Block(begin, block.start + end, "code" if text.startswith(_FENCES, begin) else kind)


def _by_rows(text: str, block: Block) -> Iterator[Block]:
    """Split between rows; the first row keeps the head of the table."""
    starts = line_starts(text[block.start : block.end])[3:]
    return _at(text, block, [block.start + at for at in starts], "row", "row")


def _by_items(text: str, block: Block) -> Iterator[Block]:
    starts = item_starts(text, block.start, block.end)
    return _at(text, block, starts, "list", "list" if starts else "prose")


def _by_stanzas(text: str, block: Block) -> Iterator[Block]:
    ends = [match.end() for match in _STANZA_END.finditer(text, block.start, block.end)]
    return _at(text, block, ends, "lines", "lines")


def _by_lines(text: str, block: Block) -> Iterator[Block]:
    starts = [block.start + at for at in line_starts(text[block.start : block.end])]
    return _at(text, block, starts[1:], "sentence", "sentence")


def _at(text: str, block: Block, places: Sequence[int], kind: Kind, only: Kind) -> Iterator[Block]:
    """The block split at some places; `only` is its kind where there are none."""
    ends = [*places, block.end]
    for start, end in zip([block.start, *places], ends, strict=True):
        yield trimmed(text, start, end, kind if places else only)


def _by_halves(text: str, block: Block) -> Iterator[Block]:
    middle = _middle(text, block.start, block.end)
    if middle:
        yield trimmed(text, block.start, middle, "sentence")
        yield trimmed(text, middle, block.end, "sentence")


def _middle(text: str, start: int, end: int) -> int:
    """Where to split text[start:end]: after a clause or at a space in its middle half, else between
    two characters; 0 where it is a single one."""
    half, aside = (start + end) // 2, min((end - start) // 4, _LONGEST_RUN)
    near = min(aside, _NEAR)
    for pattern, reach in ((_CLAUSE_END, aside), (_SPACE, near), (_SPACE, aside)):
        places = (match.end() for match in pattern.finditer(text, half - reach, half + reach))
        good = [at for at in places if start < at < end and separable(text, at)]
        if good:
            return min(good, key=lambda at: abs(at - half))
    return next((at for at in _outward(start, end) if separable(text, at)), 0)


def _outward(start: int, end: int) -> Iterator[int]:
    """The places between, those nearest to the middle first."""
    half = (start + end) // 2
    for step in range(end - start):
        for at in (half + step, half - step):
            if start < at < end:
                yield at


_CUTS: Mapping[Kind, Callable[[str, Block], Iterator[Block]]] = {
    "prose": _by_sentences,
    "heading": _by_sentences,
    "sentence": _by_halves,
    "table": _by_rows,
    "list": _by_items,
    "formula": _by_lines,
    "code": _by_stanzas,
    "lines": _by_lines,
}

_MOST_CHARACTERS_A_TOKEN = 16
"""A text with more is too long without being counted, which is slow."""
_BATCH_CHARACTERS = 25_000
_MOST_CHARACTERS = 200_000
"""Characters of a long text that are split together."""
_FULL_ENOUGH = 0.75
"""The share of the target size from which a chunk may end early, at the end of a page."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A block and its number of tokens."""

    block: Block
    size: int


def pack(
    text: str, sections: Iterable[Section], count: CountMany, limit: int, seams: Sequence[int] = ()
) -> Iterator[tuple[str, Span]]:
    """(heading, span) of each chunk. `seams` are the sorted starts of pages, where a chunk ends
    best."""
    for group in _groups(text, sections):
        yield from _pack_group(text, group, count, limit, seams)


def _groups(text: str, sections: Iterable[Section]) -> Iterator[list[Section]]:
    """The sections some at a time, a very long one in parts: what packing keeps for each block
    takes more memory than its text."""
    group: list[Section] = []
    left_blocks, left_characters = SECTION_BLOCKS, _MOST_CHARACTERS
    for section in sections:
        for part in _portions(text, section):
            characters = part.blocks[-1].end - part.blocks[0].start if part.blocks else 0
            if group and (len(part.blocks) > left_blocks or characters > left_characters):
                yield group
                group, left_blocks, left_characters = [], SECTION_BLOCKS, _MOST_CHARACTERS
            group.append(part)
            left_blocks -= len(part.blocks)
            left_characters -= characters
    if group:
        yield group


def _portions(text: str, section: Section) -> Iterator[Section]:
    """The section in parts of bounded size, without encoded data."""
    blocks: list[Block] = []
    for block in _without_encoded(text, section.blocks):
        is_long = block.end - block.start > _MOST_CHARACTERS
        for piece in _bounded(text, block) if is_long else (block,):
            if blocks and piece.end - blocks[0].start > _MOST_CHARACTERS:
                yield Section(section.heading, tuple(blocks), section.even)
                blocks = []
            blocks.append(piece)
    yield Section(section.heading, tuple(blocks), section.even)


def _bounded(text: str, block: Block) -> Iterator[Block]:
    """A very long block in parts of its kind, cut at ends of lines where there are some."""
    start = block.start
    while block.kind != "row" and block.end - start > _MOST_CHARACTERS:
        far = start + _MOST_CHARACTERS
        at = 1 + max(text.rfind(end, start + _MOST_CHARACTERS // 2, far) for end in "\r\n")
        at = at or _middle(text, start, min(block.end, far + _MOST_CHARACTERS))
        if not at:
            break
        yield from filled([trimmed(text, start, at, block.kind)])
        start = at
    yield from filled([trimmed(text, start, block.end, block.kind)])


def _pack_group(
    text: str, sections: Sequence[Section], count: CountMany, limit: int, seams: Sequence[int]
) -> Iterator[tuple[str, Span]]:
    whole = iter(sized(text, [b for section in sections for b in section.blocks], count, limit))
    pieces = [[next(whole) for _ in section.blocks] for section in sections]
    rooms = [room for of_section in pieces for room in _rooms(of_section, limit)]
    cut = iter(_cut_to(text, [p for of_section in pieces for p in of_section], rooms, count, limit))
    for section, of_section in zip(sections, pieces, strict=True):
        parts = [part for _ in of_section for part in next(cut)]
        for span in _stretches(parts, limit, section.even, seams):
            yield section.heading, span


def _without_encoded(text: str, blocks: Sequence[Block]) -> list[Block]:
    """The blocks without the rest of each long run of encoded data or of one character, which has
    nothing to find and takes tokenizers ten seconds a megabyte."""
    found: list[Block] = []
    for block in blocks:
        if block.end - block.start < _LEAST_ENCODED:
            found.append(block)
            continue
        start = block.start
        runs = (p.finditer(text, block.start, block.end) for p in (_ENCODED_RUN, _REPEATED_RUN))
        for run in sorted(chain(*runs), key=lambda run: run.start()):
            if run.start() < start:
                continue
            found.append(trimmed(text, start, run.start() + _KEPT_OF_RUN, block.kind))
            start = run.end()
        found.append(trimmed(text, start, block.end, block.kind) if start > block.start else block)
    return filled(found)


def sized(text: str, blocks: Sequence[Block], count: CountMany, limit: int) -> list[Piece]:
    """Each block with its tokens, `limit` + 1 for one that is far too long."""
    sizes = [limit + 1] * len(blocks)
    batch: list[int] = []
    characters = 0
    for at, block in enumerate(blocks):
        length = block.end - block.start
        if length <= _MOST_CHARACTERS_A_TOKEN * limit:
            batch.append(at)
            characters += length
        if batch and (characters >= _BATCH_CHARACTERS or at == len(blocks) - 1):
            texts = [text[blocks[n].start : blocks[n].end] for n in batch]
            distinct = list(dict.fromkeys(texts))
            counted = dict(zip(distinct, count(distinct), strict=True))
            for n, each in zip(batch, texts, strict=True):
                sizes[n] = counted[each]
            batch, characters = [], 0
    return [Piece(block, size) for block, size in zip(blocks, sizes, strict=True)]


def _rooms(section: Sequence[Piece], limit: int) -> Iterator[int]:
    """The limit of each block of a section: for the first below headings, what these leave."""
    headings = 0
    for piece in section:
        is_heading = piece.block.kind == "heading"
        yield limit if is_heading or headings > limit // 4 else limit - headings
        headings = headings + piece.size if is_heading else 0


def _cut_to(
    text: str, pieces: Sequence[Piece], rooms: Sequence[int], count: CountMany, limit: int
) -> list[list[Piece]]:
    """For each piece the pieces that it must be split into, all counted together in each round."""
    done = [[piece] for piece in pieces]
    open_ = [at for at, piece in enumerate(pieces) if piece.size > rooms[at]]
    while open_:
        cuts = {
            (at, n): finer(text, piece.block)
            for at in open_
            for n, piece in enumerate(done[at])
            if piece.size > rooms[at]
        }
        new = iter(sized(text, [b for cut in cuts.values() for b in cut], count, limit))
        counted = {place: [next(new) for _ in cut] for place, cut in cuts.items() if cut}
        for at in open_:
            done[at] = [
                part for n, piece in enumerate(done[at]) for part in counted.get((at, n), [piece])
            ]
        open_ = sorted({at for at, _ in counted})
    return done


def _stretches(
    pieces: Sequence[Piece], limit: int, even: bool, seams: Sequence[int]
) -> Iterator[Span]:
    """Spans of whole pieces, of about equal size or as large as possible."""
    if not pieces:
        return
    total = sum(piece.size for piece in pieces)
    target = total / max(1, math.ceil(total / limit)) if even else limit
    start, end, size = pieces[0].block.start, pieces[0].block.end, pieces[0].size
    below_heading = pieces[0].block.kind == "heading"
    for piece in pieces[1:]:
        block = piece.block
        is_full = size + piece.size / 2 > target and not below_heading
        ends_page = size >= _FULL_ENOUGH * target and _between(seams, end, block.start)
        is_apart = block.start - end > _LONGEST_RUN  # Encoded data was left out between them.
        if size + piece.size > limit or is_full or is_apart or (ends_page and not below_heading):
            yield start, end
            start, size = block.start, 0
        end, size = block.end, size + piece.size
        below_heading = block.kind == "heading"
    yield start, end


def _between(seams: Sequence[int], end: int, start: int) -> bool:
    """Whether a page starts between `end` and `start`."""
    at = bisect_right(seams, end)
    return at < len(seams) and seams[at] <= start
