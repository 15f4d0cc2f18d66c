"""Find, escape and remove characters that a person does not see, or that drive a terminal.

A model reads a text that zero-width characters, tags (U+E0000) or variation selectors encode; a
terminal obeys control characters; direction marks and line separators disguise a text as another.
"""

from __future__ import annotations

import re
import unicodedata

WHITE_SPACE = "\n\t"
JOINERS = "\u200c\u200d"
"""Emoji and some scripts need these."""
BLANKS = "\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0\u2800"
"""Letters, marks and symbols that look like nothing."""

_CATEGORIES = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u20d0-\u20ff"
    "\ufe00-\ufe0f\ufe20-\ufe2f"
)
_MOST_MARKS = 6
"""Marks in a row that a letter or an emoji has at most; more of them cover other lines."""
_SUSPECT = re.compile(
    "[^ -~\u00a1-\u00ac\u00ae-\u02ff\u3001-\u3130\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff60]"
)
"""Characters outside the blocks that are seen: ASCII, Latin, kana, Chinese, Hangul, full width."""
TERMINAL_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b"
    "\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
    f"|(?<=[{_MARKS}]{{{_MOST_MARKS}}})[{_MARKS}]"
)
"""A character that no screen needs: controls, directions, line separators, invisible characters and
marks in floods. Line feeds, tabs, joiners and single marks are not among them."""


def is_hidden(character: str) -> bool:
    """Whether a person cannot see this character where it stands."""
    # A variation selector belongs to an emoji; a sequence of others can encode a hidden message.
    is_selector = "\ufe00" <= character < "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    return is_selector or character in BLANKS or unicodedata.category(character) in _CATEGORIES


def visible(text: str, kept: str = WHITE_SPACE) -> str:
    """Escape hidden characters as `<U+200B>`, other than those `kept`."""

    def escape(found: re.Match[str]) -> str:
        c = found[0]
        return c if c in kept or not is_hidden(c) else f"<U+{ord(c):04X}>"

    return _SUSPECT.sub(escape, text.replace("\r\n", "\n"))


def escape_json(json: str) -> str:
    """JSON whose strings have such characters as escapes, so that no terminal obeys them."""
    return TERMINAL_UNSAFE.sub(_escape, json)


def escape_hidden(json: str) -> str:
    """JSON with an escape for every hidden character but line feeds, for a person who decides."""
    escaped = escape_json(json)
    return "".join(_escape(c) if c != "\n" and is_hidden(c) else c for c in escaped)


def _escape(found: re.Match[str] | str) -> str:
    units = (found if isinstance(found, str) else found[0]).encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
