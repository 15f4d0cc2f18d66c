"""Rewrite the elements of a page that plain text lacks, in place and before it becomes Markdown.

Superscript, subscript, note marks, ruby and formulas are written by the convention of `notation`;
values of forms and the letters of lists are written out; struck-out text is removed; merged cells
repeat their value and a head of several rows becomes one.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from agentkit.knowledge.loaders.notation import check_box, dollars, formula, lowered, raised
from agentkit.knowledge.loaders.tables import Span, head_depth, table
from agentkit.knowledge.loaders.word_styles import numeral

_STRUCK = re.compile(r"line-through", re.IGNORECASE)
_RAISED = re.compile(r"vertical-align\s*:\s*(super|sub)\b", re.IGNORECASE)
_MOVED = re.compile(r"(?<![\w-])top\s*:\s*(-?)\.?\d", re.IGNORECASE)
_CLASS = re.compile(r"[\w-]*\.([\w-]+)")
_DRAWN = frozenset((
    "MathJax", "MathJax_Preview", "MathJax_Display", "MathJax_SVG", "MathJax_CHTML",
))  # fmt: skip
"""What MathJax 2 draws beside the formula of a page that was saved by a browser."""
_TEX = re.compile(r"math/(?:tex|latex)|text/x-tex", re.IGNORECASE)
_PICTURED = re.compile(r"(?:^|[\s_-])(?:tex|latex|math|equation|formula)(?:$|[\s_-])|mwe-math")
_TYPED = (
    "text",
    "number",
    "email",
    "tel",
    "url",
    "date",
    "time",
    "datetime-local",
    "month",
    "week",
)
_LETTERED = re.compile(r"list-style[^;]*?\b((?:lower|upper)-(?:alpha|latin|roman))", re.IGNORECASE)
_LIST_KINDS = {
    **dict.fromkeys(("a", "lower-alpha", "lower-latin"), "lowerLetter"),
    **dict.fromkeys(("A", "upper-alpha", "upper-latin"), "upperLetter"),
    **dict.fromkeys(("i", "lower-roman"), "lowerRoman"),
    **dict.fromkeys(("I", "upper-roman"), "upperRoman"),
}
_NOTE_KINDS = ("doc-noteref", "noteref")
_MOST_STYLE = 500
_MOST_SHEET = 200_000
_DEEPEST_TABLE = 3
_LIGHT = ("em", "i", "b", "strong", "u", "small")
_MOST_SPAN = 60
"""A cell of more columns covers those that the other rows have."""
_MOST_CELLS = 100_000
_LEFT_OUT = "template"
"""A tag that no text is taken from."""


def write_notation(root: Any) -> None:
    """Rewrite a parsed page. What is nested inside rewritten elements is lost but for its text."""
    for element in root.xpath("//*[@hidden='until-found']"):
        del element.attrib["hidden"]
    _write_formulas(root)
    for element in list(root.iter("input", "select", "textarea")):
        if value := _form_value(element):
            _replace(element, value)
    for element in root.iter("ol"):
        _write_list(element)
    styles = _class_styles(root)
    for element in root.iter("rt", "rp", "del", "s", "strike", "sup", "sub", "span", "font"):
        _write(element, styles)
    for element in reversed(list(root.iter("table"))):
        _write_table(element)


def _write_formulas(root: Any) -> None:
    for element in list(root.iter("math")):
        _show(element)
        _replace(element, dollars(formula(element)))
    scripts = [s for s in root.iter("script") if _TEX.match(s.get("type", ""))]
    for element in list(root.iter("span", "div")) if scripts else ():
        if not _DRAWN.isdisjoint(element.get("class", "")[:_MOST_STYLE].split()):
            element.tag = _LEFT_OUT
    for element in scripts:
        _replace(element, dollars(element.text or ""))
    for element in list(root.iter("img")):
        if _PICTURED.search(element.get("class", "")[:_MOST_STYLE]):
            _replace(element, dollars(element.get("alt", "")))


def _form_value(element: Any) -> str:
    """What a reader sees in a field of a form: a box, a text, the chosen options; "" for none."""
    if element.tag == "textarea":
        return _text(element)
    if element.tag == "select":
        return ", ".join(_text(o) for o in element.iter("option") if "selected" in o.attrib)
    kind = element.get("type", "text").lower()
    if kind == "checkbox" or (kind == "radio" and _has_label(element)):
        return check_box("checked" in element.attrib)
    return " ".join(element.get("value", "").split()) if kind in _TYPED else ""


def _has_label(element: Any) -> bool:
    """Whether text belongs to a radio button, which otherwise may be the tab of a page."""
    return bool((element.tail or "").strip()) or element.getparent().tag == "label"


def _write_list(element: Any) -> None:
    """Write the numbers of a list that Markdown would number otherwise: letters, Roman ones, those
    counted down, and those set at items."""
    items = list(element.iterchildren("li"))
    styled = _LETTERED.search(element.get("style", "")[:_MOST_STYLE])
    kind = _LIST_KINDS.get(styled[1].lower() if styled else element.get("type", ""), "decimal")
    is_reversed = "reversed" in element.attrib
    if kind == "decimal" and not (is_reversed or any("value" in item.attrib for item in items)):
        return
    element.tag = "ul"
    number = _whole(element.get("start"), len(items) if is_reversed else 1)
    for item in items:
        number = _whole(item.get("value"), number)
        first = item if (item.text or "").strip() or not len(item) else item[0]
        first.text = f"{numeral(kind, number)}. {(first.text or '').lstrip()}"
        number += -1 if is_reversed else 1


def _whole(written: str | None, otherwise: int) -> int:
    return int(written) if written and re.fullmatch(r"-?[0-9]{1,6}", written) else otherwise


def _class_styles(root: Any) -> dict[str, str]:
    """Class -> the rules of the page's style sheets that raise, lower or strike out its text."""
    styles: dict[str, str] = {}
    for sheet in root.iter("style"):
        for block in (sheet.text or "")[:_MOST_SHEET].split("}"):
            selectors, _, rules = block.rpartition("{")
            if _kind(rules) or _STRUCK.search(rules):
                for selector in selectors.rpartition("{")[2].split(","):
                    if name := _CLASS.fullmatch(selector.strip()):
                        styles[name[1]] = rules
    return styles


def _kind(style: str) -> str:
    """`super`, `sub` or "" for a style."""
    if found := _RAISED.search(style):
        return found[1].lower()
    moved = _MOVED.search(style) if "relative" in style and "font-size" in style else None
    return "" if moved is None else "super" if moved[1] else "sub"


def _write(element: Any, styles: dict[str, str]) -> None:
    style = element.get("style", "")[:_MOST_STYLE]
    if styles:
        names = element.get("class", "")[:_MOST_STYLE].split()
        style = " ".join([style, *(styles[name] for name in names if name in styles)])
    kind = _kind(style) if style.strip() else ""
    if element.tag in ("del", "s", "strike", "rp") or (style and _STRUCK.search(style)):
        element.tag = _LEFT_OUT
    elif element.tag == "rt":
        text = _text(element)
        _replace(element, f"({text})" if text else "")
    elif kind or element.tag in ("sup", "sub"):
        for inner in reversed(list(element.iterdescendants("sup", "sub"))):
            _write_shift(inner, inner.tag == "sup")
        _write_shift(element, element.tag == "sup" or kind == "super")


def _write_shift(element: Any, is_raised: bool) -> None:
    text = _text(element)
    note = is_raised and _is_note(element)
    _replace(element, raised(_before(element), text, note=note) if is_raised else lowered(text))
    _unwrap(element)


def _text(element: Any) -> str:
    return " ".join("".join(element.itertext()).split())


def _replace(element: Any, text: str) -> None:
    tail = element.tail
    element.clear()
    element.tag, element.text, element.tail = "span", text, tail


def _unwrap(element: Any) -> None:
    """Emphasis around a power alone would stand as asterisks between it and its base."""
    parent = element.getparent()
    alone = (
        parent is not None and len(parent) == 1 and not (parent.text or element.tail or "").strip()
    )
    if alone and parent.tag in _LIGHT:
        parent.tag = "span"


def _before(element: Any) -> str:
    """The text right before an element, in its parents where it is the first."""
    while element is not None:
        previous = element.getprevious()
        parent = element.getparent()
        if previous is not None:
            return previous.tail or (previous[-1].tail if len(previous) else previous.text) or ""
        if parent is None or parent.text:
            return (parent.text or "") if parent is not None else ""
        element = parent
    return ""


def _is_note(element: Any) -> bool:
    """Whether a superscript is, or holds, a link to a note."""
    parent = element.getparent()
    around = parent is not None and parent.tag == "a" and _text(parent) == _text(element)
    links = [parent, *element.iter("a")] if around else list(element.iter("a"))
    return any(map(_leads_to_note, links)) or element.get("role") in _NOTE_KINDS


def _leads_to_note(link: Any) -> bool:
    href = link.get("href", "")
    return "#" in href[:_MOST_STYLE] or link.get("role") in _NOTE_KINDS


def _show(element: Any) -> None:
    """A formula that is hidden because a picture stands beside it is shown instead of it."""
    for parent in (element.getparent(), element):
        if parent is not None:
            parent.attrib.pop("style", None)
            parent.attrib.pop("hidden", None)
            parent.attrib.pop("aria-hidden", None)
            beside = parent.getnext()
            if beside is not None and beside.tag == "img":
                beside.attrib.pop("class", None)


def _write_table(element: Any) -> None:
    """Repeat merged values and join the head rows, where there are any."""
    rows = element.xpath("./tr | ./thead/tr | ./tbody/tr | ./tfoot/tr")
    if _arranges_page(element, rows):
        return
    cells, spans = _placed(rows)
    if not any(cells):
        return
    marked = _marked_rows(rows)
    texts = [[_text(cell) if cell is not None else "" for cell in row] for row in cells]
    whole = table(texts, spans, marked)
    if not spans and marked < 2 and not whole.titles:
        return
    _fill(cells, spans)
    top = len(whole.titles)
    depth = head_depth(texts[top:], [s._replace(row=s.row - top) for s in spans], marked - top)
    for row, line in zip(rows, cells, strict=True):
        row[:] = [cell for cell in line if cell is not None]
    for row in rows[: top + depth - 1]:
        row.getparent().remove(row)
    if depth > 1:
        for cell, name in zip(cells[top + depth - 1], whole.rows[0], strict=True):
            if cell is not None:
                _replace(cell, name)
                cell.tag = "th"
    for title in reversed(whole.titles):
        caption = element.makeelement("caption")
        caption.text = title
        element.insert(0, caption)


def _arranges_page(element: Any, rows: list[Any]) -> bool:
    """Whether a table holds tables and names no columns or rows of its own."""
    if next(element.iterdescendants("table"), None) is None:
        return False
    names = any(cell.tag == "th" for row in rows for cell in row)
    return not names or sum(1 for _ in element.iterancestors("table")) > _DEEPEST_TABLE


def _placed(rows: list[Any]) -> tuple[list[list[Any]], list[Span]]:
    """The cells by row and column, None where a merged one covers the place, and what is merged."""
    grid: list[dict[int, Any]] = [{} for _ in rows]
    spans: list[Span] = []
    taken: set[tuple[int, int]] = set()
    for at, row in enumerate(rows):
        column = 0
        for cell in row.iterchildren("td", "th"):
            while (at, column) in taken:
                column += 1
            down = _span(cell, "rowspan", len(rows) - at)
            across = _span(cell, "colspan", _MOST_SPAN + 1)
            reach = across if across <= _MOST_SPAN else 1
            grid[at][column] = cell
            if down > 1 or across > 1:
                spans.append(Span(at, column, down, across))
                taken.update((at + y, column + x) for y in range(1, down) for x in range(reach))
            column += reach
    ends = [span.column + span.columns for span in spans if span.columns <= _MOST_SPAN]
    width = max([*(max(row, default=-1) + 1 for row in grid), *ends], default=0)
    if len(grid) * width > _MOST_CELLS:
        return [], []
    spans = [span._replace(columns=min(span.columns, width - span.column)) for span in spans]
    return [[row.get(column) for column in range(width)] for row in grid], spans


def _span(cell: Any, name: str, most: int) -> int:
    value = cell.attrib.pop(name, "1").strip()
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 7 else 1
    return min(number or most, most)


def _marked_rows(rows: list[Any]) -> int:
    """The rows at the top that the page marks as the head: in `thead`, or of `th` alone."""
    count = 0
    for row in rows:
        in_head = row.getparent().tag == "thead"
        if not (in_head or (len(row) and all(cell.tag == "th" for cell in row))):
            break
        count += 1
    return count


def _fill(cells: list[list[Any]], spans: list[Span]) -> None:
    """Put a copy of each merged cell where it covers others; a cell without text is put as well, so
    that the columns stay."""
    budget = 4 * sum(1 for row in cells for cell in row if cell is not None) + 10_000
    for span in spans:
        cell = cells[span.row][span.column]
        size = sum(1 for _ in cell.iter())
        for row in cells[span.row : span.row + span.rows]:
            for column in range(span.column, span.column + span.columns):
                if row[column] is None and budget > 0:
                    budget -= size
                    row[column] = copy.deepcopy(cell)
                    row[column].tail = None
    for row in cells:
        for column, cell in enumerate(row):
            if cell is None and any(c is not None for c in row[column:]):
                row[column] = row[[c is not None for c in row].index(True)].makeelement("td")
