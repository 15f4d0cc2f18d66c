"""Fit text to a terminal: control characters, columns, lines, sizes."""

from __future__ import annotations

import re

from rich.cells import cell_len, set_cell_size

from agentkit.text.hidden import TERMINAL_UNSAFE

SHORT = 80
"""Characters of a quote, a call or a result on one line."""
_LEAST_COLUMNS = 8
_WIDE = r"\u2e80-\u9fff\uff00-\uffef"
_OPENING, _CLOSING = r"（「《“(\[", r"，。；：、！？）」》”…)\]"
_PIECE = re.compile(
    rf"[{_OPENING}]*(?:[{_WIDE}]|[^\s{_WIDE}{_OPENING}{_CLOSING}]+)[{_CLOSING}]*"
    rf"|[{_OPENING}{_CLOSING}]+|\s+"
)
"""A word or a wide character, with the marks that belong to it; or blanks."""


def strip_controls(text: str, replacement: str = "") -> str:
    """Remove characters that control a terminal, change the direction of text or show nothing."""
    return TERMINAL_UNSAFE.sub(replacement, text)


def shorten(text: object, length: int = SHORT) -> str:
    """A text on one line of at most so many characters."""
    line = " ".join(strip_controls(str(text)).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def fit(text: str, columns: int) -> str:
    """A text on one line of so many columns, of which a wide character takes two."""
    line = " ".join(strip_controls(text).split())
    columns = max(columns, _LEAST_COLUMNS)
    return line if cell_len(line) <= columns else set_cell_size(line, columns - 1).rstrip() + "…"


def wrap(text: str, width: int) -> list[str]:
    """Break a text into lines of at most `width` columns, and eight at least, between words and
    between wide characters; no line begins with a closing mark."""
    width = max(width, _LEAST_COLUMNS)
    lines = [""]
    for match in _PIECE.finditer(text):
        piece = match[0]
        if lines[-1] and cell_len(lines[-1]) + cell_len(piece.rstrip()) > width:
            lines.append("")
        if lines[-1] or piece.strip():
            lines[-1] += piece
    return [line.rstrip() for line in lines if line.strip()]


def format_size(number: int) -> str:
    """A number of bytes for people, such as "1.2 MB"."""
    size = float(number)
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
