"""PowerPoint (.pptx): each slide a part, its title a heading, text in reading order, then notes.

Tables, groups, charts and SmartArt give their text; pictures and animations do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document, Part
from agentkit.knowledge.loaders.archive import checked, core_metadata, reading
from agentkit.knowledge.loaders.files import Loaded, escaped, markdown_table, named_ranges
from agentkit.text.terms import clean

_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm"
_TEXT = "{http://schemas.openxmlformats.org/drawingml/2006/main}t"
_DEEPEST_GROUP = 20
_SAME_ROW = 100_000
"""In EMU (about 3 mm): shapes whose tops differ by less are read from left to right."""


def load_slides(content: bytes, source: str) -> Loaded:
    """Slides are numbered as PowerPoint numbers them, hidden ones included."""
    checked(content, ".pptx")
    with reading(".pptx", "PowerPoint"):
        import pptx

        opened = pptx.Presentation(BytesIO(content))
        slides = [clean("\n\n".join(_slide(slide))) for slide in opened.slides]
        first = int(opened.element.get("firstSlideNum", "1"))
        metadata = core_metadata(opened.core_properties)
    text, parts = _joined(slides, first)
    if metadata.get("title") == "PowerPoint Presentation":
        del metadata["title"]
    heading = re.search(r"^## (.+)$", text, re.MULTILINE)
    title = metadata.get("title") or (heading and heading[1]) or PurePosixPath(source).stem
    without_text = [int(part.name) for part in parts if part.start == part.end]
    warnings = (
        (f"no text on {named_ranges('slide', without_text)}: pictures?",) if without_text else ()
    )
    return Loaded(Document(source, text, title, metadata=metadata, parts=parts), warnings)


def _joined(slides: Sequence[str], first: int) -> tuple[str, tuple[Part, ...]]:
    text, parts = "", []
    for number, slide in enumerate(slides, first):
        start = len(text) + 2 if text and slide else len(text)
        text = f"{text}\n\n{slide}" if text and slide else text + slide
        parts.append(Part("slide", str(number), start, len(text)))
    return text, tuple(parts)


def _slide(slide: Any) -> Iterator[str]:
    title = slide.shapes.title
    heading = " ".join(title.text_frame.text.split()) if title is not None else ""
    if heading:
        yield f"## {heading}"
    for shape in _in_reading_order(list(slide.shapes)):
        if title is None or shape.shape_id != title.shape_id:
            yield from _text(shape)
    notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    if notes is not None and (notes_text := notes.text.strip()):
        yield f"Notes: {escaped(notes_text)}"


def _in_reading_order(shapes: list[Any]) -> list[Any]:
    """From top to bottom; those whose tops are about the same from left to right."""
    by_top = sorted(shapes, key=lambda shape: shape.top or 0)
    rows: list[list[Any]] = []
    for shape in by_top:
        if rows and (shape.top or 0) - (rows[-1][0].top or 0) < _SAME_ROW:
            rows[-1].append(shape)
        else:
            rows.append([shape])
    return [shape for row in rows for shape in sorted(row, key=lambda shape: shape.left or 0)]


def _text(shape: Any, depth: int = 0) -> Iterator[str]:
    """The blocks of a shape. A group's shapes are read together, where the group stands."""
    if hasattr(shape, "shapes") and depth < _DEEPEST_GROUP:
        for inner in _in_reading_order(list(shape.shapes)):
            yield from _text(inner, depth + 1)
    elif getattr(shape, "has_table", False):
        yield markdown_table([[cell.text for cell in row.cells] for row in shape.table.rows])
    elif getattr(shape, "has_chart", False):
        yield from _chart(shape.chart)
    elif shape.has_text_frame:
        if not _is_footer(shape):
            yield from _paragraphs(shape.text_frame)
    else:
        yield from _diagram(shape)


def _is_footer(shape: Any) -> bool:
    """Whether a shape is the date, footer or slide number, which are on every slide."""
    if not shape.is_placeholder:
        return False
    from pptx.enum.shapes import PP_PLACEHOLDER as KIND

    return shape.placeholder_format.type in (KIND.DATE, KIND.FOOTER, KIND.SLIDE_NUMBER)


def _paragraphs(frame: Any) -> Iterator[str]:
    """The paragraphs of a frame; where there are several, as a list with its levels."""
    found = [(p.level, " ".join(p.text.split())) for p in frame.paragraphs]
    filled = [(level, text) for level, text in found if text]
    if len(filled) == 1:
        yield escaped(filled[0][1])
    elif filled:
        yield "\n".join(f"{'    ' * level}- {text}" for level, text in filled)


def _chart(chart: Any) -> Iterator[str]:
    """A chart's title, and its numbers as a table."""
    if chart.has_title and chart.chart_title.has_text_frame:
        yield chart.chart_title.text_frame.text
    for plot in chart.plots:
        series = list(plot.series)
        head = ["", *(str(one.name) for one in series)]
        rows = [
            [str(category), *(_number(one.values, at) for one in series)]
            for at, category in enumerate(plot.categories)
        ]
        yield markdown_table([head, *rows])


def _number(values: Sequence[float | None], at: int) -> str:
    value = values[at] if at < len(values) else None
    return "" if value is None else f"{value:.15g}"


def _diagram(shape: Any) -> Iterator[str]:
    """The text of a SmartArt drawing, which is in a file of its own."""
    from pptx.oxml import parse_xml

    for link in shape.element.iter(_DIAGRAM):
        drawing = parse_xml(shape.part.related_part(link.get(_RELATION)).blob)
        texts = [text for t in drawing.iter(_TEXT) if (text := (t.text or "").strip())]
        if texts:
            yield "\n".join(f"- {text}" for text in texts)
