"""The values of a PDF's form fields (AcroForm) and its free notes, put where a reader sees them.

PDFium is not thread-safe: callers hold the lock of pdf.py.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from agentkit.knowledge.loaders.notation import check_box
from agentkit.knowledge.loaders.pdf_page import Cell, Line, Place
from agentkit.knowledge.loaders.pdf_view import Box, PageView
from agentkit.text.terms import clean

_MOST_ANNOTATIONS = 5000
_PLAIN = ("", "yes", "on", "off", "true", "choice")
"""Names of choices that tell no more than the mark does."""
_MOST_VALUE = 10_000
_MOST_PACKETS = 50
_MOST_DATA = 5_000_000


class Value(NamedTuple):
    """What a form field or note on the page shows. A mark stands before its label, without one
    before the `name` of its choice."""

    text: str
    box: Box
    is_mark: bool
    name: str = ""


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
                name = _choice(form, annotation) if is_mark else ""
                yield Value(" ".join(clean(text).split()), view.placed(box), is_mark, name)
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
        return _chosen(form, annotation), False
    if kind == raw.FPDF_FORMFIELD_COMBOBOX and (chosen := _chosen(form, annotation)):
        return chosen, False
    if kind in (raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX):
        return _string(lambda *a: raw.FPDFAnnot_GetFormFieldValue(form, annotation, *a)), False
    return "", False


def _choice(form: Any, annotation: Any) -> str:
    """What a check box or radio button stands for, where the form names it."""
    from pypdfium2 import raw

    name = _string(lambda *a: raw.FPDFAnnot_GetFormFieldExportValue(form, annotation, *a))
    return "" if name.casefold() in _PLAIN or name.isdigit() else " ".join(clean(name).split())


def _chosen(form: Any, annotation: Any) -> str:
    """The labels of the options that are selected."""
    from pypdfium2 import raw

    return ", ".join(
        _string(lambda *a, at=at: raw.FPDFAnnot_GetOptionLabel(form, annotation, at, *a))
        for at in range(min(raw.FPDFAnnot_GetOptionCount(form, annotation), _MOST_ANNOTATIONS))
        if raw.FPDFAnnot_IsOptionSelected(form, annotation, at)
    )


def _string(read: Callable[..., int]) -> str:
    """A text that PDFium writes into a buffer, in UTF-16 with a NUL at its end."""
    from pypdfium2 import raw

    size = min(read(None, 0), 2 * _MOST_VALUE)
    buffer = ctypes.create_string_buffer(size + 2)
    read(ctypes.cast(buffer, ctypes.POINTER(raw.FPDF_WCHAR)), size)
    return buffer.raw[:size].decode("utf-16-le", errors="replace").rstrip("\0")


def data_of(pdf: Any) -> list[str]:
    """`name: value` for each filled field of an XFA form, whose pages only ask for another viewer
    (XFA 3.3, the packet `datasets`); [] for other files and data that cannot be read."""
    from lxml import etree
    from pypdfium2 import raw

    for at in range(min(raw.FPDF_GetXFAPacketCount(pdf), _MOST_PACKETS)):
        size = ctypes.c_ulong()
        name = ctypes.create_string_buffer(40)
        raw.FPDF_GetXFAPacketName(pdf, at, name, len(name))
        raw.FPDF_GetXFAPacketContent(pdf, at, None, 0, size)
        if name.value != b"datasets" or not 0 < size.value < _MOST_DATA:
            continue
        content = ctypes.create_string_buffer(size.value)
        raw.FPDF_GetXFAPacketContent(pdf, at, content, size.value, size)
        try:
            root = etree.fromstring(content.raw, etree.XMLParser(resolve_entities=False))
        except etree.XMLSyntaxError:
            continue
        return [
            f"{etree.QName(element).localname}: {' '.join(clean(element.text).split())}"
            for element in islice(root.iter(etree.Element), _MOST_ANNOTATIONS)
            if not len(element) and (element.text or "").strip()
        ]
    return []


def with_values(
    lines: Sequence[Line],
    values: Sequence[Value],
    height: float,
    place: Callable[[float, float], Place | None],
) -> list[Line]:
    """Put each value behind its label on the same row, a check box beside the nearer text, and the
    others where they stand on the page or in a ruled table."""
    found = list(lines)
    filled: dict[tuple[float, Cell], tuple[Cell, ...]] = {}
    unlabelled: set[Cell] = set()
    for value in sorted(values, key=lambda v: (-v.box.top, v.box.left)):
        box = value.box
        cell = place((box.left + box.right) / 2, (box.bottom + box.top) / 2)
        at, piece, before = _beside(found, value, cell)
        if at is None:
            at = sum(1 for line in found if line.bottom >= box.bottom)
            found.insert(at, replace(_value_line(value, height), place=cell))
            unlabelled.update(found[at].cells if value.is_mark else ())
            continue
        line = found[at]
        label = line.cells[piece]
        text = f"{value.text} {label.text}" if before else f"{label.text} {value.text}"
        alone = Cell(value.text, box.left, box.right)
        grown = [Cell(text, min(label.left, box.left), max(label.right, box.right))]
        if value.is_mark and label in unlabelled:
            alone = _value_line(value, height).cells[0]
            grown = [alone, label] if before else [label, alone]
            unlabelled.add(alone)
        elif (parts := filled.get((line.bottom, label))) and not value.is_mark:
            # Several values behind a label are columns of a table.
            grown = [*parts, alone]
            filled[line.bottom, alone] = (alone,)
        elif not before:
            filled[line.bottom, grown[0]] = (label, alone)
        cells = [*line.cells[:piece], *grown, *line.cells[piece + 1 :]]
        left, right = min(line.left, box.left), max(line.right, box.right)
        text = "\t".join(cell.text for cell in cells)
        found[at] = replace(line, text=text, left=left, right=right, cells=tuple(cells))
    return found


def _beside(
    lines: Sequence[Line], value: Value, cell: Place | None
) -> tuple[int | None, int, bool]:
    """(the line on the row of a value, its piece, whether the value stands before it)."""
    best: tuple[float, int, int, bool] | None = None
    middle = (value.box.bottom + value.box.top) / 2
    for at, line in enumerate(lines):
        if not line.bottom - line.size < middle < line.bottom + 2 * line.size or line.place != cell:
            continue
        for number, piece in enumerate(line.cells):
            after, before = value.box.left - piece.right, piece.left - value.box.right
            gap, is_before = (after, False) if after >= -line.size else (before, True)
            if gap < -line.size or (is_before and not value.is_mark):
                continue
            if best is None or gap < best[0]:
                best = gap, at, number, is_before
    return best[1:] if best else (None, 0, False)


def _value_line(value: Value, height: float) -> Line:
    box = value.box
    size = min(max(box.top - box.bottom, 1.0), 12.0)
    share = box.bottom / height if height else 0.5
    text = f"{value.text} {value.name}".strip()
    cell = Cell(text, box.left, box.right)
    return Line(
        text,
        box.left,
        box.right,
        box.bottom,
        size,
        box.right - box.left,
        share,
        False,
        (cell,),
    )
