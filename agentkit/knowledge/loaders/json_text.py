"""Load JSON, JSON Lines and Jupyter notebooks, with the place of every record or cell.

JSON is kept as it is, but escaped characters are decoded, or no search would find them. JSON that
cannot be parsed, or is nested too deeply, is loaded as text with a warning. A notebook becomes
Markdown, a part for each cell; images and long outputs are left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document, Part
from agentkit.knowledge.chunking.splitter import first_heading
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.text import decoded
from agentkit.text.terms import clean

Element = tuple[Any, int, int]
"""A value and its range in the text."""

_SPACE = re.compile(r"[ \t\r\n]*")
_LINE = re.compile(r"[^\r\n]+")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?|.)", re.DOTALL)
_TITLES = ("title", "name", "标题", "subject")
_MOST_TITLE = 200
_MOST_NAMED = 20
_DECODER = json.JSONDecoder()
_MOST_OUTPUT = 1000
_MOST_HEADED = 10_000
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_PICTURE = re.compile(r"!\[([^\]\n]{0,200})\]\((?:data|attachment):[^()\s]*\)")
_PICTURE_HTML = re.compile(r"<img\b[^<>]*\bsrc=[\"']?data:[^<>]*>", re.IGNORECASE)
_HEADING = re.compile(r"^(?:#{1,6}[ \t]|=+[ \t]*$|-+[ \t]*$)", re.MULTILINE)
_FENCE = re.compile(r"`{3,}")
_NAME = re.compile(r"[A-Za-z0-9+#_-]{1,30}")


def load_json(content: bytes, source: str) -> Loaded:
    """The elements of a list are records, and so are those of the list that makes up more than a
    third of an object; other JSON is text."""
    text = _readable(decoded(content))
    title = PurePosixPath(source).stem
    if not text.strip():
        return Loaded(Document(source, text, title, format="text"))
    try:
        root, records = _parsed(text)
    except (ValueError, RecursionError) as error:
        reason = _reason(error, text)
        return Loaded(Document(source, text, title, format="text"), (f"{reason}: read as text",))
    parts = tuple(
        Part("record", str(number), start, end)
        for number, (_, start, end) in enumerate(records, start=1)
    )
    title = _title(root) or title
    return Loaded(Document(source, text, title, format="rows" if parts else "text", parts=parts))


def load_json_lines(content: bytes, source: str) -> Loaded:
    """Each line is a record, named by its number; a broken one is kept, with a warning."""
    text = _readable(decoded(content))
    parts: list[Part] = []
    broken: list[str] = []
    number, counted = 1, 0
    for line in _LINE.finditer(text):
        number += len(re.findall(r"\r\n|\n|\r", text[counted : line.start()]))
        counted = line.start()
        if not line.group().strip():
            continue
        parts.append(Part("record", str(number), *line.span()))
        try:
            json.loads(line.group())
        except (ValueError, RecursionError) as error:
            broken.append(f"line {number}: {_reason(error)}")
    stem = PurePosixPath(source).stem
    document = Document(source, text, stem, format="rows", parts=tuple(parts))
    more = len(broken) - _MOST_NAMED
    rest = (f"{more} more lines of broken JSON",) if more > 0 else ()
    return Loaded(document, (*broken[:_MOST_NAMED], *rest))


def _readable(text: str) -> str:
    """The same JSON with non-ASCII characters in place of their escapes."""

    def character(match: re.Match[str]) -> str:
        high, low = (int(half, 16) if half else 0 for half in match.groups())
        if low and 0xD800 <= high <= 0xDBFF:
            return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
        is_plain = not low and high >= 0xA0 and not 0xD800 <= high <= 0xDFFF
        return chr(high) if is_plain else match.group()

    return _ESCAPE.sub(character, text) if "\\u" in text else text


def _parsed(text: str) -> tuple[Any, list[Element]]:
    """The whole value and the records in it. Raises ValueError, RecursionError."""
    start = _after_space(text, 0)
    root, end = _DECODER.raw_decode(text, start)
    if _after_space(text, end) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)
    if isinstance(root, list):
        return root, _records(text, start)
    if isinstance(root, dict):
        for value, begin, end in _members(text, start):
            if isinstance(value, list) and end - begin > (len(text) - start) / 3:
                return root, _records(text, begin)
    return root, []


def _records(text: str, start: int) -> list[Element]:
    """The elements of a list of objects, lists or texts; a list of numbers has no records."""
    elements = list(_elements(text, start))
    worthy = sum(isinstance(value, dict | list | str) for value, *_ in elements)
    return elements if worthy > len(elements) / 2 else []


def _elements(text: str, start: int) -> Iterator[Element]:
    at = _after_space(text, start + 1)
    while text[at] != "]":
        value, end = _DECODER.raw_decode(text, at)
        yield value, at, end
        at = _after_comma(text, end)


def _members(text: str, start: int) -> Iterator[Element]:
    at = _after_space(text, start + 1)
    while text[at] != "}":
        _, end = _DECODER.raw_decode(text, at)
        begin = _after_space(text, _after_space(text, end) + 1)
        value, end = _DECODER.raw_decode(text, begin)
        yield value, begin, end
        at = _after_comma(text, end)


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _after_comma(text: str, at: int) -> int:
    at = _after_space(text, at)
    return _after_space(text, at + 1) if text[at] == "," else at


def _title(root: Any) -> str:
    if not isinstance(root, dict):
        return ""
    found = (root.get(key) for key in _TITLES)
    return next((" ".join(t[:_MOST_TITLE].split()) for t in found if isinstance(t, str) and t), "")


def _reason(error: Exception, text: str = "") -> str:
    if isinstance(error, RecursionError):
        return "JSON nested too deep"
    where = f" in line {error.lineno}" if text and isinstance(error, json.JSONDecodeError) else ""
    return f"broken JSON{where}"


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
    output = "\n".join(found for out in _of(cell, "outputs", list) for found in _texts(out)).strip()
    if len(output) > _MOST_OUTPUT:
        output = f"{output[:_MOST_OUTPUT]}\n[... {len(output) - _MOST_OUTPUT} more characters]"
    blocks = (_fenced(source.strip("\n"), language), _fenced(output, "text"))
    return "\n\n".join(block for block in blocks if block)


def _heading(cell: Any, markdown: str) -> str:
    is_heading = _of(cell, "cell_type", str) != "code" and _HEADING.search(markdown)
    return first_heading(markdown[:_MOST_HEADED]) if is_heading else ""


def _texts(output: Any) -> Iterator[str]:
    """The text of an output: a stream, a plain value, or an error."""
    if name := _of(output, "ename", str):
        yield f"{name}: {_of(output, 'evalue', str)}"
        return
    data = _of(output, "data", dict)
    yield _ANSI.sub("", _joined(output, "text") or _joined(data, "text/plain"))


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
