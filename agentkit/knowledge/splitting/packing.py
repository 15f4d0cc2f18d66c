"""Put the blocks of each section together into stretches that are not above a limit.

Sizes are counted many texts at a time and added up. A row stays whole whatever its size, and so
does what a reader sees as one character; headings stay with what follows them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from agentkit.knowledge.splitting.blocks import Block, CountMany, Section, Span
from agentkit.knowledge.splitting.cutting import finer

_MOST_CHARACTERS_A_TOKEN = 16
"""Above it a text is taken to be too long without being counted, which takes its time."""
_BATCH_CHARACTERS = 50_000
_FULL_ENOUGH = 0.75
"""How much of its due size a stretch must have to end early, where a page does."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A block and its tokens."""

    block: Block
    size: int


def packed(
    text: str, sections: Sequence[Section], count: CountMany, limit: int, seams: Sequence[int] = ()
) -> Iterator[tuple[str, Span]]:
    """(heading, span) of each chunk. `seams` are places, sorted, where a cut is as good as can be:
    the starts of pages."""
    whole = iter(sized(text, [b for s in sections for b in s.blocks], count, limit))
    pieces = [[next(whole) for _ in section.blocks] for section in sections]
    rooms = [room for of_section in pieces for room in _rooms(of_section, limit)]
    cut = iter(_cut_to(text, [p for of_section in pieces for p in of_section], rooms, count, limit))
    for section in sections:
        parts = [part for _ in section.blocks for part in next(cut)]
        for span in _stretches(parts, limit, section.even, seams):
            yield section.heading, span


def sized(text: str, blocks: Sequence[Block], count: CountMany, limit: int) -> list[Piece]:
    """Each block with its tokens; what is far too long is `limit` and one."""
    sizes = [limit + 1] * len(blocks)
    batch: list[int] = []
    characters = 0
    for at, block in enumerate(blocks):
        length = block.end - block.start
        if length <= _MOST_CHARACTERS_A_TOKEN * limit:
            batch.append(at)
            characters += length
        if batch and (characters >= _BATCH_CHARACTERS or at == len(blocks) - 1):
            counted = count([text[blocks[n].start : blocks[n].end] for n in batch])
            for n, size in zip(batch, counted, strict=True):
                sizes[n] = size
            batch, characters = [], 0
    return [Piece(block, size) for block, size in zip(blocks, sizes, strict=True)]


def _rooms(section: Sequence[Piece], limit: int) -> Iterator[int]:
    """What each block of a section may have: the first below the headings, what they leave."""
    headings = 0
    for piece in section:
        is_heading = piece.block.kind == "heading"
        yield limit if is_heading or headings > limit // 4 else limit - headings
        headings = headings + piece.size if is_heading else 0


def _cut_to(
    text: str, pieces: Sequence[Piece], rooms: Sequence[int], count: CountMany, limit: int
) -> list[list[Piece]]:
    """For each piece the pieces that it must be cut into, counted in rounds of all at once."""
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
    """Spans made of whole pieces, of about equal size or each as large as may be."""
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
        if size + piece.size > limit or is_full or (ends_page and not below_heading):
            yield start, end
            start, size = block.start, 0
        end, size = block.end, size + piece.size
        below_heading = block.kind == "heading"
    yield start, end


def _between(seams: Sequence[int], end: int, start: int) -> bool:
    """Whether a page starts after `end` and not after `start`."""
    at = bisect_right(seams, end)
    return at < len(seams) and seams[at] <= start
