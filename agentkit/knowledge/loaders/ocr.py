"""Recognise the text of scanned pages and images (OCR), with the extra `ocr`: Chinese and English.

RapidOCR carries its PP-OCR models, so nothing is downloaded. Each page is a part of the document;
metadata["ocr"] has the confidence and the boxes of its lines.
"""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from itertools import islice
from pathlib import PurePosixPath
from statistics import median
from typing import Any, NamedTuple

from agentkit.documents import Document, Part
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import HAS_OCR, Loaded, named_ranges
from agentkit.knowledge.loaders.pdf_page import Cell, Line
from agentkit.knowledge.loaders.pdf_tables import in_columns
from agentkit.knowledge.loaders.reflow import paragraphs, usual
from agentkit.text.terms import clean

LOW_CONFIDENCE = 0.8
"""The mean confidence of a page below which it is named in a warning, from 0 to 1."""
MOST_PIXELS = 40_000_000
LONGEST_SIDE = 4000
"""Pixels of the longer side. A larger image is recognised at this size; its boxes refer to it."""
_MOST_FRAMES = 500
_MOST_BOXES = 300
_FONT_SHARE = 0.75
"""The font size in heights of a line's box."""


class RecognisedPage(NamedTuple):
    """The lines of a page, its mean confidence from 0 to 1, and for each line its text and its box
    (left, top, right, bottom, in units of `lines_in`'s scale, from the upper left)."""

    lines: list[Line]
    confidence: float
    boxes: list[dict[str, Any]]

    @property
    def record(self) -> dict[str, Any]:
        """The page as metadata."""
        return {"confidence": round(self.confidence, 3), "lines": self.boxes[:_MOST_BOXES]}


@lru_cache(maxsize=1)
def _engine() -> Any:
    from rapidocr import RapidOCR

    threads = "EngineConfig.onnxruntime.{}_op_num_threads"
    return RapidOCR(
        params={
            "Global.log_level": "error",
            threads.format("intra"): 1,
            threads.format("inter"): 1,
            "EngineConfig.onnxruntime.enable_cpu_mem_arena": False,
        }
    )


def recognise(image: Any, scale: float = 1.0) -> RecognisedPage:
    """The text of an image, an array of (height, width, 3) bytes. `scale` is pixels per unit of the
    coordinates that are returned."""
    found = _engine()(image)
    boxes: list[dict[str, Any]] = []
    if found.txts is not None:
        for corners, written, score in zip(found.boxes, found.txts, found.scores, strict=True):
            text = " ".join(clean(str(written)).split())
            if any(map(str.isalnum, text)):  # Others are found in plain areas.
                xs, ys = ([float(point[axis]) / scale for point in corners] for axis in (0, 1))
                box = [round(value, 1) for value in (min(xs), min(ys), max(xs), max(ys))]
                boxes.append({"text": text, "box": box, "confidence": round(float(score), 3)})
    heights = [box["box"][3] - box["box"][1] for box in boxes]
    usual_size = median(heights) * _FONT_SHARE if heights else 1.0
    lines = [_line(box["text"], box["box"], usual_size, image.shape[0] / scale) for box in boxes]
    characters = sum(len(box["text"]) for box in boxes)
    total = sum(box["confidence"] * len(box["text"]) for box in boxes)
    return RecognisedPage(lines, total / characters if characters else 1.0, boxes)


def _line(text: str, box: list[float], usual_size: float, height: float) -> Line:
    left, top, right, bottom = box
    size = max(1.0, (bottom - top) * _FONT_SHARE)
    # The heights of boxes vary with the letters in them; text of one size must not.
    size = usual_size if 0.75 < size / usual_size < 1.33 else size
    opening = (right - left) * len(text.split()[0]) / len(text)
    # From the middle, for the same reason, and because a scan may be a little turned.
    base = height - (top + bottom) / 2 - size / 2
    cells = (Cell(text, left, right),)
    return Line(text, left, right, base, size, opening, base / height, False, cells)


def confidence_warning(pages: dict[str, Any], kind: str = "page") -> tuple[str, ...]:
    """A line that names the pages of low confidence. `pages` is metadata["ocr"]."""
    low = [int(name) for name, page in pages.items() if page["confidence"] < LOW_CONFIDENCE]
    if not low:
        return ()
    worst = min(pages[str(number)]["confidence"] for number in low)
    return (
        f"{named_ranges(kind, low)}: recognised by OCR with a confidence of {worst:.0%}. "
        "Compare it with the original",
    )


def load_image(content: bytes, source: str) -> Loaded:
    """An image as a document, each frame of a TIFF a page. Raises KnowledgeError for one that is
    damaged or too large."""
    if not HAS_OCR:
        raise KnowledgeError('an image: needs pip install "agentkit-rag[ocr]"')
    import numpy as np
    from PIL import Image, ImageOps, ImageSequence, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = MOST_PIXELS
    pages: list[list[Line]] = []
    records: dict[str, Any] = {}
    try:
        with Image.open(BytesIO(content)) as image:
            for number, frame in enumerate(islice(ImageSequence.Iterator(image), _MOST_FRAMES), 1):
                if frame.width * frame.height > MOST_PIXELS:
                    raise KnowledgeError(f"more than {MOST_PIXELS / 1e6:.0f} megapixels: scale it")
                upright = ImageOps.exif_transpose(frame).convert("RGB")
                upright.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
                page = recognise(np.asarray(upright))
                pages.append(page.lines)
                records |= {str(number): page.record} if page.lines else {}
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, SyntaxError) as error:
        raise KnowledgeError("damaged: open it in an image viewer and save it again") from error
    norm = usual(pages)
    text, parts = "", list[Part]()
    for number, lines in enumerate(pages, 1):
        blocks = ("\n".join(block) for block in paragraphs(in_columns(lines), norm))
        written = "\n\n".join(blocks)
        text += "\n\n" if text and written else ""
        parts.append(Part("page", str(number), len(text), len(text) + len(written)))
        text += written
    metadata = {"ocr": records} if records else {}
    document = Document(
        source,
        text,
        PurePosixPath(source).stem,
        metadata=metadata,
        format="text",
        parts=tuple(parts),
    )
    return Loaded(document, confidence_warning(records))
