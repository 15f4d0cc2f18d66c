"""Load images as documents by OCR: each frame of a TIFF or an animation is a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document, Part
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import HAS_OCR, Loaded, named_ranges
from agentkit.knowledge.loaders.ocr import Budget, confidence_warning, late_warning, recognise
from agentkit.knowledge.loaders.pdf_page import Line
from agentkit.knowledge.loaders.pdf_tables import in_columns
from agentkit.knowledge.loaders.reflow import paragraphs, usual

_MOST_PIXELS = 100_000_000
_SEEN_PIXELS = 16_000_000
_MOST_FRAMES = 500
_FAULTS = (OSError, SyntaxError, TypeError, ValueError)
"""What Pillow raises for damaged images."""
_DAMAGED = "damaged: open it in an image viewer and save it again"


def open_image(content: bytes) -> Any:
    """An image, whose frames are decoded by `upright`. Raises KnowledgeError for other content."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # `upright` bounds each frame before it is decoded.
    try:
        return Image.open(BytesIO(content))
    except (UnidentifiedImageError, *_FAULTS) as error:
        raise KnowledgeError(_DAMAGED) from error


def upright(frame: Any) -> Any:
    """A frame as it is seen and recognised: turned by its EXIF orientation, its pixels square, in
    RGB of 8 bits on a plain background, of at most 16 megapixels; the boxes of its lines refer to
    this size. Raises KnowledgeError for a frame that is too large, OSError for a damaged one."""
    from PIL import ImageOps

    if frame.width * frame.height > _MOST_PIXELS:
        raise KnowledgeError(f"more than {_MOST_PIXELS / 1e6:.0f} megapixels: scale it")
    dots = frame.info.get("dpi") or (1, 1)
    stretch = float(dots[0]) / float(dots[1]) if min(dots) > 0 else 1.0
    frame = ImageOps.exif_transpose(frame)
    # Only a fax has other pixels than square ones; elsewhere the resolution is often wrong.
    stretch = stretch if 1.5 < stretch < 3 else 1.0
    factor = min(1.0, (_SEEN_PIXELS / (frame.width * frame.height * stretch)) ** 0.5)
    if stretch != 1 or factor < 1:
        frame = frame.convert("L") if frame.mode == "1" else frame
        size = max(1, round(frame.width * factor)), max(1, round(frame.height * factor * stretch))
        frame = frame.resize(size)
    return _opaque(frame).convert("RGB")


def _opaque(frame: Any) -> Any:
    """A frame in modes of 8 bits a channel, on a background against which its text is seen."""
    import numpy as np
    from PIL import Image, ImageStat

    if frame.mode in ("I", "F") or frame.mode.startswith("I;16"):
        values = np.nan_to_num(np.asarray(frame, dtype=np.float32))
        low, high = float(values.min()), float(values.max())
        scaled = (values - low) * (255 / max(high - low, 1e-9))
        return Image.fromarray(scaled.astype(np.uint8))
    if not frame.has_transparency_data:
        return frame
    frame = frame.convert("RGBA")
    (drawn,) = ImageStat.Stat(frame.convert("L"), mask=frame.getchannel("A")).mean
    under = Image.new("RGBA", frame.size, "white" if drawn < 128 else "black")
    under.alpha_composite(frame)
    return under


def load_image(content: bytes, source: str) -> Loaded:
    """An image as a document. Frames that are damaged, hold no text or were not reached in time are
    named. Raises KnowledgeError where no frame can be decoded."""
    if not HAS_OCR:
        raise KnowledgeError('an image: needs pip install "agentkit-rag[ocr]"')
    import numpy as np

    budget = Budget(len(content), source)
    pages: list[list[Line]] = []
    records: dict[str, Any] = {}
    unread: dict[str, list[int]] = {"damaged": [], "empty": [], "late": []}
    seen: set[str] = set()
    for number, frame in _frames(content):
        pages.append([])
        if frame is None or budget.is_spent:
            unread["damaged" if frame is None else "late"].append(number)
            continue
        page = recognise(np.asarray(frame))
        # An animation shows its text in many frames.
        written = "\n".join(line.text for line in page.lines)
        if page.lines and written not in seen:
            pages[-1] = page.lines
            records[str(number)] = page.record
            seen.add(written)
        elif not page.lines:
            unread["empty"].append(number)
    if len(unread["damaged"]) == len(pages):
        raise KnowledgeError(_DAMAGED)
    warnings = (*_named(unread), *late_warning(unread["late"], budget.seconds))
    return Loaded(_document(pages, records, source), (*warnings, *confidence_warning(records)))


def _frames(content: bytes) -> Iterator[tuple[int, Any]]:
    """(number, frame as it is seen, None for a damaged one)."""
    with open_image(content) as image:
        # The other pictures of a camera's MPO file are previews.
        for number in range(1, 2 if image.format == "MPO" else _MOST_FRAMES + 1):
            try:
                image.seek(number - 1)
            except EOFError:
                return
            except _FAULTS:
                yield number, None
                return
            try:
                frame = upright(image)
            except _FAULTS:
                frame = None
            yield number, frame


def _named(unread: dict[str, list[int]]) -> Iterator[str]:
    if unread["damaged"]:
        yield f"{named_ranges('page', unread['damaged'])} damaged and not read"
    if unread["empty"]:
        yield f"{named_ranges('page', unread['empty'])}: OCR recognised no text"


def _document(pages: Sequence[list[Line]], records: dict[str, Any], source: str) -> Document:
    norm = usual(pages)
    text, parts = "", list[Part]()
    for number, lines in enumerate(pages, 1):
        blocks = ("\n".join(block) for block in paragraphs(in_columns(lines), norm))
        written = "\n\n".join(blocks)
        text += "\n\n" if text and written else ""
        parts.append(Part("page", str(number), len(text), len(text) + len(written)))
        text += written
    return Document(
        source,
        text,
        PurePosixPath(source).stem,
        metadata={"ocr": records} if records else {},
        format="text",
        parts=tuple(parts),
    )
