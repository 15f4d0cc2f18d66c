"""Load JSON and JSON Lines, with the place of every record.

JSON is kept as it is, but escaped characters are decoded, or no search would find them. JSON that
cannot be parsed, or is nested too deeply, is loaded as text with a warning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from agentkit.documents import Document, Part
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.text import decoded

Element = tuple[Any, int, int]
"""A value and its range in the text."""

_SPACE = re.compile(r"[ \t\r\n]*")
_LINE = re.compile(r"[^\r\n]+")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})(?:\\u([dD][c-fC-F][0-9a-fA-F]{2}))?|.)", re.DOTALL)
_TITLES = ("title", "name", "标题", "subject")
_MOST_TITLE = 200
_MOST_NAMED = 20
_DECODER = json.JSONDecoder()


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
