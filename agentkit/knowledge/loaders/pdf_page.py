"""The lines of a PDF page as a reader sees them: visible text, with raised characters.

Text that is outside the page, transparent, or white where nothing lies behind it is left out, but
for the hidden text of a scan. Coordinates are turned so that most of the text is upright. PDFium is
not thread-safe: callers hold the lock of pdf.py.
"""

from __future__ import annotations

import ctypes
import math
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, takewhile
from statistics import median
from typing import Any, NamedTuple

from agentkit.knowledge.loaders.notation import lowered, raised
from agentkit.knowledge.loaders.pdf_bidi import (
    Glyph,
    in_reading_order,
    is_right_to_left,
    share_from_right,
    without_forms,
)
from agentkit.knowledge.loaders.pdf_view import QUARTER, Box, PageView
from agentkit.knowledge.loaders.word_styles import symbol
from agentkit.text.terms import clean

WORD_BREAK = "\ufffe\x02"
"""What PDFium puts for a hyphen at the end of a line, in place of the hyphen and the line break."""
_LIGATURES = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st", "\xa0": " "}
)
_GAP_OF_CELLS = 1.5
"""In font sizes: a wider gap inside a line stands between two cells of a table."""
_GAP_OF_PIECES = 0.8
_JUSTIFIED = 2.5
"""In font sizes: the gaps of a justified line are no wider."""
_GAP_OF_WORDS = 0.6
_SMALL = 0.85
"""A raised or lowered character is smaller than its line by this factor."""
_SHIFT = 0.12
"""In heights of the line: how far a character is raised or lowered at least."""
_LOW = 0.03
"""The same for the foot of a lowered character; smaller text has its foot at least as high."""
_SHIFT_OF_FULL_SIZE = 0.2
"""The same for one that is as large as its line; other fonts may stand lower by less."""
_SLANTED = 0.03
"""In quarters: text that is turned by more is not level, nor upright."""
_LEAST_HEIGHT = 0.8
"""In points: smaller text cannot be seen."""
_HALF = 0xD800
_PRIVATE = range(0xF000, 0xF100)
_SYMBOLS = re.compile("symbol|wingdings|webdings|zapf", re.IGNORECASE)
_BACK = 2.0
"""In heights of a line: text that begins again so far to the left is printed over it."""
_COPIED = 0.15
"""In font sizes: how far a copy may lie from what it makes bold."""
_NEAR = 4


class Cell(NamedTuple):
    """A piece of a line between wide gaps, and where it stands."""

    text: str
    left: float
    right: float


class Place(NamedTuple):
    """A cell of a ruled table: the number of the table on its page, row and column."""

    grid: int
    row: int
    column: int


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and its box. `opening` is the width of its first word: had it fitted on the
    line before, that line would have ended on purpose. A `height` is from 0 (foot) to 1 (top);
    in `fixed` pitch all letters are as wide, as in code. `pieces` are its `cells`, cut also at gaps
    that stand between columns only where the lines around have them too. `place` is the cell of a
    ruled table that holds it; a `ruled` line is a whole row of one."""

    text: str
    left: float
    right: float
    bottom: float
    size: float
    opening: float
    height: float
    fixed: bool
    cells: tuple[Cell, ...] = ()
    pieces: tuple[Cell, ...] = ()
    place: Place | None = None
    ruled: bool = False


def lines_of(
    page: Any,
    text_page: Any,
    view: PageView,
    place: Callable[[float, float], Place | None] | None = None,
) -> list[Line]:
    """The lines of a page that hold more than white space. `place` gives the cell of a ruled table
    at a point; a line ends where its cell does."""
    lines: list[Line] = []
    runs = list(_runs(_glyphs(page, text_page, view), place))
    share = share_from_right(glyph.character for run in runs for glyph in run)
    for run, cell in _rejoined(runs, place, mixed=share > 0):
        if share and (here_share := share_from_right(glyph.character for glyph in run)):
            size = _font_size(text_page, run)
            run = in_reading_order(run, size, from_right=max(share, here_share) >= 0.5)
        for piece in [run] if share else _apart(run):
            if inked := [glyph for glyph in piece if not glyph.character.isspace()]:
                line = _line(piece, inked, text_page, view.height)
                lines.append(replace(line, place=cell))
    return _without_copies(lines)


def _runs(
    glyphs: Iterator[Glyph], place: Callable[[float, float], Place | None] | None
) -> Iterator[list[Glyph]]:
    """The characters of each line as PDFium breaks it, cut where a cell of a table ends."""
    run = list[Glyph]()
    here: Place | None = None
    for glyph in glyphs:
        if place is not None and not glyph.character.isspace():
            there = place(glyph.middle, (glyph.bottom + glyph.top) / 2)
            if there != here and run and glyph.character not in WORD_BREAK:
                yield run
                run = []
            here = there
        if glyph.character not in "\r\n" + WORD_BREAK:
            run.append(glyph)
            continue
        if glyph.character in WORD_BREAK and run:
            run.append(replace(run[-1], character="-", left=run[-1].right))
        if run:
            yield run
        run = []
    yield run


def _apart(run: list[Glyph]) -> Iterator[list[Glyph]]:
    """What is printed over each other in a line, as in a bold face that is made that way."""
    start, before = 0, -math.inf
    for at, glyph in enumerate(run):
        if (back := before - glyph.left) > 0 and back > _BACK * glyph.height > 0:
            near = _COPIED * glyph.height
            twins = (other for other in run[start:at] if other.character == glyph.character)
            if any(abs(other.left - glyph.left) < near for other in twins):
                yield run[start:at]
                start = at
        before = glyph.left
    yield run[start:] if start else run


def _without_copies(lines: Sequence[Line]) -> list[Line]:
    printed: dict[int, list[Line]] = defaultdict(list)
    kept = []
    for line in lines:
        level = round(line.bottom)
        near = chain.from_iterable(printed.get(level + at, ()) for at in (-1, 0, 1))
        if not any(_is_copy(line, other) for other in near):
            kept.append(line)
            printed[level].append(line)
    return kept


def _is_copy(line: Line, before: Line) -> bool:
    """Whether a line is printed once more over itself or a part of itself."""
    near = _COPIED * line.size
    return (
        abs(line.bottom - before.bottom) < near
        and before.left - near < line.left
        and line.right < before.right + near
        and line.text in before.text
    )


def _glyphs(page: Any, text_page: Any, view: PageView) -> Iterator[Glyph]:
    from pypdfium2 import raw

    rectangle = raw.FS_RECTF()
    pointer = ctypes.byref(rectangle)
    area, hides = view.area, view.hides
    is_plain = view.turned == 0 and area.left == area.bottom == 0
    unicode, char_box = raw.FPDFText_GetUnicode, raw.FPDFText_GetLooseCharBox
    high = 0
    for index in range(raw.FPDFText_CountChars(text_page)):
        code = unicode(text_page, index)
        if code >= _HALF:
            if code < 0xDC00:  # PDFium gives the two halves of UTF-16.
                high = code
                continue
            code = _whole(high, code)
            high = 0
        character = chr(code) if code not in _PRIVATE else _symbol(text_page, index, code)
        char_box(text_page, index, pointer)
        left, bottom = rectangle.left, rectangle.bottom
        right, top = rectangle.right, rectangle.top
        if not character.isspace() and character not in WORD_BREAK:
            x, y = (left + right) / 2, (bottom + top) / 2
            if 0 < top - bottom < _LEAST_HEIGHT or 0 < right - left < _LEAST_HEIGHT / 8:
                continue
            if not (area.left <= x <= area.right and area.bottom <= y <= area.top):
                continue
            if hides is not None and hides(index, Box(left, bottom, right, top)):
                continue
        if not is_plain:
            left, bottom, right, top = view.placed(Box(left, bottom, right, top))
        yield Glyph(index, character, left, bottom, right, top)


def _symbol(text_page: Any, index: int, code: int) -> str:
    """The character of a symbol font, which has its codes in the private area."""
    from pypdfium2 import raw

    name, flags = ctypes.create_string_buffer(100), ctypes.c_int()
    raw.FPDFText_GetFontInfo(text_page, index, name, len(name), flags)
    font = name.value.decode("latin-1").rpartition("+")[2]
    letter = chr(code - _PRIVATE[0])
    return letter if letter.isalnum() and not _SYMBOLS.match(font) else symbol(font, f"{code:x}")


def _whole(high: int, code: int) -> int:
    """The character of two halves of UTF-16, or the one that marks an unknown character."""
    if code < 0xE000:
        return 0x10000 + ((high - _HALF) << 10) + code - 0xDC00 if high else 0xFFFD
    return code if code <= sys.maxunicode else 0xFFFD


def _rejoined(
    runs: Sequence[list[Glyph]],
    place: Callable[[float, float], Place | None] | None,
    *,
    mixed: bool,
) -> Iterator[tuple[list[Glyph], Place | None]]:
    """(line, its cell): what PDFium broke at a raised or lowered character is one line again, and
    what it broke where the direction changes on a page of `mixed` ones."""
    line: list[Glyph] = []
    here: Place | None = None
    for run in runs:
        first = next((g for g in run if not g.character.isspace()), None)
        there = (
            place(first.middle, (first.bottom + first.top) / 2)
            if place is not None and first is not None
            else None
        )
        if line and run and there == here and _goes_on(line, run, mixed):
            line = [*line, *run]
            continue
        if line:
            yield line, here
        line, here = run, there
    if line:
        yield line, here


def _goes_on(before: Sequence[Glyph], after: Sequence[Glyph], mixed: bool) -> bool:
    last = next((g for g in reversed(before) if not g.character.isspace()), None)
    first = next((g for g in after if not g.character.isspace()), None)
    if last is None or first is None:
        return False
    height = max(last.height, first.height)
    # The last may be lowered and the first raised, as in SO_4^2-.
    near = [last, *(g for g in before[-_NEAR:] if not g.character.isspace())]
    top, bottom = max(g.top for g in near), min(g.bottom for g in near)
    overlap = min(top, first.top) - max(bottom, first.bottom)
    if mixed and is_right_to_left("".join(g.character for g in (*before, *after))):
        left, right = min(g.left for g in before), max(g.right for g in before)
        gap = max(min(g.left for g in after) - right, left - max(g.right for g in after))
        return overlap > 0.3 * height and -0.2 * height < gap < _GAP_OF_CELLS * height
    gap = first.left - last.right
    return overlap > 0.3 * height and -0.2 * height < gap < _GAP_OF_WORDS * height


def _line(glyphs: list[Glyph], inked: list[Glyph], text_page: Any, page_height: float) -> Line:
    heights = sorted(glyph.height for glyph in inked)
    least = _SMALL * heights[len(heights) // 2]
    full = inked if heights[0] > least else [g for g in inked if g.height > least] or inked
    size = _font_size(text_page, full)
    wide, narrow = _breaks(glyphs, size)
    bottoms = [glyph.bottom for glyph in full]
    uneven = max(bottoms) - min(bottoms) > _SHIFT_OF_FULL_SIZE * full[0].height
    shifts = (uneven or len(full) < len(inked)) and not _is_slanted(text_page, full)
    level = full if shifts else None
    cells = pieces = list(_cells(glyphs, inked, level, wide))
    if len(narrow) > len(wide):
        pieces = list(_cells(glyphs, inked, level, narrow))
    if not is_right_to_left(inked[0].character):
        cells.sort(key=lambda cell: cell.left)
        pieces.sort(key=lambda cell: cell.left)
    start = glyphs.index(inked[0])
    word = list(takewhile(lambda glyph: not glyph.character.isspace(), glyphs[start:]))
    bottom = full[0].bottom
    return Line(
        "\t".join(cell.text for cell in cells),
        left=min(glyph.left for glyph in inked),
        right=max(glyph.right for glyph in inked),
        bottom=bottom,
        size=size,
        opening=max(glyph.right for glyph in word) - min(glyph.left for glyph in word),
        height=bottom / page_height if page_height else 0.5,
        fixed=_is_fixed(inked, size),
        cells=tuple(cells),
        pieces=tuple(pieces),
    )


def _font_size(text_page: Any, line: Sequence[Glyph]) -> float:
    """At its middle, because a line may begin with a bullet or end with a note's figure."""
    from pypdfium2 import raw

    size = float(raw.FPDFText_GetFontSize(text_page, line[len(line) // 2].index))
    return size if size > 1 else 10.0


def _is_fixed(glyphs: list[Glyph], size: float) -> bool:
    letters = [glyph for glyph in glyphs if "a" <= glyph.character <= "z"]
    widths = [glyph.right - glyph.left for glyph in letters]
    kinds = {glyph.character for glyph in letters}
    return len(kinds) > 3 and max(widths) - min(widths) < 0.05 * size


def _breaks(glyphs: Sequence[Glyph], size: float) -> tuple[list[int], list[int]]:
    """The spaces that stand between cells, none in a justified line; and those that are at least
    wider than between words."""
    gaps = [
        (
            at,
            (
                _gap(glyphs[at - 1], glyphs[at + 1])
                if glyphs[at].index >= 0
                else glyphs[at].right - glyphs[at].left
            )
            / size,
        )
        for at in range(1, len(glyphs) - 1)
        if glyphs[at].character == " "
    ]
    widths = [width for _, width in gaps]
    justified = len(gaps) > 1 and max(widths) - min(widths) < 0.2 and max(widths) < _JUSTIFIED
    wide = [] if justified else [at for at, width in gaps if width > _GAP_OF_CELLS]
    return wide, [at for at, width in gaps if width > _GAP_OF_PIECES]


def _is_slanted(text_page: Any, line: Sequence[Glyph]) -> bool:
    """Whether a line is turned by another angle than quarters, as a label of a chart."""
    from pypdfium2 import raw

    angle = raw.FPDFText_GetCharAngle(text_page, line[len(line) // 2].index) / QUARTER
    return bool(abs(angle - round(angle)) > _SLANTED)


def _cells(
    glyphs: list[Glyph], inked: list[Glyph], full: list[Glyph] | None, breaks: Sequence[int]
) -> Iterator[Cell]:
    """The pieces of a line between its breaks, with raised and lowered characters where `full` are
    those that are neither."""
    for start, end in zip([0, *(at + 1 for at in breaks)], [*breaks, len(glyphs)], strict=True):
        piece = glyphs[start:end]
        if full is not None:
            written = _shifted(piece, full)
        else:
            written = "".join([glyph.character for glyph in piece])
        seen = [glyph for glyph in piece if not glyph.character.isspace()] if breaks else inked
        if seen:
            text = without_forms(clean(written).translate(_LIGATURES)).strip()
            yield Cell(text, min(g.left for g in seen), max(g.right for g in seen))


def _gap(before: Glyph, after: Glyph) -> float:
    """The distance between two characters, in either direction of writing."""
    return max(after.left - before.right, before.left - after.right)


def _shifted(glyphs: Sequence[Glyph], full: Sequence[Glyph]) -> str:
    """The characters, with marks at those that are raised or lowered."""
    height = full[0].height
    base = median(glyph.bottom for glyph in full)
    written, shifted, kind = "", "", ""
    for glyph in [*glyphs, None]:
        shift = _shift(glyph, height, base) if glyph is not None else ""
        if shift != kind:
            if not any(map(_is_mark, shifted)):
                written += shifted
            else:
                written += raised(written, shifted) if kind == "raised" else lowered(shifted)
            shifted = ""
        kind = shift
        if glyph is not None and shift:
            shifted += glyph.character
        elif glyph is not None:
            written += glyph.character
    return written


def _is_mark(character: str) -> bool:
    return character.isalnum() or character in "*†‡+-−"


def _shift(glyph: Glyph, height: float, base: float) -> str:
    """Whether a character is smaller than its line and `raised` or `lowered`, else ""."""
    if not _is_mark(glyph.character) and glyph.character not in "[]()":
        return ""
    if is_right_to_left(glyph.character):
        return ""
    if height <= 0:
        return ""
    if glyph.height > _SMALL * height:
        shift = (glyph.bottom - base) / height
        is_one_font = abs(glyph.height - height) < 0.01 * height
        if not is_one_font or glyph.character.isalpha() or abs(shift) < _SHIFT_OF_FULL_SIZE:
            return ""
        return "raised" if shift > 0 else "lowered"
    middle = (glyph.top + glyph.bottom) / 2
    if glyph.bottom - base > _SHIFT * height and middle > base + 0.55 * height:
        return "raised"
    is_low = glyph.bottom < base - _LOW * height and middle < base + 0.42 * height
    return "lowered" if is_low and glyph.top < base + 0.8 * height else ""
