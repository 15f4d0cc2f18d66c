"""The sentences of an answer with the markers that each is to be judged by.

A marker belongs to the sentence that it stands in or follows. A sentence without one belongs to
the next marker of its paragraph, for that is how people close a thought; after the last marker of
a paragraph it stands alone.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from agentkit.knowledge.markers import markers, numbers_in
from agentkit.knowledge.prose import claims_something, is_table_head
from agentkit.text import sentences

_BLANK = "\u2005"
"""A space that people do not write: it ends sentences as spaces do, and is told from them."""
_PARAGRAPH = re.compile(r"\n[ \t]*\n")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a sentence and the markers that close it."""

    text: str
    markers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence: `written` as the answer has it from `start` to `end`, `text` without its markers.
    `pieces` are the parts that its own markers close; `markers` are its own, or those that close
    its paragraph."""

    text: str
    written: str
    start: int
    end: int
    pieces: tuple[Piece, ...]
    markers: tuple[str, ...]
    claims: bool

    @property
    def is_marked(self) -> bool:
        """Whether it has markers of its own."""
        return bool(self.pieces)


def statements(text: str, sources: Collection[str], known: Collection[str]) -> list[Statement]:
    """The sentences of an answer, in order; `known` are the numbers that passages have."""
    groups = [
        (match.start(), match.end(), numbers)
        for match in markers(text, sources)
        if (numbers := tuple(n for n in numbers_in(match.group()) if n in known))
    ]
    blank = text
    for start, end, _ in groups:
        blank = f"{blank[:start]}{_BLANK * (end - start)}{blank[end:]}"
    spans = sentences(blank)
    own: list[list[tuple[int, int, tuple[str, ...]]]] = [[] for _ in spans]
    for group in groups:
        if (at := _owner(blank, spans, group[0])) is not None:
            own[at].append(group)
    found = [_statement(text, blank, span, mine) for span, mine in zip(spans, own, strict=True)]
    return _closed(blank, found)


def _owner(blank: str, spans: Sequence[tuple[int, int]], at: int) -> int | None:
    """The sentence that a marker stands in or follows; one that opens a line belongs to it."""
    after = bisect_left(spans, (at, at))
    if after and spans[after - 1][1] > at:
        return after - 1
    line = blank.rfind("\n", 0, at) + 1
    is_first = not after or spans[after - 1][1] <= line
    if after < len(spans) and (is_first and "\n" not in blank[at : spans[after][0]]):
        return after
    return after - 1 if after else None


def _statement(
    text: str, blank: str, span: tuple[int, int], own: Sequence[tuple[int, int, tuple[str, ...]]]
) -> Statement:
    start, end = span
    said = blank[start:end].replace(_BLANK, "")
    pieces: list[Piece] = []
    reached = start
    for opens, closes, numbers in own:
        part = blank[reached : max(reached, min(opens, end))].strip()
        if part or not pieces:
            pieces.append(Piece(part, numbers))
        else:
            pieces[-1] = Piece(pieces[-1].text, (*pieces[-1].markers, *numbers))
        reached = max(reached, min(closes, end))
    rest = blank[reached:end].strip()
    if pieces and claims_something(rest):
        pieces[-1] = Piece(f"{pieces[-1].text} {rest}".strip(), pieces[-1].markers)
    numbers = tuple(dict.fromkeys(n for piece in pieces for n in piece.markers))
    claims = claims_something(said) and not is_table_head(blank, end)
    return Statement(said, text[start:end], start, end, tuple(pieces), numbers, claims)


def _closed(blank: str, found: Sequence[Statement]) -> list[Statement]:
    """Sentences without a marker get those of the next in their paragraph."""
    closed: list[Statement] = []
    following: tuple[str, ...] = ()
    reached = len(blank)
    for one in reversed(found):
        if _PARAGRAPH.search(blank, one.end, max(one.end, reached)):
            following = ()
        following = one.markers or following
        closed.append(replace(one, markers=following))
        reached = one.start
    return closed[::-1]
