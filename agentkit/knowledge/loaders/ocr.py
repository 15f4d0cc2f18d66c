"""Recognise the text of scanned pages and images (OCR), with the extra `ocr`: Chinese and English.

RapidOCR carries its PP-OCR models, so nothing is downloaded. A page that is turned or a little
askew, vertical Chinese and columns of prose are read in their order; metadata["ocr"] has the
confidence and the boxes of the lines.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import chain, pairwise
from statistics import mean, median
from typing import Any, NamedTuple

from agentkit.knowledge.loaders.files import named_ranges, parsing_bounds
from agentkit.knowledge.loaders.pdf_page import Cell, Line
from agentkit.knowledge.loaders.reflow import CJK
from agentkit.text.terms import clean

LOW_CONFIDENCE = 0.8
"""The mean confidence of a page below which it is named in a warning, from 0 to 1."""
_MOST_BOXES = 300
_FONT_SHARE = 0.75
"""The font size in heights of a line's box."""
_MOST_SIDE = 2000
"""Pixels of the longer side, to which the engine reduces an image."""
_LEAST_SIDE = 8
_LONG = 2.5
"""Long sides in short ones, from which an image is recognised in parts."""
_SHARE_OF_BOUNDS = 0.7
_SAME_ROW = 0.4
"""In font sizes: how far the middles of two pieces of one row may differ."""
_WIDE = 0.6
"""The share of the page's width from which a line stands over all columns."""
_LEAST_ROWS = 4

Point = tuple[float, float]


class Budget:
    """The CPU time for the OCR of one file of `size` bytes: a part of the bounds of its parser, so
    that the pages that were read are kept."""

    def __init__(self, size: int, source: str) -> None:
        self.seconds = (parsing_bounds(size, source).cpu_seconds or math.inf) * _SHARE_OF_BOUNDS
        self._ends = time.process_time() + self.seconds

    @property
    def is_spent(self) -> bool:
        """Whether no time is left."""
        return time.process_time() > self._ends


class RecognisedPage(NamedTuple):
    """The lines of a page in reading order, its mean confidence from 0 to 1, and for each line its
    text and its box (left, top, right, bottom, in units of `recognise`'s scale, from the upper
    left of the image)."""

    lines: list[Line]
    confidence: float
    boxes: list[dict[str, Any]]

    @property
    def record(self) -> dict[str, Any]:
        """The page as metadata."""
        return {"confidence": round(self.confidence, 3), "lines": self.boxes[:_MOST_BOXES]}


class _Piece(NamedTuple):
    """A recognised text, and its corners from the one where it begins, clockwise, in pixels."""

    text: str
    corners: list[Point]
    confidence: float


@lru_cache(maxsize=1)
def _engine() -> Any:
    from rapidocr import RapidOCR

    threads = "EngineConfig.onnxruntime.{}_op_num_threads"
    return RapidOCR(
        params={
            "Global.log_level": "error",
            "Global.max_side_len": _MOST_SIDE,
            # Its classifier turns upright lines around. `recognise` judges the whole page.
            "Global.use_cls": False,
            threads.format("intra"): 1,
            threads.format("inter"): 1,
            "EngineConfig.onnxruntime.enable_cpu_mem_arena": False,
        }
    )


def recognise(image: Any, scale: float = 1.0) -> RecognisedPage:
    """The text of an image, an array of (height, width, 3) bytes. `scale` is pixels per unit of the
    coordinates that are returned."""
    height, width = image.shape[:2]
    pieces = _pieces(image)
    placed = pieces
    if pieces and _confidence(pieces) < LOW_CONFIDENCE:
        turned = _pieces(image[::-1, ::-1].copy())
        if turned and _confidence(turned) > _confidence(pieces):
            pieces = turned
            placed = [
                piece._replace(corners=[(width - x, height - y) for x, y in piece.corners])
                for piece in turned
            ]
    lines = _lines(pieces, (width, height), scale)
    ordered = list(_in_order(_in_rows(lines)))
    boxes = [_box(placed[at], scale, (width, height)) for at, _ in ordered]
    return RecognisedPage([line for _, line in ordered], _confidence(pieces), boxes)


def _pieces(image: Any) -> list[_Piece]:
    found = []
    for left, top, part in _parts(image):
        result = _engine()(part)
        if result.txts is None:
            continue
        for corners, written, score in zip(result.boxes, result.txts, result.scores, strict=True):
            text = " ".join(clean(str(written)).split())
            if any(map(str.isalnum, text)):  # Others are found in plain areas.
                moved = [(float(x) + left, float(y) + top) for x, y in corners]
                found.append(_Piece(text, moved, float(score)))
    return found


def _parts(image: Any) -> Iterator[tuple[int, int, Any]]:
    """(left, top, image) of the parts of a long image, such as a scrolled screen, which the engine
    would shrink until it cannot be read; cut where the least is drawn."""
    import numpy as np

    axis = 0 if image.shape[0] >= image.shape[1] else 1
    length, across = image.shape[axis], image.shape[1 - axis]
    if across < _LEAST_SIDE:
        return
    size = max(_MOST_SIDE, 2 * across) if length > _LONG * across else length
    drawn = (np.ptp(image, axis=(1 - axis, 2))).astype(int) if length > size else None
    start = 0
    while start < length:
        end = min(length, start + size)
        if end < length and drawn is not None:
            first = start + size // 2
            smooth = np.convolve(drawn[first:end], np.ones(9), mode="same")
            end = first + int(smooth.argmin())
        yield (0, start, image[start:end]) if axis == 0 else (start, 0, image[:, start:end])
        start = end


def _confidence(pieces: Sequence[_Piece]) -> float:
    """The mean over the characters, 1 where there are none."""
    characters = sum(len(piece.text) for piece in pieces)
    total = sum(piece.confidence * len(piece.text) for piece in pieces)
    return total / characters if characters else 1.0


def _box(piece: _Piece, scale: float, size: tuple[int, int]) -> dict[str, Any]:
    xs, ys = (
        [min(max(point[axis], 0.0), size[axis]) / scale for point in piece.corners]
        for axis in (0, 1)
    )
    box = [round(value, 1) for value in (min(xs), min(ys), max(xs), max(ys))]
    return {"text": piece.text, "box": box, "confidence": round(piece.confidence, 3)}


def _direction(pieces: Sequence[_Piece]) -> float:
    """The angle in which most of the text runs, in radians: 0 is level, a right angle down the
    page, as in vertical Chinese and on a page that is turned."""
    angles: dict[bool, list[float]] = {False: [], True: []}
    for piece in pieces:
        first, second, _, fourth = piece.corners
        is_tall = len(piece.text) > 1 and math.dist(first, fourth) > 1.5 * math.dist(first, second)
        end = fourth if is_tall else second
        angle = math.atan2(end[1] - first[1], end[0] - first[0])
        angles[is_tall] += [angle] * len(piece.text)
    most = max(angles.values(), key=len)
    return median(most) if most else 0.0


def _lines(pieces: Sequence[_Piece], size: tuple[int, int], scale: float) -> list[Line]:
    """The pieces as lines of a page that is turned until its text is level."""
    angle = _direction(pieces)
    sine, cosine = math.sin(angle), math.cos(angle)

    def level(point: Point) -> Point:
        x, y = point
        return (x * cosine + y * sine) / scale, (y * cosine - x * sine) / scale

    width, height = size
    heights = [level(corner)[1] for corner in ((0, 0), (width, 0), (0, height), (width, height))]
    foot, extent = max(heights), max(heights) - min(heights)
    boxes = []
    for piece in pieces:
        xs, ys = zip(*map(level, piece.corners), strict=True)
        # The corners of a slanted piece reach over its neighbours; its sides do not.
        top, bottom = (sum(sorted(ys)[at : at + 2]) / 2 for at in (0, 2))
        boxes.append((min(xs), foot - bottom, max(xs), foot - top))
    sizes = [max(1.0, (top - bottom) * _FONT_SHARE) for _, bottom, _, top in boxes]
    usual = median(sizes) if sizes else 1.0
    found = []
    for piece, (left, bottom, right, top), own in zip(pieces, boxes, sizes, strict=True):
        # The heights of boxes vary with the letters in them; text of one size must not.
        font = usual if 0.75 < own / usual < 1.33 else own
        # From the middle, for the same reason.
        base = (top + bottom) / 2 - font / 2
        opening = (right - left) * len(piece.text.split()[0]) / len(piece.text)
        cells = (Cell(piece.text, left, right),)
        found.append(
            Line(piece.text, left, right, base, font, opening, base / extent, False, cells)
        )
    return found


_Numbered = tuple[int, Line]


def _in_rows(lines: Sequence[Line]) -> list[list[_Numbered]]:
    """The lines with their numbers, as rows from the top down, each from left to right."""
    rows: list[list[_Numbered]] = []
    for at in sorted(range(len(lines)), key=lambda at: -_middle(lines[at])):
        line = lines[at]
        first = rows[-1][0][1] if rows else line
        if rows and _middle(first) - _middle(line) <= _SAME_ROW * min(first.size, line.size):
            rows[-1].append((at, replace(line, bottom=first.bottom)))
        else:
            rows.append([(at, line)])
    return [sorted(row, key=lambda each: each[1].left) for row in rows]


def _middle(line: Line) -> float:
    return line.bottom + line.size / 2


def _in_order(rows: Sequence[list[_Numbered]]) -> Iterator[_Numbered]:
    """The lines in reading order: what stands between two lines over the whole width is read
    column by column where it is prose, else row by row."""
    lines = [line for row in rows for _, line in row]
    width = max((ln.right for ln in lines), default=0) - min((ln.left for ln in lines), default=0)
    band: list[list[_Numbered]] = []
    for row in rows:
        if max(line.right - line.left for _, line in row) > _WIDE * width:
            yield from _of_band(band)
            yield from row
            band = []
        else:
            band.append(row)
    yield from _of_band(band)


def _of_band(rows: Sequence[list[_Numbered]]) -> list[_Numbered]:
    """The lines of a band; a title above its columns and a page number below may be short."""
    for first, last in ((0, len(rows)), (1, len(rows)), (0, -1), (1, -1)):
        columns = _columns([each for row in rows[first:last] for each in row])
        if len(columns) > 1 and all(map(_is_prose, columns)):
            after = rows[len(rows[:last]) :]
            return list(chain.from_iterable([*rows[:first], *columns, *after]))
    return list(chain.from_iterable(rows))


def _columns(lines: Sequence[_Numbered]) -> list[list[_Numbered]]:
    """The lines by the columns in which they stand, with a gap between any two."""
    columns: list[list[_Numbered]] = []
    end = 0.0
    for at, line in sorted(lines, key=lambda each: each[1].left):
        if not columns or line.left > end + line.size / 2:
            columns.append([])
            end = line.right
        columns[-1].append((at, line))
        end = max(end, line.right)
    return [sorted(column, key=lambda each: -each[1].bottom) for column in columns]


def _is_prose(column: Sequence[_Numbered]) -> bool:
    """Whether lines are of running text: near to each other, filled, and begun inside sentences."""
    lines = [line for _, line in column]
    if len(lines) < _LEAST_ROWS:
        return False
    drops = [above.bottom - below.bottom for above, below in pairwise(lines)]
    widths = [line.right - line.left for line in lines]
    inside = [
        line.text[:1].islower() or (len(line.text) > 7 and CJK.match(line.text) is not None)
        for line in lines
    ]
    near = median(drops) < 2.5 * median(line.size for line in lines)
    return near and mean(widths) > 0.7 * max(widths) and mean(inside[1:]) > 0.4


def confidence_warning(pages: dict[str, Any]) -> tuple[str, ...]:
    """A line that names the pages of low confidence. `pages` is metadata["ocr"]."""
    low = [int(name) for name, page in pages.items() if page["confidence"] < LOW_CONFIDENCE]
    if not low:
        return ()
    worst = min(pages[str(number)]["confidence"] for number in low)
    return (
        f"{named_ranges('page', low)}: recognised by OCR with a confidence of {worst:.0%}. "
        "Compare it with the original",
    )


def late_warning(pages: Sequence[int], seconds: float) -> tuple[str, ...]:
    """A line that names the pages that were not recognised for lack of time."""
    if not pages:
        return ()
    return (
        f"{named_ranges('page', pages)} not recognised: OCR of the file took its {seconds:.0f} s "
        "of CPU time. Split it",
    )
