"""How a page of a PDF is shown: its box, how far its text is turned, and which text is seen.

PDFium is not thread-safe: callers hold the lock of pdf.py.
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

QUARTER = math.pi / 2
_WHITE = 250
_SEEN = 12
"""The difference in brightness, of 255, that can be seen."""
_SCALE = 1.5
_INVISIBLE = 3
_UNMAPPED = 0.05
"""The share of control characters from which the fonts of a page tell nothing."""
_SAMPLED = 40


class Box(NamedTuple):
    """A rectangle in points, with the origin at the lower left of the page as it is shown."""

    left: float
    bottom: float
    right: float
    top: float

    def covers(self, x: float, y: float) -> bool:
        """Whether a point lies inside."""
        return self.left <= x <= self.right and self.bottom <= y <= self.top


class PageView(NamedTuple):
    """How a page is shown: its box, how far it is turned, and which text cannot be seen."""

    area: Box
    turned: int
    hides: Callable[[int, Box], bool] | None
    is_hidden: bool
    """Whether no text is drawn, as on a scan with the text of an earlier OCR."""
    is_unmapped: bool
    """Whether the fonts do not tell which characters they show."""
    objects: Sequence[Any]
    """What is drawn on the page, objects of pypdfium2."""

    @property
    def height(self) -> float:
        """The height of the page as it is shown."""
        return (
            self.area.right - self.area.left
            if self.turned % 2
            else self.area.top - self.area.bottom
        )

    @classmethod
    def of(cls, page: Any, text_page: Any) -> PageView:
        """How a page of PDFium is shown."""
        area = Box(*page.get_bbox())
        objects = list(page.get_objects(max_depth=4))
        hides, is_hidden = _hidden(page, text_page, objects)
        turned, is_unmapped = _turned_text(text_page), _is_unmapped(text_page)
        return cls(area, turned, hides, is_hidden, is_unmapped, objects)

    def between(self, first: tuple[float, float], second: tuple[float, float]) -> Box:
        """The box of two points of the page's own coordinates as it is shown."""
        (x1, y1), (x2, y2) = first, second
        return self.placed(Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))

    def placed(self, box: Box) -> Box:
        """A box of the page's own coordinates as it is shown."""
        left, bottom, right, top = box
        area = self.area
        if self.turned == 1:
            return Box(
                bottom - area.bottom, area.right - right, top - area.bottom, area.right - left
            )
        if self.turned == 2:
            return Box(area.right - right, area.top - top, area.right - left, area.top - bottom)
        if self.turned == 3:
            return Box(area.top - top, left - area.left, area.top - bottom, right - area.left)
        return Box(left - area.left, bottom - area.bottom, right - area.left, top - area.bottom)


def _turned_text(text_page: Any) -> int:
    """How many quarters most of the text is turned: on pages that the viewer turns, and in wide
    tables on upright pages."""
    from pypdfium2 import raw

    count = raw.FPDFText_CountChars(text_page)
    angles: Counter[int] = Counter()
    for index in range(0, count, max(1, count // _SAMPLED)):
        angle = raw.FPDFText_GetCharAngle(text_page, index)
        angles[round(angle / QUARTER) % 4 if angle > 0 else 0] += 1
    return -angles.most_common(1)[0][0] % 4 if angles else 0


def _is_unmapped(text_page: Any) -> bool:
    from pypdfium2 import raw

    count = raw.FPDFText_CountChars(text_page)
    step = max(1, count // (5 * _SAMPLED))
    codes = [raw.FPDFText_GetUnicode(text_page, at) for at in range(0, count, step)]
    wild = sum((code < 32 and code not in (9, 10, 13)) or code == 0xFFFD for code in codes)
    return bool(wild > max(2, _UNMAPPED * len(codes)))


def _hidden(
    page: Any, text_page: Any, objects: Sequence[Any]
) -> tuple[Callable[[int, Box], bool] | None, bool]:
    """A test for the characters that cannot be seen, None where all text objects are visible; and
    whether all are invisible."""
    from pypdfium2 import raw

    colour = [ctypes.c_uint() for _ in range(4)]
    pointers = [ctypes.byref(part) for part in colour]

    def is_faint(item: Any) -> bool:
        known = bool(raw.FPDFPageObj_GetFillColor(item, *pointers))
        red, green, blue, alpha = (int(part.value) for part in colour)
        return known and (alpha == 0 or min(red, green, blue) >= _WHITE)

    def is_invisible(item: Any) -> bool:
        return bool(raw.FPDFTextObj_GetTextRenderMode(item) == _INVISIBLE)

    texts = [item.raw for item in objects if item.type == raw.FPDF_PAGEOBJ_TEXT]
    if not any(is_faint(item) or is_invisible(item) for item in texts):
        return None, False
    behind = [
        Box(*item.get_bounds())
        for item in objects
        if item.type in (raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_SHADING)
        and not (item.type == raw.FPDF_PAGEOBJ_PATH and is_faint(item.raw))
    ]

    is_drawn = _contrast(page)

    def hides(index: int, box: Box) -> bool:
        item = raw.FPDFText_GetTextObject(text_page, index)
        if not item or not (is_faint(item) or is_invisible(item)):
            return False
        middle = (box.left + box.right) / 2, (box.bottom + box.top) / 2
        if any(area.covers(*middle) for area in behind):
            return False
        # PDFium tells the colour of patterns, which are seen, as white.
        return is_invisible(item) or not is_drawn(box)

    return hides, all(map(is_invisible, texts))


def _contrast(page: Any) -> Callable[[Box], bool]:
    """A test whether something can be seen in a part of a page, which is drawn when first asked."""

    @lru_cache(maxsize=1)
    def drawn() -> tuple[Any, Any]:
        bitmap = page.render(scale=_SCALE, grayscale=True)
        return bitmap.to_numpy(), bitmap.get_posconv(page)

    def is_drawn(box: Box) -> bool:
        image, position = drawn()
        (x1, y1), (x2, y2) = (position.to_bitmap(*box[at : at + 2]) for at in (0, 2))
        part = image[max(0, min(y1, y2)) : max(y1, y2) + 1, max(0, min(x1, x2)) : max(x1, x2) + 1]
        return bool(part.size and int(part.max()) - int(part.min()) > _SEEN)

    return is_drawn
