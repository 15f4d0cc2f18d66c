"""Pages of PDF files and images as PNG, with a quote highlighted; drawn in child processes with
bounds.

The quote is found among the characters of the page, or among the lines that OCR recognised on it,
by its letters and digits alone, since the document's text was reflowed: lines are joined, tables
and headings marked.
"""

from __future__ import annotations

import base64
import re
import struct
import unicodedata
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agentkit._child import Bounds, ChildFailed
from agentkit._child.pool import Pool
from agentkit.knowledge.loaders.files import read_bytes
from agentkit.knowledge.loaders.images import open_image, upright
from agentkit.server.errors import ApiError

if TYPE_CHECKING:
    from agentkit._child.worker import Report

BOUNDS = Bounds(seconds=40.0, cpu_seconds=20.0, memory_mb=800.0, result_bytes=24_000_000)
LONGEST_SIDE = 1800
"""In pixels."""

MOST_SCALE = 2.5
"""In pixels for each point: 180 dots per inch."""

MOST_CHARACTERS = 100_000
"""Characters of a page among which a quote is looked for."""

CACHED_BYTES = 48_000_000
_COLOUR = np.array([255, 226, 77], np.uint16)
_LEAST_MATCH, _LEAST_CELL = 12, 4
"""Letters that a piece, and a line or cell, of a quote needs to be highlighted where the whole is
not found."""

Image = NDArray[np.uint8]
Line = Mapping[str, Any]
"""A line that OCR recognised: its `text` and its `box` (left, top, right, bottom)."""

Rectangle = tuple[float, float, float, float]


class PageImages:
    """Draws pages; the last ones are kept. Its methods may be called by any thread."""

    def __init__(self, size: int = 2) -> None:
        self._pool = Pool(size)
        self._lock = Lock()
        self._cached: OrderedDict[tuple[object, ...], bytes] = OrderedDict()

    def draw(
        self,
        path: Path,
        number: int,
        quote: str,
        near: float,
        max_bytes: int,
        lines: Sequence[Line] = (),
    ) -> bytes:
        """Page `number` (from 1) as a PNG. `near` is where the quote begins on the page, from 0 to
        1, for one that it has twice, and `lines` are those that OCR recognised on it. Raises
        ApiError, and KnowledgeError for an unreadable file."""
        status = path.stat()
        key = (path, status.st_mtime_ns, status.st_size, number, quote, near)
        with self._lock:
            if key in self._cached:
                self._cached.move_to_end(key)
                return self._cached[key]
        content = read_bytes(path, max_bytes)
        arguments = {"number": number, "quote": quote, "near": near, "lines": list(lines)}
        try:
            record = self._pool.call(f"{__name__}:draw_in_child", arguments, content, BOUNDS)
        except ChildFailed as error:
            raise ApiError(
                422, f"This page cannot be drawn ({error}). Open the original.", "not_drawn"
            ) from error
        if not isinstance(record, dict) or "png" not in record:
            raise ApiError(404, "The document has no such page.", "page_not_found")
        return self._keep(key, base64.b64decode(record["png"]))

    def _keep(self, key: tuple[object, ...], png: bytes) -> bytes:
        with self._lock:
            self._cached[key] = png
            while sum(map(len, self._cached.values())) > CACHED_BYTES:
                self._cached.popitem(last=False)
        return png

    def close(self) -> None:
        """End the children."""
        self._pool.close()


def draw_in_child(
    content: bytes, report: Report, number: int, quote: str, near: float, lines: Sequence[Line]
) -> dict[str, Any]:
    """A page as base64 of a PNG; nothing for a page that there is not."""
    draw = _draw_pdf if b"%PDF-" in content[:1024] else _draw_image
    image = draw(content, number, quote, near, lines)
    return {} if image is None else {"png": base64.b64encode(encode_png(image)).decode()}


def _draw_pdf(
    content: bytes, number: int, quote: str, near: float, lines: Sequence[Line]
) -> Image | None:
    import pypdfium2

    pdf = pypdfium2.PdfDocument(content)
    if not 1 <= number <= len(pdf):
        return None
    pdf.init_forms()
    page = pdf[number - 1]
    scale = min(MOST_SCALE, LONGEST_SIDE / max(1.0, *page.get_size()))
    bitmap = page.render(scale=scale, rev_byteorder=True, prefer_bgrx=True)
    image: Image = np.array(bitmap.to_numpy()[:, :, :3])
    if lines:
        _highlight_lines(image, lines, quote, near, scale)
        return image
    position = bitmap.get_posconv(page)
    for left, bottom, right, top in rectangles(page.get_textpage(), quote, near):
        corners = [position.to_bitmap(left, bottom), position.to_bitmap(right, top)]
        xs, ys = zip(*corners, strict=True)
        _highlight(image, min(xs), min(ys), max(xs), max(ys))
    return image


def _draw_image(
    content: bytes, number: int, quote: str, near: float, lines: Sequence[Line]
) -> Image | None:
    """A frame of an image, whose boxes are in pixels of the size that OCR saw."""
    with open_image(content) as file:
        if not 1 <= number <= getattr(file, "n_frames", 1):
            return None
        file.seek(number - 1)
        shown = upright(file)
    seen = max(shown.size)
    shown.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    image: Image = np.array(shown)
    _highlight_lines(image, lines, quote, near, max(shown.size) / seen)
    return image


def _highlight_lines(
    image: Image, lines: Sequence[Line], quote: str, near: float, scale: float
) -> None:
    for rectangle in line_rectangles(lines, quote, near):
        _highlight(image, *(scale * each for each in rectangle))


def line_rectangles(lines: Sequence[Line], quote: str, near: float) -> Iterator[Rectangle]:
    """The rectangles of a quote among lines, in units of their boxes: left, top, right, bottom. In
    a line, all characters count as equally wide."""
    letters, places = "", list[tuple[int, int]]()
    for number, line in enumerate(lines):
        folded, at = _letters(line["text"])
        letters += folded
        places += [(number, each) for each in at]
    for start, end in matches(letters, quote, near):
        for number, found in groupby(places[start:end], key=lambda place: place[0]):
            columns = [column for _, column in found]
            left, top, right, bottom = lines[number]["box"]
            width = (right - left) / len(lines[number]["text"])
            yield left + columns[0] * width, top, left + (columns[-1] + 1) * width, bottom


def rectangles(text_page: Any, quote: str, near: float) -> Iterator[Rectangle]:
    """The rectangles of a quote on a page, in points: left, bottom, right, top."""
    from pypdfium2 import raw

    count = min(text_page.count_chars(), MOST_CHARACTERS)
    codes = (raw.FPDFText_GetUnicode(text_page, at) for at in range(count))
    letters, places = _letters("".join(map(chr, codes)))
    for start, end in matches(letters, quote, near):
        first, last = places[start], places[end - 1]
        for at in range(text_page.count_rects(first, last - first + 1)):
            yield text_page.get_rect(at)


def _letters(text: str) -> tuple[str, list[int]]:
    """The letters and digits of a text, folded, and the place of each."""
    folded: list[str] = []
    places: list[int] = []
    for at, character in enumerate(text):
        for each in unicodedata.normalize("NFKC", character).casefold():
            if each.isalnum():
                folded.append(each)
                places.append(at)
    return "".join(folded), places


def matches(letters: str, quote: str, near: float) -> list[tuple[int, int]]:
    """The ranges of the letters of a page that a quote has: the whole, else the pieces that stand
    on the page together, else its lines and cells."""
    wanted, _ = _letters(quote)
    if not wanted or not letters:
        return []
    if whole := _nearest(letters, wanted, near):
        return [whole]
    least = min(_LEAST_MATCH, len(wanted))
    blocks = SequenceMatcher(None, letters, wanted, autojunk=False).get_matching_blocks()
    found = [(block.a, block.a + block.size) for block in blocks if block.size >= least]
    if sum(end - start for start, end in found) > len(wanted) / 2:
        return found
    pieces = (_letters(piece)[0] for piece in re.split(r"[\n\t|]+", quote))
    cells = [_nearest(letters, piece, near) for piece in pieces if len(piece) >= _LEAST_CELL]
    return found + [cell for cell in cells if cell]


def _nearest(letters: str, wanted: str, near: float) -> tuple[int, int] | None:
    """The range of `wanted` that begins nearest to a place from 0 to 1, None without one."""
    starts, at = [], letters.find(wanted)
    while at >= 0:
        starts.append(at)
        at = letters.find(wanted, at + 1)
    if not starts:
        return None
    best = min(starts, key=lambda start: abs(start / len(letters) - near))
    return best, best + len(wanted)


def _highlight(image: Image, left: float, top: float, right: float, bottom: float) -> None:
    """Colour a rectangle as a marker pen does: dark text stays dark."""
    height, width = image.shape[:2]
    rows = slice(max(0, int(top) - 1), min(height, int(bottom) + 2))
    columns = slice(max(0, int(left) - 1), min(width, int(right) + 2))
    image[rows, columns] = (image[rows, columns].astype(np.uint16) * _COLOUR // 255).astype(
        np.uint8
    )


def encode_png(image: Image) -> bytes:
    """RGB pixels of shape (height, width, 3) as a PNG (https://www.w3.org/TR/png-3/)."""
    height, width = image.shape[:2]
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row begins with its filter, none
    rows[:, 1:] = image.reshape(height, 3 * width)

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(rows.tobytes(), 4))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")
