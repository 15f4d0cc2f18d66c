"""The words of an expression: Chinese and mathematical signs made plain, then cut into tokens."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from agentkit.errors import ToolError

_SIGNS = str.maketrans("×·⋅∙÷−–、【】[]?？", "****/--,()()  ")
_SPELLED = {
    "²": "^2",
    "³": "^3",
    "√": " sqrt ",
    "π": " pi ",
    "→": " to ",
    "换算成|转换成|转换为|转成|换成": " to ",
    "等于多少|是多少": " ",
    "的": " of ",
}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[°Δ]?[^\W\d]\w*)|(?P<sign>\*\*|->|//|[-+*/^%!(),=]))"
)
_PLAIN_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?")

_HOW = "Write numbers, units, brackets and + - * / ^ %"


def folded(text: str) -> str:
    """An expression with the signs of Chinese and of mathematics as plain ones."""
    for words, meaning in _SPELLED.items():
        text = re.sub(words, meaning, text)
    plain = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    return " ".join(plain.rstrip("=,。 ").split())


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression; its kind is "number", "name" or "sign"."""

    kind: str
    text: str


def tokens(text: str, functions: Collection[str]) -> Iterator[Token]:
    """The tokens of an expression. A comma groups thousands, save in a function's arguments."""
    at, last, calls = 0, "", [False]
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ToolError(f"{text[at:].strip()[:20]!r} is not understood here. {_HOW}")
        kind, piece = found.lastgroup or "", found[found.lastgroup or 0]
        end = found.end()
        if kind == "number" and "," in piece and calls[-1]:
            piece = _PLAIN_NUMBER.match(piece)[0]  # type: ignore[index]
            end = found.start("number") + len(piece)
        if piece == "(":
            calls.append(last in functions)
        elif piece == ")" and len(calls) > 1:
            calls.pop()
        yield Token(kind, piece)
        at, last = end, piece
