"""Rebuild paragraphs from the lines of PDF pages: join hard breaks, drop running heads.

It uses geometry: a line that ends although the next word had fitted ends on purpose. A running head
is kept at its first appearance, so that no word is lost; page numbers are dropped. Lines come in
the order of the file's content, which is the reading order in most files; lengths are in points.
PDFium is not thread-safe: callers hold the lock of pdf.py.
"""

from __future__ import annotations

import ctypes
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile
from statistics import median
from typing import Any

from agentkit.text.terms import clean

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


_MARGIN = 0.12
"""The share of a page's height, above and below, where running heads and page numbers stand."""
_NEAR = 4
_NUMBER = re.compile(r"(?<!\d)\d{1,5}(?!\d)", re.ASCII)
_ONLY_COUNTS = re.compile(r"[\W\d_]*(?:(?:pages?|p|of|第|页|頁|共)[\W\d_]*){0,5}", re.IGNORECASE)
_MARKER = re.compile(
    r"(?:[•◦▪●○■□‣·–—*-]\s|\(?\d{1,3}[.)](?!\d)|[（(]?[一二三四五六七八九十]{1,3}[）)、.])\s*\S"
)
_BROKEN_WORD = re.compile(r"[^\W\d_]-$")
_LEADER = re.compile(r"(?:\.\s?){4,}\s*\w{1,5}$")
"""The dots of a table of contents, and the page at their end."""
_ROMAN = re.compile(r"[ivx]{1,5}")
_END = "。！？；：.!?;:…”’」』）)"
_CJK = re.compile(
    "[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff60\U00020000-\U0003ffff]"
)


def without_running_heads(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without what is at the same place of nearby pages: running heads and feet after
    their first appearance, page numbers always."""
    found: dict[tuple[str, int], list[int]] = defaultdict(list)
    # Larger text than the body's is a heading, even where it repeats.
    sizes = [line.size for lines in pages for line in lines for _ in line.text[::20]]
    small = 1.05 * median(sizes) if sizes else 0.0
    for page, lines in enumerate(pages):
        for key in {key for line in lines for key in _keys(line, page) if line.size <= small}:
            found[key].append(page)
    seen: set[str] = set()
    kept = []
    for page, lines in enumerate(pages):
        inward = sorted(lines, key=lambda line: -line.bottom)
        out: set[int] = set()
        for edge in (inward, inward[::-1]):
            out |= _running(edge, page, found, len(pages), seen)
        kept.append([line for line in lines if id(line) not in out])
    return kept


def _running(
    inward: Sequence[Line],
    page: int,
    found: dict[tuple[str, int], list[int]],
    pages: int,
    seen: set[str],
) -> set[int]:
    """The lines of a page to drop, from an edge inward up to the first that does not repeat."""
    needed = 3 if pages > 2 else 2
    out: set[int] = set()
    for line in inward:
        near = {
            key: bisect_right(seen_on, page + _NEAR) - bisect_left(seen_on, page - _NEAR)
            for key, place in _keys(line, page)
            for seen_on in [found.get((key, place), [])]
        }
        number = line.text.strip("-–— ") if near else ""
        alone = number == "1" if pages == 1 else bool(_ROMAN.fullmatch(number))
        known = [key for key, count in near.items() if count >= needed]
        if not known and not alone:
            break
        if alone or _ONLY_COUNTS.fullmatch(line.text) or not seen.isdisjoint(known):
            out.add(id(line))
        seen.update(known)
    return out


def _keys(line: Line, page: int) -> Iterator[tuple[str, int]]:
    """What would repeat on another page: the line, or its rest beside a page number. A number
    inside a sentence is not a page number."""
    if _MARGIN < line.height < 1 - _MARGIN:
        return
    place = round(line.bottom)
    yield line.text, place
    only_counts = _ONLY_COUNTS.fullmatch(line.text)
    for match in _NUMBER.finditer(line.text[:200]):
        before, after = line.text[: match.start()], line.text[match.end() :]
        if only_counts or not re.search(r"\w", before) or not re.search(r"\w", after):
            yield f"{before}\0{int(match.group()) - page}\0{after}", place


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual line distance of a document in font sizes, and whether its pitch is fixed."""

    pitch: float
    fixed: bool


def usual(pages: Sequence[Sequence[Line]]) -> Usual:
    """The usual spacing: a wider gap ends a paragraph, and a fixed pitch is code."""
    drops = [
        (above.bottom - below.bottom) / above.size
        for lines in pages
        for above, below in pairwise(lines)
        if _are_aligned(above, below) and 0.5 < (above.bottom - below.bottom) / above.size < 2.5
    ]
    fixed = [line.fixed for lines in pages for line in lines]
    return Usual(median(drops) if drops else 1.2, sum(fixed) > len(fixed) / 2)


def paragraphs(lines: Sequence[Line], usual: Usual) -> Iterator[list[str]]:
    """Blocks of paragraphs: those of a block have no white space between them."""
    block: list[str] = []
    for run in _lines_in_runs(lines, usual.pitch):
        for text, ends_block in _of_run(run, usual):
            block.append(text)
            if ends_block:
                yield block
                block = []
    if block:
        yield block


def joined(before: str, after: str) -> str:
    """Join two pieces of a paragraph: without a space between Chinese and at a hyphenated word."""
    if _BROKEN_WORD.search(before) and after[:1].isalpha():
        whole = (
            after[0].islower()
            and before[-2].islower()
            and "-" not in before.rsplit(None, 1)[-1][:-1]
        )
        return (before[:-1] if whole else before) + after
    if _CJK.match(before[-1:]) or _CJK.match(after[:1]):
        return before + after
    return f"{before} {after}"


def continues(before: Line, after: Line) -> bool:
    """Whether a paragraph continues across the end of a page or a column."""
    if before.text[-1:] in _END or abs(before.size - after.size) > 0.1 * before.size:
        return False
    first = after.text[:1]
    both = _CJK.match(before.text[-1:]) and _CJK.match(first)
    return bool(both or first.islower()) and not _MARKER.match(after.text)


def _lines_in_runs(lines: Sequence[Line], pitch: float) -> Iterator[list[Line]]:
    """Runs of lines below each other at the usual distance, in one size."""
    run: list[Line] = []
    for line in lines:
        drop = (run[-1].bottom - line.bottom) / run[-1].size if run else 0.0
        rows = bool(run) and "\t" in run[-1].text + line.text
        most = 3.0 if rows else max(1.35 * pitch, pitch + 0.3)
        if run and not (_are_aligned(run[-1], line) and 0.5 < drop < most):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _are_aligned(above: Line, below: Line) -> bool:
    """Whether two lines have one size and one column."""
    overlap = min(above.right, below.right) - max(above.left, below.left)
    return abs(above.size - below.size) <= 0.1 * above.size and overlap > 0


def _of_run(run: Sequence[Line], usual: Usual) -> Iterator[tuple[str, bool]]:
    """(paragraph, whether white space follows it) of a run of lines."""
    right = max(line.right for line in run)
    left = min(line.left for line in run)
    indented = [line.left > left + 0.8 * line.size for line in run]
    starts_left = sum(indented) > len(run) / 2
    text = run[0].text
    for before, after, is_in in zip(run, run[1:], indented[1:], strict=False):
        broken = _BROKEN_WORD.search(before.text) and after.text[0].isalpha()
        fits = not broken and before.right + 0.3 * before.size + after.opening < right
        starts = is_in != starts_left and len(run) > 2
        listed = _MARKER.match(after.text) or _LEADER.search(before.text[-60:])
        code = after.fixed and not usual.fixed
        if fits or starts or listed or code or "\t" in before.text + after.text:
            yield text, before.text[-1:] in _END and not _MARKER.match(text)
            text = after.text
        else:
            text = joined(text, after.text)
    yield text, True
