"""Recognise the pages of a PDF that are scans, and the scanned parts of pages with text.

PDFium is not thread-safe: callers hold the lock of pdf.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from agentkit.knowledge.loaders.ocr import Budget, RecognisedPage, recognise
from agentkit.knowledge.loaders.pdf_page import Line
from agentkit.knowledge.loaders.pdf_view import Box, PageView
from agentkit.knowledge.loaders.reflow import CJK

_LEAST_TEXT = 40
"""Characters, as of a running head or stamp, below which a page may be a scan; and those of a
picture on a page of text that count as text."""
_MOST_OBJECTS = 5000
_DRAWN = 20
"""Drawn objects from which a page without much text may have its text drawn as outlines."""
_BARE = 0.2
"""The share of a page of text that pictures cover without text on them, from which it is read."""
_COVERED = 0.03
"""The share of a picture's area that text covers at least where the text is its own."""
_DOTS_PER_INCH = 200
_LONGEST_SIDE = 4000
_SAMPLE = 100
"""Characters of hidden text from which it is compared with what is seen."""
_AGREES = 0.5
_SURE = 0.9


class Scans:
    """The scanned pages of one file, recognised within a budget."""

    def __init__(self, budget: Budget) -> None:
        self.late: list[int] = []
        """The pages that were not recognised for lack of time, from 1."""
        self._budget = budget
        self._hidden_is_right: bool | None = None

    def read(
        self, page: Any, number: int, lines: list[Line], view: PageView
    ) -> tuple[list[Line], RecognisedPage | None]:
        """The lines of a page with those of its pictures in their places, and what was recognised,
        None where the page is text. Hidden text of an earlier OCR is taken where, on the first page
        that has some, it agrees with what is seen."""
        unsure = view.is_hidden and self._hidden_is_right is None and _length(lines) >= _SAMPLE
        is_wrong = view.is_unmapped or (view.is_hidden and self._hidden_is_right is False)
        if not (unsure or is_wrong or _has_scan(page, lines)):
            return lines, None
        if self._budget.is_spent:
            self.late.append(number)
            return lines, None
        found = _recognise(page)
        if unsure and not is_wrong:
            is_wrong = _contradicts(found, lines)
            self._hidden_is_right = not is_wrong
            if not is_wrong:
                return lines, None
        return _merged([] if is_wrong and found.lines else lines, found, view)


def _length(lines: Sequence[Line]) -> int:
    return sum(len(line.text) for line in lines)


def _has_scan(page: Any, lines: Sequence[Line]) -> bool:
    """Whether a page has hardly any text and something drawn, or pictures without text on them."""
    from pypdfium2 import raw

    pictures, drawn = list[Box](), 0
    kinds = [raw.FPDF_PAGEOBJ_IMAGE]
    if _length(lines) < _LEAST_TEXT:
        kinds += [raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_SHADING]
    for item in islice(page.get_objects(filter=kinds, max_depth=12), _MOST_OBJECTS):
        drawn += 1
        if item.type == raw.FPDF_PAGEOBJ_IMAGE:
            pictures.append(Box(*item.get_bounds()))
    if _length(lines) < _LEAST_TEXT:
        return bool(pictures) or drawn >= (_DRAWN if lines else 1)
    texts = [Box(line.left, line.bottom, line.right, line.bottom + line.size) for line in lines]
    bare = sum(
        area
        for picture in pictures
        if (area := _shared(picture, picture))
        and sum(_shared(picture, text) for text in texts) < _COVERED * area
    )
    return bool(bare >= _BARE * page.get_width() * page.get_height())


def _shared(one: Box, other: Box) -> float:
    """The area that two boxes share."""
    across = min(one.right, other.right) - max(one.left, other.left)
    up = min(one.top, other.top) - max(one.bottom, other.bottom)
    return max(0.0, across) * max(0.0, up)


def _recognise(page: Any) -> RecognisedPage:
    """The text of a page as it is drawn, with boxes in points from its upper left."""
    longest = max(page.get_width(), page.get_height(), 1.0)
    scale = min(_DOTS_PER_INCH / 72, _LONGEST_SIDE / longest)
    image = page.render(scale=scale, rev_byteorder=True, maybe_alpha=False).to_numpy()
    return recognise(image[:, :, :3], scale)


def _contradicts(found: RecognisedPage, hidden: Sequence[Line]) -> bool:
    """Whether hidden text is another than what is surely seen. Scripts that the models do not know
    are left as they are."""
    seen, written = (
        "".join("".join(line.text.split()) for line in lines).casefold()
        for lines in (found.lines, hidden)
    )
    letters = [character for character in written if character.isalpha()]
    known = sum(character < "\u0250" or CJK.match(character) is not None for character in letters)
    if found.confidence < _SURE or len(seen) < len(written) / 2 or known < 0.8 * len(letters):
        return False
    of_seen, of_hidden = (
        {text[at : at + 3] for at in range(len(text) - 2)} for text in (seen, written)
    )
    return len(of_seen & of_hidden) < _AGREES * min(len(of_seen), len(of_hidden))


def _merged(
    lines: list[Line], found: RecognisedPage, view: PageView
) -> tuple[list[Line], RecognisedPage | None]:
    """The lines of a page with those that are only seen, as a block where the first one stands."""
    height = view.height
    texts = [Box(ln.left, ln.bottom, ln.right, ln.bottom + ln.size) for ln in lines]
    kept = []
    for line, record in zip(found.lines, found.boxes, strict=True):
        left, top, right, bottom = record["box"]
        box = Box(left, height - bottom, right, height - top)
        if sum(_shared(box, text) for text in texts) < 0.2 * _shared(box, box):
            kept.append((line, record))
    added = [line for line, _ in kept]
    if not added or (_length(lines) >= _LEAST_TEXT > _length(added)):
        return lines, None
    top = min(record["box"][1] for _, record in kept)
    at = sum(height - line.bottom <= top for line in lines)
    recognised = found._replace(lines=added, boxes=[record for _, record in kept])
    return [*lines[:at], *added, *lines[at:]], recognised
