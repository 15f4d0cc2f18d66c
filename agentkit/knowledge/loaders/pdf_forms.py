"""The values of a PDF's form fields (AcroForm) and its free notes, put where a reader sees them.

PDFium is not thread-safe: callers hold the lock of pdf.py.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from agentkit.knowledge.loaders.notation import check_box
from agentkit.knowledge.loaders.pdf_page import Box, Cell, Line, PageView
from agentkit.text.terms import clean

_MOST_ANNOTATIONS = 5000
_MOST_VALUE = 10_000


class Value(NamedTuple):
    """What a form field or note on the page shows. A mark stands before its label."""

    text: str
    box: Box
    is_mark: bool


def values_of(page: Any, form: Any, view: PageView) -> Iterator[Value]:
    """The values of the fields, and the text of free notes, that a reader sees."""
    from pypdfium2 import raw

    for index in range(min(raw.FPDFPage_GetAnnotCount(page), _MOST_ANNOTATIONS)):
        annotation = raw.FPDFPage_GetAnnot(page, index)
        if not annotation:
            continue
        try:
            kind = raw.FPDFAnnot_GetSubtype(annotation)
            unseen = raw.FPDF_ANNOT_FLAG_HIDDEN | raw.FPDF_ANNOT_FLAG_NOVIEW
            if raw.FPDFAnnot_GetFlags(annotation) & unseen:
                continue
            rectangle = raw.FS_RECTF()
            raw.FPDFAnnot_GetRect(annotation, ctypes.byref(rectangle))
            box = Box(rectangle.left, rectangle.bottom, rectangle.right, rectangle.top)
            box = Box(box.left, min(box.bottom, box.top), box.right, max(box.bottom, box.top))
            text, is_mark = "", False
            if kind == raw.FPDF_ANNOT_WIDGET and form is not None:
                text, is_mark = _field(form, annotation)
            elif kind == raw.FPDF_ANNOT_FREETEXT:
                text = _string(lambda *a: raw.FPDFAnnot_GetStringValue(annotation, b"Contents", *a))  # noqa: B023
            if text.strip() and view.area.covers(box.left + 0.1, box.bottom + 0.1):
                yield Value(" ".join(clean(text).split()), view.placed(box), is_mark)
        finally:
            raw.FPDFPage_CloseAnnot(annotation)


def _field(form: Any, annotation: Any) -> tuple[str, bool]:
    """(what a field shows, whether it is a check box): passwords and buttons show nothing."""
    from pypdfium2 import raw

    kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in (raw.FPDF_FORMFIELD_CHECKBOX, raw.FPDF_FORMFIELD_RADIOBUTTON):
        return check_box(bool(raw.FPDFAnnot_IsChecked(form, annotation))), True
    if kind == raw.FPDF_FORMFIELD_TEXTFIELD and (
        raw.FPDFAnnot_GetFormFieldFlags(form, annotation) & raw.FPDF_FORMFLAG_TEXT_PASSWORD
    ):
        return "", False
    if kind == raw.FPDF_FORMFIELD_LISTBOX:
        chosen = [
            _string(lambda *a, at=at: raw.FPDFAnnot_GetOptionLabel(form, annotation, at, *a))
            for at in range(min(raw.FPDFAnnot_GetOptionCount(form, annotation), _MOST_ANNOTATIONS))
            if raw.FPDFAnnot_IsOptionSelected(form, annotation, at)
        ]
        return ", ".join(chosen), False
    if kind in (raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX):
        return _string(lambda *a: raw.FPDFAnnot_GetFormFieldValue(form, annotation, *a)), False
    return "", False


def _string(read: Callable[..., int]) -> str:
    """A text that PDFium writes into a buffer, in UTF-16 with a NUL at its end."""
    from pypdfium2 import raw

    size = min(read(None, 0), 2 * _MOST_VALUE)
    buffer = ctypes.create_string_buffer(size + 2)
    read(ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[:size].decode("utf-16-le", errors="replace").rstrip("\0")


def with_values(lines: Sequence[Line], values: Sequence[Value], height: float) -> list[Line]:
    """Put each value behind its label on the same row, a check box beside the nearer text, and the
    others where they stand on the page."""
    found = list(lines)
    for value in sorted(values, key=lambda v: (-v.box.top, v.box.left)):
        at, before = _beside(found, value)
        if at is None:
            at = sum(1 for line in found if line.bottom >= value.box.bottom)
            found.insert(at, _value_line(value, height))
            continue
        line = found[at]
        text = f"{value.text} {line.text}" if before else f"{line.text} {value.text}"
        left, right = min(line.left, value.box.left), max(line.right, value.box.right)
        cells = (*line.cells[:-1], Cell(text.rpartition("\t")[2], left, right))
        found[at] = replace(line, text=text, left=left, right=right, cells=cells)
    return found


def _beside(lines: Sequence[Line], value: Value) -> tuple[int | None, bool]:
    """(the line on the row of a value, whether the value stands before it)."""
    best: tuple[float, int, bool] | None = None
    middle = (value.box.bottom + value.box.top) / 2
    for at, line in enumerate(lines):
        if not line.bottom - line.size < middle < line.bottom + 2 * line.size:
            continue
        after, before = value.box.left - line.right, line.left - value.box.right
        gap, is_before = (after, False) if after >= -line.size else (before, True)
        if gap < -line.size or (is_before and not value.is_mark):
            continue
        if best is None or gap < best[0]:
            best = gap, at, is_before
    return (best[1], best[2]) if best else (None, False)


def _value_line(value: Value, height: float) -> Line:
    box = value.box
    size = min(max(box.top - box.bottom, 1.0), 12.0)
    share = box.bottom / height if height else 0.5
    cell = Cell(value.text, box.left, box.right)
    return Line(
        value.text,
        box.left,
        box.right,
        box.bottom,
        size,
        box.right - box.left,
        share,
        False,
        (cell,),
    )
