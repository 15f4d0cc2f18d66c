"""Text in lines of so many columns: broken between words, and between wide characters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rich.cells import cell_len

_WIDE = r"\u2e80-\u9fff\uff00-\uffef"
_OPENING, _CLOSING = r"（「《“(\[", r"，。；：、！？）」》”…)\]"
_PIECE = re.compile(
    rf"[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENING}{_CLOSING}]+)[{_CLOSING}]*"
    rf"|[{_OPENING}{_CLOSING}]+|\s+"
)


def wrap(text: str, width: int) -> list[str]:
    """The lines of a text, none wider than `width` columns where it can be broken; a line begins
    with no closing mark."""
    lines = [""]
    for piece in _pieces(text):
        if lines[-1] and cell_len(lines[-1]) + cell_len(piece.rstrip()) > width:
            lines.append("")
        if lines[-1] or piece.strip():
            lines[-1] += piece
    return [line.rstrip() for line in lines if line.strip()]


def _pieces(text: str) -> Iterator[str]:
    """Words and single wide characters, with the marks that close them."""
    return (match[0] for match in _PIECE.finditer(text))
