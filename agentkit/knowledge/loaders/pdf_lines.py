"""The lines of a PDF page with their places, as PDFium finds them. Lengths are in points.

The order is that of the file's content, which is the reading order in most files. PDFium is not
thread-safe: whoever calls this holds the lock of pdf.py.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any

from agentkit.text import clean

_WORD_BREAK = "\ufffe\x02"
"""What PDFium puts for a hyphen at the end of a line, in place of the hyphen and the line break."""
_LIGATURES = str.maketrans(
    {"ﬀ": "ff", "ﬁ": "fi", "ﬂ": "fl", "ﬃ": "ffi", "ﬄ": "ffl", "ﬅ": "st", "ﬆ": "st", "\xa0": " "}
)
_GAP_OF_CELLS = 1.5
"""In font sizes: a wider gap inside a line stands between two cells of a table."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text and its box. `opening` is the width of its first word: had it fitted on the
    line before, that line would have ended on purpose. A `height` is from 0 (foot) to 1 (top);
    in `fixed` pitch all letters are as wide, as in code."""

    text: str
    left: float
    right: float
    bottom: float
    size: float
    opening: float
    height: float
    fixed: bool


@dataclass(slots=True)
class _Glyph:
    index: int
    character: str
    left: float
    right: float
    bottom: float


def lines_of(text_page: Any, page_height: float) -> list[Line]:
    """The lines of a page that hold more than white space."""
    from pypdfium2 import raw

    found = []
    glyphs = list[_Glyph]()
    for glyph in [*_glyphs(text_page, raw), None]:
        if glyph and glyph.character not in "\r\n" + _WORD_BREAK:
            glyphs.append(glyph)
            continue
        if glyph and glyph.character in _WORD_BREAK and glyphs:
            glyphs.append(replace(glyphs[-1], character="-", left=glyphs[-1].right))
        if inked := [glyph for glyph in glyphs if not glyph.character.isspace()]:
            # At its middle, because a line may begin with a bullet or end with a note's figure.
            size = raw.FPDFText_GetFontSize(text_page, inked[len(inked) // 2].index)
            found.append(_line(glyphs, inked, size if size > 1 else 10.0, page_height))
        glyphs = []
    return found


def _glyphs(text_page: Any, raw: Any) -> Iterator[_Glyph]:
    box = raw.FS_RECTF()
    pointer = ctypes.byref(box)
    for index in range(raw.FPDFText_CountChars(text_page)):
        character = chr(raw.FPDFText_GetUnicode(text_page, index))
        raw.FPDFText_GetLooseCharBox(text_page, index, pointer)
        yield _Glyph(index, character, box.left, box.right, box.bottom)


def _line(glyphs: list[_Glyph], inked: list[_Glyph], size: float, page_height: float) -> Line:
    text = clean("".join(_spaced(glyphs, size))).translate(_LIGATURES).strip()
    start = glyphs.index(inked[0])
    word = takewhile(lambda glyph: not glyph.character.isspace(), glyphs[start:])
    return Line(
        text,
        left=inked[0].left,
        right=max(glyph.right for glyph in inked),
        bottom=inked[0].bottom,
        size=size,
        opening=max(glyph.right for glyph in word) - inked[0].left,
        height=inked[0].bottom / page_height if page_height else 0.5,
        fixed=_is_fixed(inked, size),
    )


def _is_fixed(glyphs: list[_Glyph], size: float) -> bool:
    letters = [glyph for glyph in glyphs if "a" <= glyph.character <= "z"]
    widths = [glyph.right - glyph.left for glyph in letters]
    kinds = {glyph.character for glyph in letters}
    return len(kinds) > 3 and max(widths) - min(widths) < 0.05 * size


def _spaced(glyphs: list[_Glyph], size: float) -> Iterator[str]:
    """The characters, with a tab for the space between two cells."""
    gaps = {
        at: glyphs[at + 1].left - glyphs[at - 1].right
        for at in range(1, len(glyphs) - 1)
        if glyphs[at].character == " "
    }
    justified = len(gaps) > 1 and max(gaps.values()) - min(gaps.values()) < 0.2 * size
    for at, glyph in enumerate(glyphs):
        wide = gaps.get(at, 0.0) > _GAP_OF_CELLS * size and not justified
        yield "\t" if wide else glyph.character
