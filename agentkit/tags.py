"""Keep text from outside from ending or opening a tag that stands around it in a prompt.

A model may read `</PASSAGE >`, a tag in full-width or mathematical letters, one with invisible
characters or letters of other scripts that look the same, and `&lt;/passage&gt;` as that tag too.
"""

from __future__ import annotations

import re
import unicodedata

from agentkit.text.hidden import BLANKS

_OPENING = re.compile(
    "[<\uff1c\ufe64\u2039\u3008\u27e8\u276e\u276c\u27ea\u300a\u1438\u02c2]|&(?:lt|#0*60|#x0*3c);?",
    re.IGNORECASE,
)
_SLASH_ENTITY = re.compile(r"&(?:sol|#0*47|#x0*2f);?", re.IGNORECASE)
_LOOKALIKES = {
    "/": "\u2044\u2215\u29f8\u2571\u27cb",
    "a": "\u0430\u0251\u03b1\u1d00",
    "e": "\u0435\u0454\u1d07",
    "g": "\u0261\u0581\u0262",
    "l": "\u04cf\u029f",
    "n": "\u0578\u0274",
    "o": "\u043e\u03bf\u1d0f",
    "p": "\u0440\u03c1\u1d18",
    "r": "\u0433\u0280",
    "s": "\u0455\ua731",
    "t": "\u0442\u1d1b",
}
_TO_LATIN = {ord(each): letter for letter, group in _LOOKALIKES.items() for each in group}
_REACH = 48
"""Characters after the opening that are looked at, invisible ones included."""


def neutralize_tags(text: str, *names: str) -> str:
    r"""Return the text with a backslash in each tag of these names, `<\/passage`; all other text
    stays as it is. Closing tags count with spaces too, opening ones only without."""

    def escape(match: re.Match[str]) -> str:
        after = _fold(text[match.end() : match.end() + _REACH])
        closing = re.match(r"\s*/[\s/]*", after)
        name = re.sub(r"\s", "", after[closing.end() :]) if closing else after
        is_tag = any(
            name.startswith(each) and (closing or not name[len(each) : len(each) + 1].isalnum())
            for each in names
        )
        return f"{match.group()}\\" if is_tag else match.group()

    return _OPENING.sub(escape, text)


def _fold(text: str) -> str:
    """Text in plain lower-case letters, without marks and invisible characters."""
    folded = unicodedata.normalize("NFKD", _SLASH_ENTITY.sub("/", text)).casefold()
    return "".join(each for each in folded if _is_visible(each)).translate(_TO_LATIN)


def _is_visible(character: str) -> bool:
    if character in "\n\t":
        return True
    is_mark = unicodedata.category(character) in ("Cf", "Cc", "Mn", "Me")
    return not is_mark and character not in BLANKS
