"""PowerPoint (.pptx): each slide a part, its title a heading, text in reading order, then notes.

Tables, groups, charts, formulas and SmartArt give their text; pictures, animations and what is
struck out do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document, Part
from agentkit.knowledge.loaders.archive import checked, core_metadata, reading, repacked
from agentkit.knowledge.loaders.charts import chart_blocks, diagram_block
from agentkit.knowledge.loaders.files import Loaded, escaped, markdown_table, named_ranges
from agentkit.knowledge.loaders.notation import dollars, formula, shifted
from agentkit.knowledge.loaders.tables import Span, table
from agentkit.knowledge.loaders.word_styles import numeral
from agentkit.text.terms import clean

_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}dm"
_DRAWING = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_TEXT = f"{_DRAWING}t"
_FORMULA = "{http://schemas.openxmlformats.org/officeDocument/2006/math}oMath"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_NUMERALS = {"arabic": "decimal", "alphaLc": "lowerLetter", "alphaUc": "upperLetter",
             "romanLc": "lowerRoman", "romanUc": "upperRoman"}  # fmt: skip
_NUMBERED = re.compile(r"(arabic|alphaLc|alphaUc|romanLc|romanUc)(Plain|Period|ParenBoth|ParenR)?")
_AROUND = {"Period": "{}.", "ParenBoth": "({})", "ParenR": "{})"}
_DEEPEST_GROUP = 20
_LETTER = re.compile(r"[^\W\d_]")
_SAME_ROW = 100_000
"""In EMU (about 3 mm): shapes whose tops differ by less are read from left to right."""


def load_slides(content: bytes, source: str) -> Loaded:
    """Slides are numbered as PowerPoint numbers them, hidden ones included."""
    checked(content, ".pptx")
    with reading(".pptx", "PowerPoint"):
        import pptx

        opened = pptx.Presentation(BytesIO(repacked(content, ".pptx")))
        frame, lost = set[str](), list[str]()
        slides = [clean("\n\n".join(filter(None, _slide(s, frame, lost)))) for s in opened.slides]
        first = int(opened.element.get("firstSlideNum", "1"))
        metadata = core_metadata(content)
    text, parts = _joined(slides, first)
    if metadata.get("title") == "PowerPoint Presentation":
        del metadata["title"]
    heading = re.search(r"^## (.+)$", text, re.MULTILINE)
    title = metadata.get("title") or (heading and heading[1]) or PurePosixPath(source).stem
    without_text = [int(part.name) for part in parts if part.start == part.end]
    if without_text:
        lost.append(f"no text on {named_ranges('slide', without_text)}: pictures?")
    document = Document(source, text, title, metadata=metadata, parts=parts)
    return Loaded(document, tuple(dict.fromkeys(lost)))


def _joined(slides: Sequence[str], first: int) -> tuple[str, tuple[Part, ...]]:
    text, parts = "", []
    for number, slide in enumerate(slides, first):
        start = len(text) + 2 if text and slide else len(text)
        text = f"{text}\n\n{slide}" if text and slide else text + slide
        parts.append(Part("slide", str(number), start, len(text)))
    return text, tuple(parts)


def _slide(slide: Any, frame: set[str], lost: list[str]) -> Iterator[str]:
    """The blocks of a slide. A footer that is in `frame` is left out; a line for what cannot be
    read is added to `lost`."""
    title = slide.shapes.title
    has_text = title is not None and title.has_text_frame
    lines = [_line(p) for p in title.text_frame._txBody.p_lst] if has_text else []
    heading = " ".join(" ".join(lines).split())
    if heading:
        yield f"## {heading}"
    for shape in _in_reading_order(list(slide.shapes)):
        if _is_footer(shape):
            yield from _footer(shape, frame)
        elif title is None or shape.shape_id != title.shape_id:
            yield from _text(shape, lost)
    notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
    lines = [_line(p).replace("\v", "\n") for p in notes._txBody.p_lst] if notes is not None else []
    if notes_text := "\n".join(lines).strip():
        yield f"Notes: {escaped(notes_text)}"
    for shape in slide.notes_slide.shapes if slide.has_notes_slide else ():
        blocks = _text(shape, lost) if not shape.is_placeholder else ()
        yield from (block for block in blocks if _LETTER.search(block))  # No number of the page.


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


def _text(shape: Any, lost: list[str], depth: int = 0) -> Iterator[str]:
    """The blocks of a shape. A group's shapes are read together, where the group stands."""
    if hasattr(shape, "shapes") and depth < _DEEPEST_GROUP:
        for inner in _in_reading_order(list(shape.shapes)):
            yield from _text(inner, lost, depth + 1)
    elif getattr(shape, "has_table", False):
        yield from _table(shape.table)
    elif getattr(shape, "has_chart", False):
        yield from _chart(shape, lost)
    elif shape.has_text_frame:
        yield from _paragraphs(shape.text_frame)
    else:
        yield from _diagram(shape)


def _is_footer(shape: Any) -> bool:
    """Whether a shape is the date, footer or slide number, which are on every slide."""
    if not shape.is_placeholder:
        return False
    from pptx.enum.shapes import PP_PLACEHOLDER as KIND

    return shape.placeholder_format.type in (KIND.DATE, KIND.FOOTER, KIND.SLIDE_NUMBER)


def _footer(shape: Any, frame: set[str]) -> Iterator[str]:
    """The text of a footer at its first appearance, without the date of today and numbers."""
    lines = [_line(p) for p in shape.text_frame._txBody.p_lst] if shape.has_text_frame else []
    text = " ".join(" ".join(lines).split())
    is_counted = next(shape.element.iter(f"{_DRAWING}fld"), None) is not None
    if not is_counted and _LETTER.search(text) and text not in frame:
        frame.add(text)
        yield f"Page footer: {escaped(text)}"


def _paragraphs(frame: Any) -> Iterator[str]:
    """The paragraphs of a frame; where there are several, as a list with its levels."""
    found = [(p.level, p._p, " ".join(_line(p._p).split())) for p in frame.paragraphs]
    filled = [(level, element, text) for level, element, text in found if text]
    if len(filled) == 1:
        yield escaped(filled[0][2])
    elif filled:
        counts: dict[int, int] = {}
        yield "\n".join(
            f"{'    ' * level}{_mark(element, level, counts)} {text}"
            for level, element, text in filled
        )


def _mark(paragraph: Any, level: int, counts: dict[int, int]) -> str:
    """The bullet, number or letter before a paragraph. `counts` holds the numbers so far."""
    auto = paragraph.find(f"{_DRAWING}pPr/{_DRAWING}buAutoNum")
    kind = _NUMBERED.fullmatch(auto.get("type", "")) if auto is not None else None
    for deeper in [at for at in counts if at > level or (at == level and kind is None)]:
        del counts[deeper]
    if kind is None:
        return "-"
    first = auto.get("startAt", "1")
    counts[level] = counts.get(level, (int(first) if first.isdigit() else 1) - 1) + 1
    number = numeral(_NUMERALS[kind[1]], counts[level])
    written = _AROUND.get(kind[2] or "", "{}").format(number)
    return written if re.fullmatch(r"\d+[.)]", written) else f"- {written}"


def _line(paragraph: Any) -> str:
    """The text of a paragraph with its raised and lowered characters and formulas."""
    return shifted(_runs(paragraph))


def _runs(paragraph: Any) -> Iterator[tuple[str, str]]:
    """(text, "superscript", "subscript" or "") of the runs of a paragraph."""
    for run in paragraph.iter(f"{_DRAWING}r", f"{_DRAWING}br", f"{_DRAWING}fld", _FORMULA):
        if run.tag == _FORMULA:
            yield dollars(formula(run)), ""
        elif run.tag == f"{_DRAWING}br":
            yield "\v", ""
        elif not any(above.tag in (_FORMULA, _FALLBACK) for above in run.iterancestors()):
            properties = run.find(f"{_DRAWING}rPr")
            if properties is None or properties.get("strike", "noStrike") == "noStrike":
                yield run.findtext(_TEXT) or "", _raising(properties)


def _raising(properties: Any) -> str:
    baseline = properties.get("baseline", "0").removesuffix("%") if properties is not None else ""
    raise_by = float(baseline) if re.fullmatch(r"-?\d{1,6}(?:\.\d+)?", baseline) else 0.0
    return "superscript" if raise_by > 0 else "subscript" if raise_by < 0 else ""


def _table(grid: Any) -> Iterator[str]:
    """A table with its merged values repeated; the lines above its head come before it."""
    rows: list[list[str]] = []
    spans: list[Span] = []
    for at, row in enumerate(grid.rows):
        rows.append([])
        for column, cell in enumerate(row.cells):
            lines = "" if cell.is_spanned else " ".join(map(_line, cell.text_frame._txBody.p_lst))
            rows[-1].append(lines.replace("\v", " "))
            if cell.is_merge_origin:
                spans.append(Span(at, column, cell.span_height, cell.span_width))
    whole = table(rows, spans)
    yield from map(escaped, whole.titles)
    yield markdown_table(whole.rows)


def _chart(shape: Any, lost: list[str]) -> Iterator[str]:
    """The data of a chart; one that cannot be read is left out and named."""
    try:
        found = list(chart_blocks(shape.chart_part._element))
    except (KeyError, ValueError, AttributeError, SyntaxError):
        lost.append("a chart that cannot be read was left out")
        return
    yield from found


def _diagram(shape: Any) -> Iterator[str]:
    """The text of a SmartArt drawing, which is in a file of its own."""
    for link in shape.element.iter(_DIAGRAM):
        yield diagram_block(shape.part.related_part(link.get(_RELATION)).blob)
