"""Load Word files (.docx) as Markdown, in order: text, lists, tables, formulas, charts and notes.

Numbers of headings and lists are written as Word shows them. Page headers and footers come once, at
the top. Tracked deletions, struck-out and hidden text, hidden fields and pictures are left out. The
file does not store pages: the path of headings is the place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document
from agentkit.knowledge.loaders.archive import (
    EMBEDDED,
    checked,
    core_metadata,
    reading,
    repacked,
)
from agentkit.knowledge.loaders.charts import chart_blocks, diagram_block
from agentkit.knowledge.loaders.files import Loaded, escaped, markdown_table
from agentkit.knowledge.loaders.html import markdown_of
from agentkit.knowledge.loaders.notation import check_box, dollars, formula, ruby, shifted
from agentkit.knowledge.loaders.tables import Span, table
from agentkit.knowledge.loaders.text import decoded
from agentkit.knowledge.loaders.word_fields import equation, form_field
from agentkit.knowledge.loaders.word_styles import WORD, Styles, symbol
from agentkit.text.terms import clean

_MATH = "{http://schemas.openxmlformats.org/officeDocument/2006/math}"
_FORMULAS = (f"{_MATH}oMath", f"{_MATH}oMathPara")
_DIAGRAM = "{http://schemas.openxmlformats.org/drawingml/2006/diagram}relIds"
_CHART = "{http://schemas.openxmlformats.org/drawingml/2006/chart}chart"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_CHECKED = "{http://schemas.microsoft.com/office/word/2010/wordml}"
_PAGE_NUMBER = re.compile(r"\bPAGE\b|\bNUMPAGES\b")
_BOX = f"{WORD}txbxContent"
_LEFT_OUT = {f"{WORD}del", f"{WORD}moveFrom", f"{WORD}delText", _BOX}
_TRANSPARENT = {
    f"{WORD}sdt",
    f"{WORD}sdtContent",
    f"{WORD}ins",
    f"{WORD}moveTo",
    f"{WORD}customXml",
}
_CHARACTERS = {
    f"{WORD}tab": "\t",
    f"{WORD}ptab": "\t",
    f"{WORD}br": "\n",
    f"{WORD}cr": "\n",
    f"{WORD}noBreakHyphen": "-",
}
_UNSEEN = ("strike", "dstrike", "vanish")
_CHECK_BOX = f"{WORD}sdtPr/{_CHECKED}checkbox"
_ORDERED = re.compile(r"\d{1,9}[.)]")
_WORDS = re.compile(r"[^\W\d_]{2,}")
_MOST_COLUMNS = 100
_MOST_INSTRUCTION = 2000
_DEEPEST = 3
_ALTERNATIVE = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_NOTES = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/"


def load_word(content: bytes, source: str) -> Loaded:
    """Title, author and date are from the file's properties, or the title from a heading."""
    checked(content, ".docx")
    with reading(".docx", "Word"):
        opened = _opened(content)
        body = _Body(opened)
        text = clean(body.markdown())
        metadata = core_metadata(content)
    title = metadata.get("title") or body.first_heading or PurePosixPath(source).stem
    lost = list(dict.fromkeys(body.warnings)) if text else ["no text in it: pictures?"]
    return Loaded(Document(source, text, title, metadata=metadata), tuple(lost))


def _opened(content: bytes) -> Any:
    import docx

    return docx.Document(BytesIO(repacked(content, ".docx")))


class _Body:
    """The body of one document as Markdown; `depth` counts the documents that it is embedded in."""

    def __init__(self, opened: Any, depth: int = 0) -> None:
        self._depth = depth
        self._part = opened.part
        self._root = opened.element.body
        self._styles = Styles(opened.part)
        self._notes: list[str] = []
        self._instruction = ""
        self.warnings: list[str] = []
        self.first_heading = ""

    def markdown(self) -> str:
        """Blocks separated by blank lines, except the items of a list; notes come last."""
        written, last = "", ""
        for kind, text in self._blocks(self._root):
            written += ("\n" if kind == last == "item" else "\n\n") + text
            last = kind
        texts = self._note_texts if self._notes else {}
        notes = [f"[^{at}]: {texts.get(key, '')}" for at, key in enumerate(self._notes, 1)]
        frame = list(self._frame())
        return "\n\n".join(filter(None, [*frame, written.strip("\n"), *notes]))

    def _blocks(self, root: Any) -> Iterator[tuple[str, str]]:
        for element in root:
            if element.tag == f"{WORD}p":
                yield from self._paragraph(element)
            elif element.tag == f"{WORD}tbl":
                yield from self._table(element)
            elif element.tag in _TRANSPARENT:
                yield from self._blocks(element)
            elif element.tag == f"{WORD}altChunk":
                yield from self._embedded(element.get(f"{_RELATION}id", ""))

    def _embedded(self, relation: str) -> Iterator[tuple[str, str]]:
        """The text of a page or document that Word shows in this place; others are named."""
        part = self._part.related_parts.get(relation)
        kind = part.content_type if part is not None else ""
        if kind.endswith(("html", "xhtml+xml")):
            yield "text", markdown_of(decoded(part.blob))[0]
        elif kind == "text/plain":
            yield "text", escaped(decoded(part.blob).strip())
        elif kind == EMBEDDED and self._depth < _DEEPEST:
            checked(part.blob, ".docx")
            inner = _Body(_opened(part.blob), self._depth + 1)
            yield "text", inner.markdown()
            self.warnings += inner.warnings
        else:
            self.warnings.append(f"an embedded part ({kind or 'missing'}) was left out")

    def _paragraph(self, element: Any) -> Iterator[tuple[str, str]]:
        text = re.sub(r"[ \t]+\n", "\n", self._line(element)).strip()
        boxes = [box for box in element.iter(_BOX) if _is_outermost(box, element)]
        if text:
            yield self._marked(element, text)
        for box in boxes:
            yield from self._blocks(box)
        for chart in element.iter(_CHART):
            yield from self._chart(chart.get(f"{_RELATION}id", ""))
        for link in element.iter(_DIAGRAM):
            data = self._part.related_parts.get(link.get(f"{_RELATION}dm", ""))
            if data is not None and (block := diagram_block(data.blob)):
                yield "text", block

    def _chart(self, relation: str) -> Iterator[tuple[str, str]]:
        """The data of a chart; one that cannot be read is left out with a warning."""
        from docx.oxml import parse_xml

        try:
            found = list(chart_blocks(parse_xml(self._part.related_parts[relation].blob)))
        except (KeyError, ValueError, AttributeError, SyntaxError):
            self.warnings.append("a chart that cannot be read was left out")
            return
        for block in filter(None, found):
            yield "table", block

    def _line(self, element: Any) -> str:
        """The text of a paragraph, with its raised and lowered characters."""
        return shifted(self._runs(element, element))

    def _marked(self, element: Any, text: str) -> tuple[str, str]:
        """A paragraph with the mark of its style: # of a heading, bullet or number of an item."""
        level = self._styles.heading_level(element)
        mark, depth = self._styles.label(element)
        if level:
            heading = " ".join(f"{mark.removeprefix('-')} {text}".split())
            self.first_heading = self.first_heading or heading
            return "heading", f"{'#' * level} {heading}"
        if mark:
            mark = mark if mark == "-" or _ORDERED.fullmatch(mark) else f"- {mark}"
            indent = "    " * depth
            return "item", f"{indent}{mark} " + text.replace("\n", f"\n{indent}    ")
        return "text", escaped(text)

    def _runs(self, element: Any, paragraph: Any) -> Iterator[tuple[str, str]]:
        """(text, "superscript", "subscript" or "") of the runs in an element."""
        for child in element:
            tag = child.tag
            if tag in _LEFT_OUT or tag == _ALTERNATIVE:
                continue
            if tag in _FORMULAS:
                yield dollars(formula(child)), ""
            elif tag == f"{WORD}r":
                if not any(self._styles.is_set(child, paragraph, name) for name in _UNSEEN):
                    kind = self._styles.raising(child, paragraph)
                    for text in self._run(child, paragraph):
                        yield text, ("" if text.startswith("[^") else kind)
            elif tag == f"{WORD}sdt" and (box := child.find(_CHECK_BOX)) is not None:
                state = box.find(f"{_CHECKED}checked")
                value = state.get(f"{_CHECKED}val", "1") if state is not None else "0"
                yield check_box(value in ("1", "true")), ""
            else:
                yield from self._runs(child, paragraph)

    def _run(self, run: Any, paragraph: Any) -> Iterator[str]:
        for child in run:
            tag = child.tag
            if tag in _CHARACTERS:
                yield _CHARACTERS[tag]
            elif tag in _LEFT_OUT or tag == _ALTERNATIVE:
                continue
            elif (write := self._writers.get(tag)) is not None:
                yield write(child)
            else:
                yield from (text for text, _ in self._runs(child, paragraph))

    @cached_property
    def _writers(self) -> dict[str, Callable[[Any], str]]:
        """The elements of a run, and what their text is."""
        return {
            f"{WORD}t": lambda e: e.text or "",
            f"{WORD}sym": lambda e: symbol(e.get(f"{WORD}font", ""), e.get(f"{WORD}char", "")),
            f"{WORD}footnoteReference": self._note_mark,
            f"{WORD}endnoteReference": self._note_mark,
            f"{WORD}ruby": self._ruby,
            f"{WORD}fldChar": self._field_mark,
            f"{WORD}instrText": self._add_instruction,
        }

    def _field_mark(self, mark: Any) -> str:
        """What is drawn where a field begins or ends: the value of a form field, an equation."""
        kind = mark.get(f"{WORD}fldCharType", "")
        if kind != "end":
            self._instruction = "" if kind == "begin" else self._instruction
            return form_field(mark)
        drawn, self._instruction = equation(self._instruction), ""
        return drawn

    def _add_instruction(self, element: Any) -> str:
        if len(self._instruction) < _MOST_INSTRUCTION:
            self._instruction += element.text or ""
        return ""

    def _ruby(self, element: Any) -> str:
        base, above = (element.find(f"{WORD}{name}") for name in ("rubyBase", "rt"))
        return ruby(*("" if part is None else self._line(part) for part in (base, above)))

    def _note_mark(self, reference: Any) -> str:
        kind = "footnotes" if reference.tag == f"{WORD}footnoteReference" else "endnotes"
        self._notes.append(f"{kind} {reference.get(f'{WORD}id')}")
        return f"[^{len(self._notes)}]"

    @cached_property
    def _note_texts(self) -> dict[str, str]:
        from docx.oxml import parse_xml

        found = {}
        for kind in ("footnotes", "endnotes"):
            for relation in list(self._part.rels.values()):
                if relation.reltype != _NOTES + kind or relation.is_external:
                    continue
                for note in parse_xml(relation.target_part.blob):
                    text = " ".join(" ".join(self._line(p) for p in note.iter(f"{WORD}p")).split())
                    found[f"{kind} {note.get(f'{WORD}id')}"] = text
        return found

    def _table(self, element: Any) -> Iterator[tuple[str, str]]:
        """A table with its merged values repeated; the lines above its head come before it."""
        rows: list[list[str]] = []
        spans: list[Span] = []
        open_: dict[int, int] = {}
        marked = 0
        for row in _children(element, f"{WORD}tr"):
            if row.find(f"{WORD}trPr/{WORD}del") is not None:
                continue
            cells = self._cells(row)
            if marked == len(rows) and row.find(f"{WORD}trPr/{WORD}tblHeader") is not None:
                marked += 1
            line: list[str] = [""] * _count(row.find(f"{WORD}trPr/{WORD}gridBefore"), 0)
            for text, wide, merge in cells:
                column = len(line)
                if merge == "continue" and column in open_:
                    span = spans[open_[column]]
                    spans[open_[column]] = span._replace(rows=len(rows) - span.row + 1)
                else:
                    open_.pop(column, None)
                    if merge or wide > 1:
                        open_[column] = len(spans)
                        spans.append(Span(len(rows), column, 1, wide))
                line += [text, *[""] * (wide - 1)]
            rows.append(line)
        whole = table(rows, spans, marked)
        for title in whole.titles:
            yield "text", escaped(title)
        if written := markdown_table(whole.rows):
            yield "table", written

    def _cells(self, row: Any) -> Iterator[tuple[str, int, str]]:
        """(text, columns, "restart" or "continue" of a vertical merge or "") of a row's cells."""
        for cells in _merged_cells(row):
            text = " ".join(text for _, text in self._blocks(cells[0])).replace("\n", " ")
            wide = sum(_count(cell.find(f"{WORD}tcPr/{WORD}gridSpan"), 1) for cell in cells)
            merge = cells[0].find(f"{WORD}tcPr/{WORD}vMerge")
            yield text, wide, "" if merge is None else merge.get(f"{WORD}val", "continue")

    def _frame(self) -> Iterator[str]:
        """The page headers and footers, each once, without page numbers."""
        found: dict[str, None] = {}
        for relation in list(self._part.rels.values()):  # A style that is looked up may add one.
            kind = relation.reltype.rpartition("/")[2]
            if kind in ("header", "footer") and not relation.is_external:
                from docx.oxml import parse_xml

                root = parse_xml(relation.target_part.blob)
                for simple in list(root.iter(f"{WORD}fldSimple")):
                    if _PAGE_NUMBER.search(simple.get(f"{WORD}instr", "")):
                        simple.clear()
                texts = (" ".join(self._line(p).split()) for p in root.iter(f"{WORD}p"))
                text = " · ".join(filter(None, texts))
                if _WORDS.search(text):
                    found[f"Page {kind}: {escaped(text)}"] = None
        yield from found


def _count(element: Any, default: int) -> int:
    value = element.get(f"{WORD}val", "") if element is not None else ""
    return min(int(value), _MOST_COLUMNS) if value.isdigit() and len(value) < 6 else default


def _children(element: Any, tag: str) -> Iterator[Any]:
    """The children of a tag, those inside content controls included."""
    for child in element:
        if child.tag == tag:
            yield child
        elif child.tag in _TRANSPARENT:
            yield from _children(child, tag)


def _merged_cells(row: Any) -> list[list[Any]]:
    """The cells of a row, each with those that old files merge with it; deleted ones left out."""
    found: list[list[Any]] = []
    for cell in _children(row, f"{WORD}tc"):
        merge = cell.find(f"{WORD}tcPr/{WORD}hMerge")
        if found and merge is not None and merge.get(f"{WORD}val", "continue") == "continue":
            found[-1].append(cell)
        elif cell.find(f"{WORD}tcPr/{WORD}cellDel") is None:
            found.append([cell])
    return found


def _is_outermost(box: Any, paragraph: Any) -> bool:
    """Whether a text box is in no other one, nor in the fallback copy for older programs."""
    for above in box.iterancestors():
        if above is paragraph:
            return True
        if above.tag in (_BOX, _ALTERNATIVE):
            return False
    return False
