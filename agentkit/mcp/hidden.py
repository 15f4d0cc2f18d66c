"""Characters that a reader does not see and a model does, made visible: `<U+200B>`.

Escaped are controls, formats (zero width, directions, tags) and private characters; line ends and
tabs stay. In results the joiners that emoji and some scripts need stay too.
"""

from __future__ import annotations

import unicodedata
from typing import Any

_HIDDEN = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")
_WHITE = "\n\t"
_FILLERS = "\u115f\u1160\u3164\uffa0\u2800"
"""Letters and symbols that are blank."""

_JOINERS = "\u200c\u200d\r\ufeff\u00ad"


def visible(text: str, *, keeps_joiners: bool = False) -> str:
    """The text with every hidden character written out."""
    if text.isascii() and text.isprintable():
        return text
    kept = _WHITE + _JOINERS if keeps_joiners else _WHITE
    return "".join(_shown(character, kept) for character in text.replace("\r\n", "\n"))


def visible_value(value: Any) -> Any:
    """A JSON value with every text in it, keys too, made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(str(key)): visible_value(each) for key, each in value.items()}
    return [visible_value(each) for each in value] if isinstance(value, list) else value


def _shown(character: str, kept: str) -> str:
    if character in kept:
        return character
    if character in _FILLERS or unicodedata.category(character) in _HIDDEN:
        return f"<U+{ord(character):04X}>"
    if "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
        # A variation selector belongs to an emoji; a row of them is a message.
        return character if character == "\ufe0f" else f"<U+{ord(character):04X}>"
    return character
