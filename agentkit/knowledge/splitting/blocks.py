"""The values that splitting passes on: blocks of a text, and the sections that they stand in."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

Span = tuple[int, int]
CountMany = Callable[[Sequence[str]], Sequence[int]]
"""Texts in, the tokens of each out."""

Kind = Literal["prose", "heading", "sentence", "table", "list", "formula", "code", "lines", "row"]
"""What a block is, and so how it is cut where it is too large; a "row" never is."""

LONGEST_NAME = 200
"""Characters of one name in a heading: it goes before the text of every chunk for the embedding."""
_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of a text with no white space at its ends."""

    start: int
    end: int
    kind: Kind = "prose"


@dataclass(frozen=True, slots=True)
class Section:
    """A heading's own part of a document: its path of headings and its blocks, to be put into
    chunks of about equal size, or else each as large as may be."""

    heading: str
    blocks: tuple[Block, ...]
    even: bool = True


def trimmed(text: str, start: int, end: int, kind: Kind = "prose") -> Block:
    """The block without the white space at its ends."""
    inside = text[start:end]
    return Block(start + len(inside) - len(inside.lstrip()), start + len(inside.rstrip()), kind)


def filled(blocks: Iterable[Block]) -> list[Block]:
    """Those that hold anything but white space."""
    return [block for block in blocks if block.start < block.end]


def line_starts(text: str, start: int = 0) -> list[int]:
    """Where each line of text[start:] begins; a line ends at a line feed, a carriage return or
    both."""
    return [start, *(match.end() for match in _BREAK.finditer(text, start))]


def named(name: str) -> str:
    """A name on one line and not too long."""
    line = " ".join(name.split())
    return line if len(line) <= LONGEST_NAME else line[: LONGEST_NAME - 1] + "…"
