"""Cut a document into chunks along its headings, paragraphs and sentences, with exact offsets.

Tables, lists, formulas and code blocks stay whole up to the limit. Every character that is not
white space is in exactly one chunk. Sizes are counted in the embedder's tokens.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from agentkit.documents import Chunk, Document
from agentkit.text import sentences

Span = tuple[int, int]
CountTokens = Callable[[str], int]

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\r?\n.*?^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.M)
_PARAGRAPH = re.compile(r"\S(?:[^\n]|\n(?![ \t]*\r?\n))*")
_MOST_CHARACTERS_A_TOKEN = 16
"""Above it a text is taken to be too long without being counted, which takes its time."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading's own part of a document: its path of headings and its blocks."""

    heading: str
    blocks: tuple[Span, ...]


def split(document: Document, count_tokens: CountTokens, limit: int) -> list[Chunk]:
    """The chunks of a document, in order. `limit` is the most tokens that a chunk may have."""
    sections = _markdown_sections if document.format == "markdown" else _plain_sections
    return [
        _chunk(document, section.heading, span)
        for section in sections(document.text)
        for span in _packed(document.text, section.blocks, count_tokens, limit)
    ]


def front_matter(text: str) -> Span | None:
    """Where the YAML front matter stands, its `---` lines included."""
    match = _FRONT_MATTER.match(text)
    return match.span() if match else None


def first_heading(text: str) -> str:
    """The text of the first heading of a Markdown document, or ""."""
    for section in _markdown_sections(text):
        if section.heading:
            return section.heading.split(" > ")[0]
    return ""


def _chunk(document: Document, heading: str, span: Span) -> Chunk:
    start, end = span
    text = document.text[start:end]
    content = hashlib.sha256(f"{document.title}\0{heading}\0{text}".encode()).hexdigest()
    identity = hashlib.sha256(f"{document.id}\0{content}\0{start}".encode()).hexdigest()[:20]
    return Chunk(identity, document.id, document.source, document.title, heading, text, start, end)


def _plain_sections(text: str) -> Iterator[Section]:
    yield Section("", tuple(_trimmed(text, match.span()) for match in _PARAGRAPH.finditer(text)))


def _markdown_sections(text: str) -> Iterator[Section]:
    """Sections in order. A heading with nothing under it goes with the section after it."""
    front = front_matter(text)
    body = front[1] if front else 0
    if front:
        yield Section("", (_trimmed(text, front),))
    path: list[tuple[int, str]] = []
    blocks: list[Span] = []
    has_body = False
    for level, title, span in _blocks(text, body):
        if level and has_body:
            yield Section(_joined(path), tuple(blocks))
            blocks, has_body = [], False
        if level:
            path = [(depth, name) for depth, name in path if depth < level] + [(level, title)]
        blocks.append(span)
        has_body = has_body or not level
    if blocks:
        yield Section(_joined(path), tuple(blocks))


def _joined(path: Sequence[tuple[int, str]]) -> str:
    return " > ".join(title for _, title in path if title)


def _blocks(text: str, body: int) -> Iterator[tuple[int, str, Span]]:
    """(heading level or 0, heading text, span) of each top-level block, none left out."""
    line_ends = re.finditer(r"\r\n|\n|\r", text[body:])
    starts = [body, *(body + match.end() for match in line_ends)]
    tokens = _parser().parse(re.sub(r"\r\n?", "\n", text[body:]))
    reached = body
    for at, token in enumerate(tokens):
        if token.level or token.nesting < 0 or token.map is None:
            continue
        begin, stop = (starts[line] if line < len(starts) else len(text) for line in token.map)
        if text[reached:begin].strip():
            yield 0, "", _trimmed(text, (reached, begin))
        reached = max(reached, stop)
        if not text[begin:stop].strip():
            continue
        is_heading = token.type == "heading_open"
        level = int(token.tag[1]) if is_heading else 0
        yield level, tokens[at + 1].content if is_heading else "", _trimmed(text, (begin, stop))
    if text[reached:].strip():
        yield 0, "", _trimmed(text, (reached, len(text)))


@cache
def _parser() -> Any:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark").enable("table")


def _packed(text: str, blocks: Sequence[Span], count: CountTokens, limit: int) -> Iterator[Span]:
    """Spans of about equal size, none above the limit, made of whole pieces."""
    pieces = [piece for block in blocks for piece in _pieces(text, block, count, limit)]
    if not pieces:
        return
    sizes = [count(text[start:end]) for start, end in pieces]
    target = sum(sizes) / math.ceil(sum(sizes) / limit)
    start, end, size = *pieces[0], sizes[0]
    for piece, piece_size in zip(pieces[1:], sizes[1:], strict=True):
        overshoots = size + piece_size > limit or size + piece_size / 2 > target
        if overshoots:
            yield start, end
            start, size = piece[0], 0
        end, size = piece[1], size + piece_size
    yield start, end


def _pieces(text: str, block: Span, count: CountTokens, limit: int) -> Iterator[Span]:
    """The block itself where it is small enough, else its sentences, lines and, last, halves."""
    start, end = block
    if end - start <= _MOST_CHARACTERS_A_TOKEN * limit and count(text[start:end]) <= limit:
        yield block
        return
    inner = [(start + a, start + b) for a, b in sentences(text[start:end])]
    if len(inner) < 2:
        inner = _lines(text, block)
    if len(inner) < 2:
        middle = (start + end) // 2
        inner = [_trimmed(text, (start, middle)), _trimmed(text, (middle, end))]
    for span in inner:
        if span[0] < span[1]:
            yield from _pieces(text, span, count, limit)


def _lines(text: str, block: Span) -> list[Span]:
    start, end = block
    found = (match.span() for match in re.finditer(r"[^\n]+", text[start:end]))
    spans = (_trimmed(text, (start + a, start + b)) for a, b in found)
    return [span for span in spans if span[0] < span[1]]


def _trimmed(text: str, span: Span) -> Span:
    """The span without the white space at its ends."""
    start, end = span
    inside = text[start:end]
    return start + len(inside) - len(inside.lstrip()), start + len(inside.rstrip())
