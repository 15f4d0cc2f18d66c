"""Parse JSON as language models write it: with comments, Python's literals, single quotes, raw line
breaks, quotes that are not escaped, keys without quotes, trailing commas and missing brackets.

Only what has one reading is accepted, and nothing is invented: a value that is missing, cut off or
elided ("...") is an error, and so is an end inside a text. Strict JSON is read as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

MAX_LENGTH = 200_000
"""Characters above which nothing is repaired."""
_MAX_DEPTH = 100
_MAX_FAILURES = 50
"""How many beginnings in one text may turn out to be no value."""
_MAX_QUOTES = 2_000
"""How many quotes within one text may lack their escape."""

_LITERALS: dict[str, bool | float | None] = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "None", "NULL", "undefined", "nil")),
    **dict.fromkeys(("NaN", "nan"), float("nan")),
    "Infinity": float("inf"),
}
_CLOSERS = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "'": "'", "/": "/"}
_ESCAPES["\\"] = "\\"
_ESCAPES["\n"] = ""
_CONTROL = "bf"
"""Escapes that are backslashes of LaTeX where the text has other unescaped ones."""

_SPACE = re.compile(r"(?:[\s\ufeff\u200b]+|//[^\n]*|#[^\n]*|/\*.*?\*/)*", re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.%:-]|/(?![/*]))")
_STRICT_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d[\d:.Z+-]*)?(?=\s*[,}\]\n])")
_WORDS = re.compile(r"[^\W\d](?:(?:[\w .@+-]|/(?![/*]))*[\w])?(?=[ \t]*(?:[,}\]\n]|//|/\*|#|$))")
_KEY = re.compile(r"[\w$.-]+(?=\s*:)")
_NEXT_KEY = r'(?:"[^"\n]*"|\'[^\'\n]*\'|“[^”\n]*”|[\w$-]+)\s*:'
_ENDS_MEMBER = re.compile(
    rf"\s*(?:[}}\])]|,\s*(?:[}}\]]|//|/\*|#|{_NEXT_KEY}|$)|//|/\*|$)|\s+{_NEXT_KEY}"
)
_ENDS_ITEM = re.compile(r"\s*(?:[\])}]|,\s*(?:[\[{\"'“\]\d-]|true|false|null|True|None|False|$)|$)")
_ENDS_KEY = re.compile(r"\s*:")
_ENDS_TEXT = re.compile(r"\s*(?:[}\])]|$)")
_CONCATENATION = re.compile(r"\s*\+\s*[\"']")
_ESCAPED_OBJECT = re.compile(r"[{\[]\s*(?:\\n\s*)*\\\"")


class InvalidJson(ValueError):
    """Text that has no one reading as JSON. `is_cut` marks a value that the text's end cuts off."""

    def __init__(self, message: str, is_cut: bool = False) -> None:
        super().__init__(message)
        self.is_cut = is_cut


def parse_value(text: str, at: int = 0, *, is_cut: bool = False) -> tuple[Any, int]:
    """Parse the value at a position; returns it and where it ends. `is_cut` tells that the text
    was cut off, so that brackets which are missing at its end are an error. Raises InvalidJson."""
    try:
        return json.JSONDecoder().raw_decode(text, at)
    except (ValueError, RecursionError):
        if len(text) > MAX_LENGTH:
            raise InvalidJson("too long to be repaired") from None
    if _ESCAPED_OBJECT.match(text, at):
        unescaped = text[at:].replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
        value, _ = parse_value(unescaped, is_cut=is_cut)
        return value, len(text)
    parser = _Parser(text, is_cut)
    return parser.value(at, _ENDS_TEXT, 0)


def find_values(text: str, *, is_cut: bool = False) -> Iterator[tuple[Any, int, int]]:
    """Find the objects and lists in a text: each with its start and its end. Braces of prose are
    passed over."""
    at = tried = 0
    while tried < _MAX_FAILURES:
        starts = [found for found in (text.find("{", at), text.find("[", at)) if found >= 0]
        if not starts:
            return
        start = min(starts)
        try:
            value, end = parse_value(text, start, is_cut=is_cut)
        except InvalidJson:
            tried, at = tried + 1, start + 1
            continue
        yield value, start, end
        at = end


class _Parser:
    """A recursive descent over one text; each method returns a value and where it ends."""

    def __init__(self, text: str, is_cut: bool) -> None:
        self._text = text
        self._is_cut = is_cut

    def value(self, at: int, ends: re.Pattern[str], depth: int) -> tuple[Any, int]:
        """`ends` is what may follow a text that stands here."""
        at, text = self._skip(at), self._text
        if depth > _MAX_DEPTH:
            raise InvalidJson("nested too deeply")
        start = text[at : at + 1]
        if start == "{":
            return self._object(at + 1, depth)
        if start in ("[", "(") and start:
            return self._list(at + 1, "]" if start == "[" else ")", depth)
        if start in _CLOSERS and start:
            return self._string(at, ends)
        return self._plain(at)

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def _fault(self, what: str, at: int) -> InvalidJson:
        if at >= len(self._text):
            return InvalidJson(f"{what}: the text ends", is_cut=True)
        return InvalidJson(f"{what} at {self._text[at : at + 30]!r}")

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        while True:
            at = self._skip(at)
            if self._text[at : at + 1] == "}":
                return found, at + 1
            if at >= len(self._text) and found:
                return found, self._end(at)
            key, at = self._key(at)
            at = self._skip(at)
            if self._text[at : at + 1] != ":":
                raise self._fault("a colon is missing", at)
            found[key], at = self.value(at + 1, _ENDS_MEMBER, depth + 1)
            at = self._separator(at, "}")

    def _list(self, at: int, closer: str, depth: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        while True:
            at = self._skip(at)
            if self._text[at : at + 1] == closer:
                return found, at + 1
            if at >= len(self._text) and found:
                return found, self._end(at)
            item, at = self.value(at, _ENDS_ITEM, depth + 1)
            found.append(item)
            at = self._separator(at, closer)

    def _separator(self, at: int, closer: str) -> int:
        """Pass one comma; between members on two lines, or after a text, it may be missing."""
        next_at = self._skip(at)
        following = self._text[next_at : next_at + 1]
        if following == ",":
            return next_at + 1
        if following in ("", closer) or next_at > at:
            return next_at
        raise self._fault("a comma is missing", next_at)

    def _end(self, at: int) -> int:
        """Accept missing brackets at the end of a text that was not cut off."""
        if self._is_cut:
            raise InvalidJson("the text ends within a value", is_cut=True)
        return at

    def _key(self, at: int) -> tuple[str, int]:
        if self._text[at : at + 1] in _CLOSERS and self._text[at : at + 1]:
            return self._string(at, _ENDS_KEY)
        if found := _KEY.match(self._text, at):
            return found[0], found.end()
        raise self._fault("a key is missing", at)

    def _plain(self, at: int) -> tuple[Any, int]:
        """A number, a literal, or words without quotes."""
        text = self._text
        if date := _DATE.match(text, at):
            return date[0], date.end()
        if number := _NUMBER.match(text, at):
            return self._number(number[0], at), number.end()
        if text.startswith("-Infinity", at):
            return float("-inf"), at + 9
        words = _WORDS.match(text, at)
        if words and (words[0] in _LITERALS or words.end() < len(text)):
            return _LITERALS.get(words[0], words[0]), words.end()
        raise self._fault("a value is missing", at)

    def _number(self, written: str, at: int) -> int | float:
        digits = written.replace("_", "").removeprefix("+")
        if digits.startswith("."):
            digits = f"0{digits}"
        digits = digits.removesuffix(".")
        if not _STRICT_NUMBER.fullmatch(digits):
            raise self._fault("not a number", at)
        value: int | float = json.loads(digits)
        return value

    def _string(self, at: int, ends: re.Pattern[str]) -> tuple[str, int]:
        """A text in quotes. A quote that nothing follows which could follow the text is part of
        it."""
        text, closer = self._text, _CLOSERS[self._text[at]]
        triple = closer * 3
        if (
            closer in "\"'"
            and text.startswith(triple, at)
            and ((end := text.find(triple, at + 3)) > 0)
        ):
            return text[at + 3 : end], end + 3
        start = at = at + 1
        for _ in range(_MAX_QUOTES):
            end = _find_any(text, closer, at)
            if end < 0:
                raise InvalidJson("a text does not end", is_cut=True)
            if text[end] == "\\":
                at = end + 2
                continue
            if ends.match(text, end + 1):
                return _unescape(text[start:end]), end + 1
            if _CONCATENATION.match(text, end + 1):
                raise self._fault("texts are added", end)
            at = end + 1
        raise InvalidJson("a text has too many quotes")


def _find_any(text: str, closer: str, at: int) -> int:
    """Where the next closing quote or backslash stands, -1 for none."""
    quote, slash = text.find(closer, at), text.find("\\", at)
    return quote if slash < 0 else slash if quote < 0 else min(quote, slash)


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        pass
    has_unknown = re.search(r"(?<!\\)(?:\\\\)*\\[^\"'\\/bfnrtu\n]", text) is not None
    return re.sub(
        r"\\(?:u(?P<code>[0-9a-fA-F]{4})|(?P<one>.))",
        lambda found: _unescape_one(found, has_unknown),
        text,
        flags=re.DOTALL,
    )


def _unescape_one(found: re.Match[str], has_unknown: bool) -> str:
    if found["code"]:
        return chr(int(found["code"], 16))
    one = found["one"]
    if one not in _ESCAPES or (has_unknown and one in _CONTROL):
        return found[0]  # A backslash that is not escaped, as in a path or in LaTeX.
    return _ESCAPES[one]
