"""Put the characters of a line with right-to-left text in the order in which they are read.

A PDF says where each character stands, not in which order it is read, and PDFium guesses word by
word. The characters are sorted by their places and read from the right, numbers and Latin words in
it from the left (the inverse of the Unicode bidirectional algorithm, UAX #9, for one line).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

_GAP_OF_WORDS = 0.2
"""In font sizes: a wider gap stands between two words."""
_GAP_OF_A_SPACE = 0.08
"""The same where the file has a space there."""
_SEPARATORS = frozenset(".,:/'’")
_BEHIND_NUMBERS = frozenset("%‰°€$£₪")
_MIRRORED = str.maketrans("()[]{}<>«»", ")(][}{><»«")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_FORMS = re.compile("[\ufb1d-\ufdff\ufe70-\ufefc]")
"""Letters in the shape that they have at a place in a word."""
_FROM_RIGHT = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
"""The blocks of the scripts that are read from the right."""


@dataclass(slots=True)
class Glyph:
    """A character of a page and its box; `index` is PDFium's, -1 for a space that is added."""

    index: int
    character: str
    left: float
    bottom: float
    right: float
    top: float

    @property
    def height(self) -> float:
        """The height of its box."""
        return self.top - self.bottom

    @property
    def middle(self) -> float:
        """The horizontal middle of its box."""
        return (self.left + self.right) / 2


def is_right_to_left(text: str) -> bool:
    """Whether a text has letters that are read from the right."""
    return _FROM_RIGHT.search(text) is not None and any(
        unicodedata.bidirectional(character) in ("R", "AL") for character in text
    )


def share_from_right(texts: Iterable[str]) -> float:
    """The share of letters that are read from the right, from 0 to 1."""
    text = "".join(texts)
    if _FROM_RIGHT.search(text) is None:
        return 0.0
    letters = [character for character in text if character.isalpha()]
    return sum(map(is_right_to_left, letters)) / max(1, len(letters))


def in_reading_order(line: Sequence[Glyph], size: float, *, from_right: bool) -> list[Glyph]:
    """The characters of a line as they are read, with spaces where gaps of a font of `size` are.
    `from_right` is the direction of the line."""
    inked = [glyph for glyph in line if not glyph.character.isspace()]
    written = [glyph.middle for glyph in line if glyph.character == " " and glyph.index >= 0]
    units = list(_units(_spaced(_by_place(inked), written, size)))
    ordered = [
        glyph
        for unit, is_latin in (reversed(units) if from_right else units)
        for glyph in (unit if is_latin else _reversed(unit, from_right))
    ]
    return _with_brackets(ordered) if from_right else ordered


def _reversed(unit: Sequence[Glyph], from_right: bool) -> list[Glyph]:
    """Characters in the other order; in a line from the left what is at their ends stays there."""
    if from_right:
        return list(unit[::-1])
    letters = [at for at, glyph in enumerate(unit) if is_right_to_left(glyph.character)]
    if not letters:
        return list(unit)
    first, last = letters[0], letters[-1] + 1
    return [*unit[:first], *reversed(unit[first:last]), *unit[last:]]


def _by_place(line: Sequence[Glyph]) -> list[Glyph]:
    """The characters from left to right. Those of a ligature have one place, and the order that
    their neighbours have in the file; a mark stands behind its letter, which is left of it here."""
    bases = [glyph for glyph in line if not unicodedata.combining(glyph.character)]
    keyed = []
    for at, glyph in enumerate(bases):
        beside = next((b for b in bases[at + 1 :] if abs(b.middle - glyph.middle) > 0.1), None)
        if beside is None:
            before = next((b for b in bases[at - 1 :: -1] if b.middle != glyph.middle), glyph)
            forward = glyph.middle >= before.middle
        else:
            forward = beside.middle > glyph.middle
        keyed.append((round(glyph.middle, 1), at if forward else -at, glyph))
    ordered = [glyph for *_, glyph in sorted(keyed, key=lambda entry: entry[:2])]
    for mark in line:
        if unicodedata.combining(mark.character) and ordered:
            at = min(range(len(ordered)), key=lambda at: abs(ordered[at].middle - mark.middle))
            ordered.insert(at, mark)
    return ordered


def _spaced(line: Sequence[Glyph], written: Sequence[float], size: float) -> list[Glyph]:
    """Characters from left to right, with a space in each gap. A narrower gap counts where the
    file has a space in it: `written` are the middles of those."""
    spaced: list[Glyph] = []
    right = line[0].left if line else 0.0
    for glyph in line:
        is_mark = bool(unicodedata.combining(glyph.character))
        gap = (glyph.left - right) / size if spaced and not is_mark else 0.0
        if gap > _GAP_OF_WORDS or (
            gap > _GAP_OF_A_SPACE and any(right < place < glyph.left for place in written)
        ):
            spaced.append(Glyph(-1, " ", right, glyph.bottom, glyph.left, glyph.top))
        spaced.append(glyph)
        right = right if is_mark else max(right, glyph.right)
    return spaced


def _units(line: Sequence[Glyph]) -> Iterator[tuple[list[Glyph], bool]]:
    """(characters from left to right, whether they are read in this order): numbers, Latin words
    with what stands between them, and everything else."""
    kinds = [_kind(glyph.character) for glyph in line]
    at = 0
    while at < len(line):
        if kinds[at] not in "LN":
            end = at + 1
            while end < len(line) and kinds[end] not in "LN":
                end += 1
            yield list(line[at:end]), False
            at = end
            continue
        end = at + 1
        while end < len(line):
            nearest = next((n for n in range(end, len(line)) if kinds[n] in "LNR"), len(line))
            if (
                nearest == len(line)
                or kinds[nearest] == "R"
                or not _joins(line, kinds, end, nearest)
            ):
                break
            end = nearest + 1
        while end < len(line) and line[end].character in _BEHIND_NUMBERS:
            end += 1
        yield list(line[at:end]), True
        at = end


def _kind(character: str) -> str:
    kind = unicodedata.bidirectional(character)
    return (
        "R" if kind in ("R", "AL") else "L" if kind == "L" else "N" if kind in ("EN", "AN") else "-"
    )


def _joins(line: Sequence[Glyph], kinds: Sequence[str], end: int, nearest: int) -> bool:
    """Whether what stands between two Latin words or numbers belongs to them."""
    between = "".join(glyph.character for glyph in line[end:nearest])
    if not between:
        return True
    if kinds[end - 1] == "N" and kinds[nearest] == "N":
        return len(between) == 1 and between in _SEPARATORS
    return kinds[end - 1] == "L" or (kinds[nearest] == "L" and not between.isspace())


def _with_brackets(line: Sequence[Glyph]) -> list[Glyph]:
    """The characters with their brackets turned where the file has them as they look."""
    brackets = [g.character for g in line if g.character in _OPENING | _CLOSING]
    if not brackets or brackets[0] in _OPENING or brackets[-1] in _CLOSING:
        return list(line)
    return [
        Glyph(g.index, g.character.translate(_MIRRORED), g.left, g.bottom, g.right, g.top)
        for g in line
    ]


def without_forms(text: str) -> str:
    """A text with letters in place of their shapes, as in `ﻻ`."""
    return _FORMS.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
