"""Word (.docx): headings, lists, tables and notes as Markdown, in the document's order.

What is deleted but tracked, hidden fields and pictures are left out. Pages are not stored in the
file: the path of headings is the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document
from agentkit.knowledge.loaders.archive import checked
from agentkit.knowledge.loaders.base import Loaded
from agentkit.knowledge.loaders.office import core_metadata, reading
from agentkit.knowledge.loaders.word_styles import WORD as _W
from agentkit.knowledge.loaders.word_styles import Styles
from agentkit.knowledge.loaders.writing import escaped, markdown_table
from agentkit.text import clean

_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_BOX = f"{_W}txbxContent"
_LEFT_OUT = {f"{_W}del", f"{_W}moveFrom", f"{_W}instrText", f"{_W}delText", _BOX}
_TRANSPARENT = {f"{_W}sdt", f"{_W}sdtContent", f"{_W}ins", f"{_W}moveTo", f"{_W}customXml"}
_ALTERNATIVE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_NOTES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def load_word(content: bytes, source: str) -> Loaded:
    """Title, author and date come from the file's properties, else the title from a heading."""
    checked(content, ".docx")
    with reading(".docx", "Word"):
        import docx

        opened = docx.Document(BytesIO(content))
        body = _Body(opened)
        text = clean(body.markdown())
        metadata = core_metadata(opened.core_properties)
    title = metadata.get("title") or body.first_heading or PurePosixPath(source).stem
    warnings = () if text else ("no text in it: pictures?",)
    return Loaded(Document(source, text, title, metadata=metadata), warnings)


class _Body:
    """The blocks of one document."""

    def __init__(self, opened: Any) -> None:
        self._part = opened.part
        self._root = opened.element.body
        self._styles = Styles(opened.part)
        self._notes: list[str] = []
        self.first_heading = ""

    def markdown(self) -> str:
        """The items of a list stand under each other, all else apart; notes come last."""
        written, last = "", ""
        for kind, text in self._blocks(self._root):
            written += ("\n" if kind == last == "item" else "\n\n") + text
            last = kind
        texts = self._note_texts if self._notes else {}
        notes = [f"[^{at}]: {texts.get(key, '')}" for at, key in enumerate(self._notes, 1)]
        return "\n\n".join([written.strip("\n"), *notes])

    def _blocks(self, root: Any) -> Iterator[tuple[str, str]]:
        for element in root:
            if element.tag == f"{_W}p":
                yield from self._paragraph(element)
            elif element.tag == f"{_W}tbl":
                rows = [list(self._cells(row)) for row in _children(element, f"{_W}tr")]
                if table := markdown_table(rows):
                    yield "table", table
            elif element.tag in _TRANSPARENT:
                yield from self._blocks(element)

    def _paragraph(self, element: Any) -> Iterator[tuple[str, str]]:
        text = re.sub(r"[ \t]+\n", "\n", "".join(self._runs(element))).strip()
        boxes = [box for box in element.iter(_BOX) if _is_outermost(box, element)]
        if text:
            yield self._marked(element, text)
        for box in boxes:
            yield from self._blocks(box)

    def _marked(self, element: Any, text: str) -> tuple[str, str]:
        """A paragraph with the mark of its style: a heading's #, a list's bullet or number."""
        level = self._styles.heading_level(element)
        if level:
            heading = " ".join(text.split())
            self.first_heading = self.first_heading or heading
            return "heading", f"{'#' * level} {heading}"
        mark, depth = self._styles.list_mark(element)
        if mark:
            indent = "    " * depth
            return "item", f"{indent}{mark} " + text.replace("\n", f"\n{indent}    ")
        return "text", escaped(text)

    def _runs(self, element: Any) -> Iterator[str]:
        for child in element:
            tag = child.tag
            if tag in _LEFT_OUT or tag == _ALTERNATIVE:
                continue
            if tag in (f"{_W}t", _MATH):
                yield child.text or ""
            elif tag in (f"{_W}tab", f"{_W}ptab") and element.tag == f"{_W}r":
                yield "\t"
            elif tag in (f"{_W}br", f"{_W}cr"):
                yield "\n"
            elif tag == f"{_W}noBreakHyphen":
                yield "-"
            elif tag in (f"{_W}footnoteReference", f"{_W}endnoteReference"):
                yield self._note_mark(child)
            else:
                yield from self._runs(child)

    def _note_mark(self, reference: Any) -> str:
        kind = "footnotes" if reference.tag == f"{_W}footnoteReference" else "endnotes"
        self._notes.append(f"{kind} {reference.get(f'{_W}id')}")
        return f"[^{len(self._notes)}]"

    @cached_property
    def _note_texts(self) -> dict[str, str]:
        from docx.oxml import parse_xml

        found = {}
        for kind in ("footnotes", "endnotes"):
            for relation in self._part.rels.values():
                if relation.reltype != _NOTES + kind or relation.is_external:
                    continue
                for note in parse_xml(relation.target_part.blob):
                    text = " ".join("".join(self._runs(note)).split())
                    found[f"{kind} {note.get(f'{_W}id')}"] = text
        return found

    def _cells(self, row: Any) -> Iterator[str]:
        """A row's cells; one that spans columns is followed by empty ones."""
        for cell in _children(row, f"{_W}tc"):
            yield " ".join(text for _, text in self._blocks(cell)).replace("\n", " ")
            span = cell.find(f"{_W}tcPr/{_W}gridSpan")
            wide = span.get(f"{_W}val", "1") if span is not None else "1"
            yield from [""] * (min(int(wide), 100) - 1 if wide.isdigit() else 0)


def _children(element: Any, tag: str) -> Iterator[Any]:
    """The children of a tag, those inside content controls included."""
    for child in element:
        if child.tag == tag:
            yield child
        elif child.tag in _TRANSPARENT:
            yield from _children(child, tag)


def _is_outermost(box: Any, paragraph: Any) -> bool:
    """Whether a text box stands in no other, nor in the copy of it that older programs show."""
    for above in box.iterancestors():
        if above is paragraph:
            return True
        if above.tag in (_BOX, _ALTERNATIVE):
            return False
    return False
