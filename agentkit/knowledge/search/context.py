"""What a model reads of the hits: each with the section around it, as many as fit its context.

What is searched is small, so that it is found; what is read may be larger, so that it is
understood. A passage never grows beyond its section. Passages stay whole; only the last one that
fits is shortened, at the end of a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from agentkit.documents import Chunk, Document
from agentkit.knowledge.chunking.blocks import Block, Places, Section, Span
from agentkit.knowledge.chunking.packing import Piece, finer
from agentkit.knowledge.chunking.splitter import CountTokens, sections_of
from agentkit.knowledge.search.lookup import Lookup
from agentkit.text.terms import sentences

_COARSE = 4
"""A paragraph above this part of the room is taken sentence by sentence."""
_REACH = 16
"""Characters for each token of the room within which a passage can grow at all."""


def widen(lookup: Lookup, chunk: Chunk, room: int, count_tokens: CountTokens) -> Chunk:
    """The chunk with what is around it in its section, as `widened` does it; as it is where its
    document has changed since. Reads the section, not the document."""
    if count_tokens(chunk.text) >= room:
        return chunk
    excerpt = lookup.excerpt_around(chunk, _REACH * room)
    if excerpt is None:
        return chunk
    local = replace(chunk, start=chunk.start - excerpt.start, end=chunk.end - excerpt.start)
    if excerpt.document.text[local.start : local.end] != chunk.text:
        return chunk
    wide = widened(excerpt.document, local, room, count_tokens, excerpt.first_line)
    return replace(wide, start=wide.start + excerpt.start, end=wide.end + excerpt.start)


def widened(
    document: Document,
    chunk: Chunk,
    room: int,
    count_tokens: CountTokens,
    first_line: int = 1,
) -> Chunk:
    """The chunk grown to its whole section where that has at most `room` tokens, else by the
    paragraphs before and after it, evenly; as it is where it fills the room already.

    It keeps the id of the hit: a citation's number belongs to an id, so the same hit has the same
    number whatever the room was. Text, offsets, page and part are those of the grown passage.
    """
    has_room = count_tokens(chunk.text) < room
    section = _section_of(sections_of(document), chunk) if has_room else None
    if section is None:
        return chunk
    text = document.text
    blocks = section.blocks
    whole = (min(blocks[0].start, chunk.start), max(blocks[-1].end, chunk.end))

    def fits(span: Span) -> bool:
        is_near = span[1] - span[0] <= _REACH * room
        return is_near and count_tokens(text[span[0] : span[1]]) <= room

    span = whole if fits(whole) else _grown(text, blocks, chunk, room, count_tokens)
    return (
        chunk if span == (chunk.start, chunk.end) else _at_span(document, chunk, span, first_line)
    )


def _section_of(sections: Sequence[Section], chunk: Chunk) -> Section | None:
    """The section that holds the chunk, None where the text has changed."""
    for section in sections:
        blocks = section.blocks
        if blocks and blocks[0].start <= chunk.start and chunk.end <= blocks[-1].end:
            return section
    return None


def _grown(
    text: str, blocks: Sequence[Block], chunk: Chunk, room: int, count_tokens: CountTokens
) -> Span:
    """The span of the chunk with as much on both sides as there is room for."""
    left = room - count_tokens(chunk.text)
    near = _near(blocks, chunk, _REACH * room)
    pieces = _pieces(text, near, room // _COARSE, count_tokens)
    before = [p for p in reversed(pieces) if p.block.start < chunk.start]
    after = [p for p in pieces if p.block.end > chunk.end]
    taken = _taken(before, after, left)
    while taken:
        start = min([chunk.start, *(piece.block.start for piece in taken)])
        end = max([chunk.end, *(piece.block.end for piece in taken)])
        if count_tokens(text[start:end]) <= room:
            return start, end
        taken.pop()
    return chunk.start, chunk.end


def _pieces(
    text: str, blocks: Sequence[Block], most: int, count_tokens: CountTokens
) -> list[Piece]:
    """The blocks, those above `most` tokens split into sentences, rows or the like."""

    def piece(block: Block) -> Piece:
        return Piece(block, count_tokens(text[block.start : block.end]))

    found = []
    for whole in map(piece, blocks):
        parts = finer(text, whole.block) if whole.size > most else []
        found += [piece(part) for part in parts] or [whole]
    return found


def _near(blocks: Sequence[Block], chunk: Chunk, reach: int) -> list[Block]:
    """The blocks within reach, so that a long section is not counted whole."""
    low, high = chunk.start - reach, chunk.end + reach
    return [block for block in blocks if block.end > low and block.start < high]


def _taken(before: Sequence[Piece], after: Sequence[Piece], room: int) -> list[Piece]:
    """Pieces taken in turns from the side with fewer tokens so far, until neither has one that
    fits."""
    sides = [list(before), list(after)]
    sizes = [0, 0]
    taken: list[Piece] = []
    while sides[0] or sides[1]:
        side = 0 if sides[0] and (sizes[0] <= sizes[1] or not sides[1]) else 1
        piece = sides[side].pop(0)
        if piece.size > room - sum(sizes):
            sides[side] = []
            continue
        sizes[side] += piece.size
        taken.append(piece)
    return taken


def _at_span(document: Document, chunk: Chunk, span: Span, first_line: int) -> Chunk:
    start, end = span
    places = Places(document, first_line)
    return replace(
        chunk,
        text=document.text[start:end],
        start=start,
        end=end,
        page=places.page(start, end),
        part=places.part(start, end),
        context=chunk.context if start == chunk.start else "",
    )


def merged(lookup: Lookup, chunks: Sequence[Chunk]) -> list[Chunk]:
    """The chunks, those of one section that overlap, or have only white space between them, as one
    passage with the id and the rank of the best of them. Chunks of a document that has changed
    since are left as they are."""
    found: list[Chunk] = []
    for chunk in chunks:
        meeting = [each for each in found if _meets(lookup, each, chunk)]
        union = _union(lookup, [*meeting, chunk]) if meeting else None
        if union is None:
            found.append(chunk)
            continue
        found[found.index(meeting[0])] = union
        found = [each for each in found if each not in meeting[1:]]
    return found


def _meets(lookup: Lookup, one: Chunk, other: Chunk) -> bool:
    """Whether two chunks are parts of one passage."""
    if one.document_id != other.document_id:
        return False
    first, last = sorted((one, other), key=lambda chunk: (chunk.start, -chunk.end))
    if last.end <= first.end:
        return True
    if one.heading != other.heading or last.start - first.end > _GAP:
        return False
    if last.start <= first.end:
        return True
    between = lookup.excerpt(one.document_id, first.end, last.start)
    return between is not None and not between.document.text.strip()


def _union(lookup: Lookup, chunks: Sequence[Chunk]) -> Chunk | None:
    """One passage over all the chunks, with the id of the first; None where the document has
    changed since."""
    start, end = min(chunk.start for chunk in chunks), max(chunk.end for chunk in chunks)
    for chunk in chunks:
        if (chunk.start, chunk.end) == (start, end):
            return replace(chunk, id=chunks[0].id)
    excerpt = lookup.excerpt(chunks[0].document_id, start, end)
    if excerpt is None:
        return None
    text = excerpt.document.text
    if any(text[chunk.start - start : chunk.end - start] != chunk.text for chunk in chunks):
        return None
    first = min(chunks, key=lambda chunk: chunk.start)
    local = replace(chunks[0], start=0, context=first.context)
    wide = _at_span(excerpt.document, local, (0, len(text)), excerpt.first_line)
    return replace(wide, start=start, end=end)


_GAP = 40
"""Characters of white space between two chunks of one passage, at most."""

_AROUND = 60
"""Tokens of the tag around a passage: marker, source, headings, place."""

_LEAST = 40
"""Tokens below which a rest of room is left empty."""


@dataclass(frozen=True, slots=True)
class Packed:
    """The passages that fit, whether the last is shortened, and how many are left out."""

    chunks: tuple[Chunk, ...]
    is_shortened: bool = False
    left_out: int = 0

    @property
    def note(self) -> str:
        """A note to the model on what was left out, "" where nothing was."""
        notes = []
        if self.is_shortened:
            last = self.chunks[-1]
            notes.append(
                f"the last passage is cut short: read_document gives {last.source} from "
                f"start={last.end}"
            )
        if self.left_out:
            notes.append(
                f"{self.left_out} more did not fit: ask for less with a narrower query, source, "
                "tags or dates"
            )
        return f"({'; '.join(notes)}.)" if notes else ""


def packed(chunks: Sequence[Chunk], room: int | None, count_tokens: Callable[[str], int]) -> Packed:
    """The first chunks that fit into `room` tokens, at least one; None is room for all."""
    if room is None:
        return Packed(tuple(chunks))
    taken: list[Chunk] = []
    for at, chunk in enumerate(chunks):
        room -= _AROUND
        size = count_tokens(chunk.text)
        if size <= room:
            taken.append(chunk)
            room -= size
            continue
        short = _shortened(chunk, max(room, 0 if taken else _LEAST), count_tokens)
        if short is not None and (not taken or room >= _LEAST):
            return Packed((*taken, short), True, len(chunks) - at - 1)
        return Packed(tuple(taken), False, len(chunks) - at)
    return Packed(tuple(taken))


def _shortened(chunk: Chunk, room: int, count_tokens: Callable[[str], int]) -> Chunk | None:
    """The first sentences of a chunk that fit, None where not even one does."""
    reached = 0
    for _, end in sentences(chunk.text):
        if count_tokens(chunk.text[:end]) > room:
            break
        reached = end
    if not reached:
        return None
    return replace(chunk, text=chunk.text[:reached], end=chunk.start + reached)
