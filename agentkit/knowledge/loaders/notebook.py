"""Load Jupyter notebooks as Markdown, a part for each cell; images and long outputs are left out.

Of an output in several formats the richest that is text is read (nbformat 4, display_data).
"""

from __future__ import annotations

import json
import re
from html import unescape
from itertools import groupby
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from agentkit.documents import Document, Part
from agentkit.knowledge.chunking.splitter import first_heading
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.html import markdown_of
from agentkit.knowledge.loaders.notation import dollars
from agentkit.knowledge.loaders.text import decoded
from agentkit.text.terms import clean

_MOST_OUTPUT = 1000
_MOST_END = 300
"""Of a cut output the end is kept too: a training run ends with its result."""
_MOST_MARKDOWN = 10_000
_MOST_HEADED = 10_000
_OBJECT = re.compile(r"<[A-Za-z_][\w.]*(?: object| at 0x|\b)[^<>\n]*>")
"""The value of an object that has no text, as in `<IPython.core.display.HTML object>`."""
_WORD = re.compile(r"\w+")
_LABEL = re.compile(r"<text\b[^<>]*>(.{1,500}?)</text>", re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PICTURE = re.compile(r"!\[([^\]\n]{0,200})\]\((?:data|attachment):[^()\s]*\)")
_PICTURE_HTML = re.compile(r"<img\b[^<>]*\bsrc=[\"']?data:[^<>]*>", re.IGNORECASE)
_HEADING = re.compile(r"^(?:#{1,6}[ \t]|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE)
_FENCE = re.compile(r"`{3,}")
_NAME = re.compile(r"[A-Za-z0-9+#_-]{1,30}")


def load_notebook(content: bytes, source: str) -> Loaded:
    """A notebook that is not JSON, as after a failed merge, is text with a warning."""
    raw = decoded(content)
    stem = PurePosixPath(source).stem
    if not raw.strip():
        return Loaded(Document(source, "", stem))
    try:
        notebook = json.loads(raw)
    except (ValueError, RecursionError):
        plain = Document(source, raw, stem, format="text")
        return Loaded(plain, ("broken JSON, not a notebook: read as text",))
    language = _language(notebook)
    text, title, parts = "", "", []
    for number, cell in enumerate(_cells(notebook), start=1):
        if written := clean(_cell_markdown(cell, language)):
            start = len(text)
            parts.append(Part("cell", str(number), start, start + len(written)))
            text += written + "\n\n"
            title = title or _heading(cell, written)
    metadata = {"language": language}
    return Loaded(Document(source, text, title or stem, metadata=metadata, parts=tuple(parts)))


def _cells(notebook: Any) -> list[Any]:
    """The cells of version 4, or of the worksheets of earlier versions."""
    cells: list[Any] = _of(notebook, "cells", list)
    if not cells:
        cells = [
            c for sheet in _of(notebook, "worksheets", list) for c in _of(sheet, "cells", list)
        ]
    return cells


def _language(notebook: Any) -> str:
    about = _of(notebook, "metadata", dict)
    name = _of(_of(about, "kernelspec", dict), "language", str)
    name = name or _of(_of(about, "language_info", dict), "name", str) or "python"
    return name.lower() if _NAME.fullmatch(name) else "python"


def _cell_markdown(cell: Any, language: str) -> str:
    source = _joined(cell, "source") or _joined(cell, "input")
    if _of(cell, "cell_type", str) == "heading":
        return f"{'#' * min(6, max(1, _of(cell, 'level', int) or 1))} {source.strip()}"
    if _of(cell, "cell_type", str) != "code":
        return _PICTURE_HTML.sub("", _PICTURE.sub(r"\1", source)).strip()
    outputs = [_output(output) for output in _of(cell, "outputs", list)]
    blocks = [_fenced(source.strip("\n"), language)]
    for is_markdown, group in groupby(filter(None, outputs), key=lambda o: o.is_markdown):
        text = _cut("\n".join(output.text for output in group).strip(), is_markdown)
        blocks.append(text if is_markdown else _fenced(text, "text"))
    return "\n\n".join(block for block in blocks if block)


class _Output(NamedTuple):
    """The text of an output, and whether it is Markdown."""

    text: str
    is_markdown: bool = False


def _output(output: Any) -> _Output | None:
    """The richest text of an output: Markdown, an HTML table, a formula, JSON or a plain value; of
    a stream its text, of an error its name and message."""
    if name := _of(output, "ename", str):
        return _Output(f"{name}: {_of(output, 'evalue', str)}")
    data = _of(output, "data", dict) or output
    plain = _ANSI.sub("", _joined(output, "text") or _joined(data, "text/plain"))
    if markdown := _joined(data, "text/markdown"):
        return _Output(f"\n{markdown}\n", True)
    is_blank = not plain or bool(_OBJECT.fullmatch(plain.strip()))
    html = _joined(data, "text/html") or _joined(data, "html")
    written = markdown_of(html)[0] if html else ""
    words = set(_WORD.findall(written))
    if written and ("<table" in html or len(words & set(_WORD.findall(plain))) < 0.8 * len(words)):
        return _Output(f"\n{written}\n", True)
    if latex := _joined(data, "text/latex") or _joined(data, "latex"):
        return _Output(f"\n{latex if '$' in latex else dollars(latex)}\n", True)
    if is_blank and (other := _data_text(data)):
        return _Output(other)
    return _Output(plain) if plain else None


def _data_text(data: Any) -> str:
    """The text of an output that has no plain value: JSON, CSV and the labels of a drawing."""
    for kind, value in data.items() if isinstance(data, dict) else ():
        if kind.startswith("application/") and kind.endswith("json") and "widget" not in kind:
            return json.dumps(value, ensure_ascii=False, indent=1)
        if kind == "text/csv":
            return _joined(data, kind)
        if kind == "image/svg+xml":
            labels = _LABEL.findall(_joined(data, kind))
            return "\n".join(unescape(_TAG.sub("", label)).strip() for label in labels)
    return ""


def _cut(text: str, is_markdown: bool) -> str:
    most = _MOST_MARKDOWN if is_markdown else _MOST_OUTPUT
    if len(text) <= most:
        return text
    end = text[-_MOST_END:].partition("\n")[2] if not is_markdown else ""
    cut = len(text) - most - len(end)
    return f"{text[:most]}\n[... {cut} more characters]" + (f"\n{end}" if end else "")


def _heading(cell: Any, markdown: str) -> str:
    is_heading = _of(cell, "cell_type", str) != "code" and _HEADING.search(markdown)
    return first_heading(markdown[:_MOST_HEADED]) if is_heading else ""


def _fenced(text: str, language: str) -> str:
    if not text.strip():
        return ""
    longest = max((len(run) for run in _FENCE.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _joined(mapping: Any, key: str) -> str:
    """A text that may be kept as a list of lines."""
    if not isinstance(mapping, dict):
        return ""
    value = mapping.get(key)
    if isinstance(value, list):
        return "".join(line for line in value if isinstance(line, str))
    return value if isinstance(value, str) else ""


def _of(mapping: Any, key: str, kind: type) -> Any:
    """The value of a type under a key, else an empty one: the file is not trusted."""
    value = mapping.get(key) if isinstance(mapping, dict) else None
    return value if isinstance(value, kind) else kind()
