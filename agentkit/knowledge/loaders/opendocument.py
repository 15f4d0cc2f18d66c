"""Load OpenDocument files (.odt, .odp, .ods; ISO/IEC 26300): text, slides and rows.

Tracked deletions, struck-out and hidden text and pictures are left out. The values of a spreadsheet
are those that its program shows.
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document, Part
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.archive import checked
from agentkit.knowledge.loaders.files import Loaded, escaped, markdown_table
from agentkit.knowledge.loaders.notation import dollars, formula, lowered, raised, ruby
from agentkit.knowledge.loaders.tables import Span, repeated, table
from agentkit.text.terms import clean

_NS = "urn:oasis:names:tc:opendocument:xmlns:"
_TEXT, _TABLE, _OFFICE, _STYLE, _DRAW, _FORMAT = (
    f"{{{_NS}{name}:1.0}}"
    for name in ("text", "table", "office", "style", "drawing", "xsl-fo-compatible")
)
_PRESENTATION = f"{{{_NS}presentation:1.0}}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_FRAME = f"{_DRAW}frame"
_MATH = "{http://www.w3.org/1998/Math/MathML}math"
_ENTITY_FREE = {"resolve_entities": False, "no_network": True, "load_dtd": False}
_LEFT_OUT = (
    f"{_TEXT}tracked-changes",
    f"{_OFFICE}annotation",
    f"{_TEXT}note",
    f"{_TEXT}sequence-decls",
)
_ITEMS = (f"{_TEXT}list-item", f"{_TEXT}list-header")
_MOST_REPEATED = 200
_MOST_ROWS = 300_000
_MOST_CELLS = 2_000_000
_DEEPEST = 200


def load_opendocument(content: bytes, source: str) -> Loaded:
    """Raises KnowledgeError for a file that is encrypted or damaged."""
    from lxml import etree

    suffix = PurePosixPath(source).suffix.lower()
    checked(content, suffix)
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            if b"encryption-data" in archive.read("META-INF/manifest.xml"):
                raise KnowledgeError("encrypted: save it without a password")
            return _File(archive, source).loaded()
    except (etree.LxmlError, KeyError, ValueError, RecursionError) as error:
        raise KnowledgeError(f"damaged: open it in LibreOffice and save it as {suffix}") from error


class _File:
    """One file, while it is read."""

    def __init__(self, archive: zipfile.ZipFile, source: str) -> None:
        self._archive = archive
        self._source = source
        self._root = self._parsed("content.xml")
        self._notes: list[str] = []
        self._first_heading = ""
        self._kinds = {
            style.get(f"{_STYLE}name"): _kind(properties)
            for style in self._root.iter(f"{_STYLE}style")
            for properties in style.iterfind(f"{_STYLE}text-properties")
        }

    def loaded(self) -> Loaded:
        """The document: rows of a spreadsheet, slides of a presentation, or text."""
        body = self._root.find(f"{_OFFICE}body")
        metadata = self._metadata()
        parts: list[Part] = []
        format_: Any = "markdown"
        if (book := body.find(f"{_OFFICE}spreadsheet")) is not None:
            text, parts, columns = self._rows(book)
            metadata |= {"columns": columns} if columns else {}
            format_ = "rows"
        elif (deck := body.find(f"{_OFFICE}presentation")) is not None:
            text = ""
            for number, slide in enumerate(deck.iterfind(f"{_DRAW}page"), 1):
                written = clean("\n\n".join(filter(None, self._slide(slide))))
                text += "\n\n" if text and written else ""
                parts.append(Part("slide", str(number), len(text), len(text) + len(written)))
                text += written
        else:
            blocks = list(self._blocks(body.find(f"{_OFFICE}text"), 0))
            notes = [f"[^{at}]: {note}" for at, note in enumerate(self._notes, 1)]
            text = clean("\n\n".join([*blocks, *notes]))
        title = metadata.get("title") or self._first_heading or PurePosixPath(self._source).stem
        warnings = () if text.strip() else ("no text in it: pictures?",)
        document = Document(
            self._source, text, title, metadata=metadata, format=format_, parts=tuple(parts)
        )
        return Loaded(document, warnings)

    def _parsed(self, name: str) -> Any:
        from lxml import etree

        return etree.fromstring(self._archive.read(name), etree.XMLParser(**_ENTITY_FREE))

    def _metadata(self) -> dict[str, Any]:
        if "meta.xml" not in self._archive.namelist():
            return {}
        root = self._parsed("meta.xml")
        names = {"title": "title", "creator": "author", "date": "date"}
        found = {
            key: " ".join(
                clean(root.findtext(f".//{{http://purl.org/dc/elements/1.1/}}{tag}") or "").split()
            )
            for tag, key in names.items()
        }
        found["date"] = found["date"][:10]
        return {key: value for key, value in found.items() if value}

    def _blocks(self, root: Any, depth: int) -> Iterator[str]:
        """The blocks of a body or cell as Markdown."""
        if depth > _DEEPEST:
            raise KnowledgeError("nested too deep: save it again in LibreOffice")
        for element in root if root is not None else ():
            if element.tag == f"{_TEXT}h":
                level = element.get(f"{_TEXT}outline-level", "1")
                heading = " ".join(self._line(element).split())
                self._first_heading = self._first_heading or heading
                yield (
                    f"{'#' * min(int(level) if level.isdigit() else 1, 6)} {heading}"
                    if heading
                    else ""
                )
            elif element.tag == f"{_TEXT}p":
                yield from filter(None, [escaped(self._line(element).strip())])
                for box in element.iter(f"{_DRAW}text-box"):
                    yield from self._blocks(box, depth + 1)
            elif element.tag == f"{_TEXT}list":
                yield "\n".join(self._items(element, 0))
            elif element.tag == f"{_TABLE}table":
                yield from self._table(element)
            elif element.tag not in _LEFT_OUT:
                yield from self._blocks(element, depth + 1)

    def _items(self, element: Any, depth: int) -> Iterator[str]:
        for item in element:
            mark = "" if item.tag == f"{_TEXT}list-header" else "- "
            for child in item if item.tag in _ITEMS else ():
                if child.tag == f"{_TEXT}list" and depth < _DEEPEST:
                    yield from self._items(child, depth + 1)
                elif child.tag in (f"{_TEXT}p", f"{_TEXT}h") and (
                    text := self._line(child).strip()
                ):
                    yield f"{'    ' * depth}{mark}{text}"

    def _line(self, element: Any) -> str:
        """The text of a paragraph."""
        return self._append("", element, 0)

    def _append(self, before: str, element: Any, depth: int) -> str:
        """A text, and that of an element behind it."""
        if depth > _DEEPEST:
            return before
        written = before + (element.text or "")
        for child in element:
            tag = child.tag
            if tag == f"{_TEXT}s":
                count = child.get(f"{_TEXT}c", "1")
                written += " " * min(int(count) if count.isdigit() else 1, _MOST_REPEATED)
            elif tag == f"{_TEXT}tab":
                written += "\t"
            elif tag == f"{_TEXT}line-break":
                written += "\n"
            elif tag == f"{_TEXT}note":
                self._notes.append(
                    " ".join("".join(child.find(f"{_TEXT}note-body").itertext()).split())
                )
                written += f"[^{len(self._notes)}]"
            elif tag == f"{_TEXT}ruby":
                parts = (child.find(f"{_TEXT}ruby-{name}") for name in ("base", "text"))
                written += ruby(*("" if part is None else self._line(part) for part in parts))
            elif tag == f"{_DRAW}frame":
                written += self._formula(child)
            elif isinstance(tag, str) and tag not in (*_LEFT_OUT, f"{_DRAW}text-box"):
                written = self._styled(written, child, depth)
            written += child.tail or ""
        return written

    def _styled(self, before: str, element: Any, depth: int) -> str:
        kind = self._kinds.get(element.get(f"{_TEXT}style-name"), "")
        if kind == "left out":
            return before
        if not kind:
            return self._append(before, element, depth + 1)
        text = self._append("", element, depth + 1)
        return before + (raised(before, text) if kind == "super" else lowered(text))

    def _formula(self, frame: Any) -> str:
        """A formula, which is a file of its own or stands in the frame."""
        for item in frame.iter(f"{_DRAW}object"):
            if (math := next(item.iter(_MATH), None)) is not None:
                return dollars(formula(math))
            name = posixpath.normpath(posixpath.join(item.get(_LINK, ""), "content.xml"))
            if name in self._archive.namelist():
                root = self._parsed(name)
                math = root if root.tag == _MATH else next(root.iter(_MATH), None)
                return dollars(formula(math)) if math is not None else ""
        return ""

    def _table(self, element: Any) -> Iterator[str]:
        rows: list[list[str]] = []
        spans: list[Span] = []
        marked = sum(1 for _ in element.iterfind(f"{_TABLE}table-header-rows/{_TABLE}table-row"))
        for row in element.iter(f"{_TABLE}table-row"):
            rows.append(self._cells(row, len(rows), spans))
        whole = table(rows, spans, marked)
        yield from map(escaped, whole.titles)
        yield markdown_table(whole.rows)

    def _cells(self, row: Any, number: int, spans: list[Span]) -> list[str]:
        """The texts of a row; its merged cells are added to `spans`."""
        cells: list[str] = []
        for cell in row:
            if cell.tag not in (f"{_TABLE}table-cell", f"{_TABLE}covered-table-cell"):
                continue
            text = (
                " ".join(self._line(p) for p in cell.iterfind(f".//{_TEXT}p")) if len(cell) else ""
            )
            down, across, again = (
                _number(cell, name)
                for name in (
                    "number-rows-spanned",
                    "number-columns-spanned",
                    "number-columns-repeated",
                )
            )
            if down > 1 or across > 1:
                spans.append(Span(number, len(cells), down, across))
            cells += [" ".join(clean(text).split())] * min(again, _MOST_REPEATED if text else again)
            if len(cells) > 2 * _MOST_REPEATED:
                break
        while cells and not cells[-1]:
            cells.pop()
        return cells

    def _rows(self, book: Any) -> tuple[str, list[Part], dict[str, list[str]]]:
        lines: list[str] = []
        parts: list[Part] = []
        columns: dict[str, list[str]] = {}
        length = count = 0
        for sheet in book.iterfind(f"{_TABLE}table"):
            title = clean(sheet.get(f"{_TABLE}name", "Sheet"))
            spans: list[Span] = []
            places: list[int] = []
            rows: list[list[str]] = []
            number = 1
            for row in sheet.iter(f"{_TABLE}table-row"):
                cells = self._cells(row, len(rows), spans)
                again = _number(row, "number-rows-repeated")
                for at in range(min(again, _MOST_REPEATED) if cells else 0):
                    rows.append(cells)
                    places.append(number + at)
                    count += len(cells)
                number += again
                if len(rows) > _MOST_ROWS or count > _MOST_CELLS:
                    raise KnowledgeError("more rows than can be read: split it")
            whole = table(rows, spans)
            if len(whole.rows) > 1 and all(whole.rows[0][1:]):
                columns[title] = whole.rows[0]
            for place, cells in zip(places, repeated(rows, spans), strict=True):
                line = " | ".join(cells).rstrip(" |")
                parts.append(Part("row", f"{title}, {place}", length, length + len(line)))
                lines.append(line)
                length += len(line) + 1
        return "\n".join(lines), parts, columns

    def _slide(self, slide: Any) -> Iterator[str]:
        """The blocks of a slide: its title as a heading, its text, its notes."""
        for frame in slide:
            if frame.tag in (f"{_PRESENTATION}notes", f"{_OFFICE}annotation"):
                continue
            if frame.tag == f"{_DRAW}g":
                yield from self._slide(frame)
                continue
            blocks = [
                block
                for box in (frame.iterfind(f"{_DRAW}text-box"), [frame])[frame.tag != _FRAME]
                for block in self._blocks(box, 0)
            ]
            if frame.get(f"{_PRESENTATION}class") == "title" and blocks:
                heading = " ".join(" ".join(blocks).split())
                self._first_heading = self._first_heading or heading
                yield f"## {heading}"
            else:
                yield from blocks
            for inside in frame.iterfind(f"{_TABLE}table"):
                yield from self._table(inside)
        notes = slide.find(f"{_PRESENTATION}notes")
        if notes is not None and (
            text := " ".join(" ".join(self._line(p) for p in notes.iter(f"{_TEXT}p")).split())
        ):
            yield f"Notes: {escaped(text)}"


def _kind(properties: Any) -> str:
    """`super`, `sub`, `left out` or "" for the text of a style."""
    if properties.get(f"{_TEXT}display") == "none":
        return "left out"
    if properties.get(f"{_STYLE}text-line-through-style", "none") != "none":
        return "left out"
    position = (properties.get(f"{_STYLE}text-position") or "").split()
    if not position:
        return ""
    if position[0] in ("super", "sub"):
        return position[0]
    shift = position[0].removesuffix("%")
    return "sub" if shift.startswith("-") else "super" if shift.strip("0.") else ""


def _number(element: Any, name: str) -> int:
    value = element.get(f"{_TABLE}{name}", "1")
    return max(1, int(value)) if value.isdigit() and len(value) < 8 else 1
