"""Load Word files (.docx) as Markdown: headings, lists, tables and notes, in order.

Tracked deletions, hidden fields and pictures are left out. The file does not store pages: the path
of headings is the place.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document
from agentkit.knowledge.loaders.archive import checked, core_metadata, reading
from agentkit.knowledge.loaders.files import Loaded, escaped, markdown_table
from agentkit.text.terms import clean

WORD = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_DEEPEST_STYLE = 20


class Styles:
    """Styles and numbering. List items are counted: call once per paragraph, in order."""

    def __init__(self, part: Any) -> None:
        self._part = part
        self._counts: Counter[tuple[str, int]] = Counter()

    def heading_level(self, element: Any) -> int:
        """1 to 6 for a heading, from the paragraph or its chain of styles, else 0; a title is 1."""
        for properties, name in self._properties(element):
            if name.casefold() == "title":
                return 1
            found = properties.find(f"{WORD}outlineLvl") if properties is not None else None
            value = found.get(f"{WORD}val", "") if found is not None else ""
            if value.isdigit():
                return min(int(value) + 1, 6) if int(value) < 9 else 0
            if match := re.fullmatch(r"heading ([1-9])", name, re.IGNORECASE):
                return min(int(match.group(1)), 6)
        return 0

    def list_mark(self, element: Any) -> tuple[str, int]:
        """The bullet or number of a list item, "" for other paragraphs, and the item's depth."""
        number, depth = self._numbering(element)
        format_ = self._formats.get((number, depth), "bullet") if number else "none"
        if format_ in ("none", "bullet"):
            return ("" if format_ == "none" else "-"), depth
        for deeper in range(depth + 1, 9):
            self._counts.pop((number, deeper), None)
        self._counts[number, depth] += 1
        return f"{self._counts[number, depth]}.", depth

    def _numbering(self, element: Any) -> tuple[str, int]:
        """The number of a paragraph's list ("" for none), and its depth there."""
        depth = None
        for properties, _ in self._properties(element):
            found = properties.find(f"{WORD}numPr") if properties is not None else None
            if found is None:
                continue
            number, level = (found.find(f"{WORD}{name}") for name in ("numId", "ilvl"))
            if depth is None and level is not None:
                depth = int(level.get(f"{WORD}val", "0"))
            if number is not None:
                value = str(number.get(f"{WORD}val", ""))
                return ("" if value == "0" else value), min(depth or 0, 8)
        return "", 0

    def _properties(self, element: Any) -> Iterator[tuple[Any, str]]:
        """(properties, style name) of a paragraph, its style, and the styles below that."""
        properties = element.find(f"{WORD}pPr")
        yield properties, ""
        style = properties.find(f"{WORD}pStyle") if properties is not None else None
        key = style.get(f"{WORD}val") if style is not None else None
        for _ in range(_DEEPEST_STYLE):
            found = self._by_id.get(key)
            if found is None:
                return
            name, base = (found.find(f"{WORD}{part}") for part in ("name", "basedOn"))
            yield found.find(f"{WORD}pPr"), str(name.get(f"{WORD}val")) if name is not None else ""
            key = base.get(f"{WORD}val") if base is not None else None

    @cached_property
    def _by_id(self) -> dict[str | None, Any]:
        found = self._part.styles.element.findall(f"{WORD}style")
        return {style.get(f"{WORD}styleId"): style for style in found}

    @cached_property
    def _formats(self) -> dict[tuple[str, int], str]:
        """(list, depth) -> "bullet", "decimal" and so on."""
        try:
            root = self._part.numbering_part.element
        except (KeyError, NotImplementedError):
            return {}
        abstract = {a.get(f"{WORD}abstractNumId"): a for a in root.findall(f"{WORD}abstractNum")}
        found = {}
        for number in root.findall(f"{WORD}num"):
            key = number.find(f"{WORD}abstractNumId")
            of = abstract.get(key.get(f"{WORD}val")) if key is not None else None
            for level in of.findall(f"{WORD}lvl") if of is not None else ():
                depth, format_ = level.get(f"{WORD}ilvl", "0"), level.find(f"{WORD}numFmt")
                if format_ is not None and depth.isdigit():
                    found[number.get(f"{WORD}numId"), int(depth)] = format_.get(f"{WORD}val", "")
        return found


_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_BOX = f"{WORD}txbxContent"
_LEFT_OUT = {f"{WORD}del", f"{WORD}moveFrom", f"{WORD}instrText", f"{WORD}delText", _BOX}
_TRANSPARENT = {
    f"{WORD}sdt",
    f"{WORD}sdtContent",
    f"{WORD}ins",
    f"{WORD}moveTo",
    f"{WORD}customXml",
}
_ALTERNATIVE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_NOTES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def load_word(content: bytes, source: str) -> Loaded:
    """Title, author and date are from the file's properties, or the title from a heading."""
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
    """The body of one document as Markdown."""

    def __init__(self, opened: Any) -> None:
        self._part = opened.part
        self._root = opened.element.body
        self._styles = Styles(opened.part)
        self._notes: list[str] = []
        self.first_heading = ""

    def markdown(self) -> str:
        """Blocks separated by blank lines, except the items of a list; notes come last."""
        written, last = "", ""
        for kind, text in self._blocks(self._root):
            written += ("\n" if kind == last == "item" else "\n\n") + text
            last = kind
        texts = self._note_texts if self._notes else {}
        notes = [f"[^{at}]: {texts.get(key, '')}" for at, key in enumerate(self._notes, 1)]
        return "\n\n".join([written.strip("\n"), *notes])

    def _blocks(self, root: Any) -> Iterator[tuple[str, str]]:
        for element in root:
            if element.tag == f"{WORD}p":
                yield from self._paragraph(element)
            elif element.tag == f"{WORD}tbl":
                rows = [list(self._cells(row)) for row in _children(element, f"{WORD}tr")]
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
        """A paragraph with the mark of its style: # of a heading, bullet or number of an item."""
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
            if tag in (f"{WORD}t", _MATH):
                yield child.text or ""
            elif tag in (f"{WORD}tab", f"{WORD}ptab") and element.tag == f"{WORD}r":
                yield "\t"
            elif tag in (f"{WORD}br", f"{WORD}cr"):
                yield "\n"
            elif tag == f"{WORD}noBreakHyphen":
                yield "-"
            elif tag in (f"{WORD}footnoteReference", f"{WORD}endnoteReference"):
                yield self._note_mark(child)
            else:
                yield from self._runs(child)

    def _note_mark(self, reference: Any) -> str:
        kind = "footnotes" if reference.tag == f"{WORD}footnoteReference" else "endnotes"
        self._notes.append(f"{kind} {reference.get(f'{WORD}id')}")
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
                    found[f"{kind} {note.get(f'{WORD}id')}"] = text
        return found

    def _cells(self, row: Any) -> Iterator[str]:
        """A row's cells; one that spans columns is followed by empty ones."""
        for cell in _children(row, f"{WORD}tc"):
            yield " ".join(text for _, text in self._blocks(cell)).replace("\n", " ")
            span = cell.find(f"{WORD}tcPr/{WORD}gridSpan")
            wide = span.get(f"{WORD}val", "1") if span is not None else "1"
            yield from [""] * (min(int(wide), 100) - 1 if wide.isdigit() else 0)


def _children(element: Any, tag: str) -> Iterator[Any]:
    """The children of a tag, those inside content controls included."""
    for child in element:
        if child.tag == tag:
            yield child
        elif child.tag in _TRANSPARENT:
            yield from _children(child, tag)


def _is_outermost(box: Any, paragraph: Any) -> bool:
    """Whether a text box is in no other one, nor in the fallback copy for older programs."""
    for above in box.iterancestors():
        if above is paragraph:
            return True
        if above.tag in (_BOX, _ALTERNATIVE):
            return False
    return False
