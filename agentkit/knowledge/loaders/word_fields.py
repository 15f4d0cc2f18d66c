"""Fields of Word files: old form fields, and what an EQ field draws (ECMA-376-1, 17.16.5.15)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from agentkit.knowledge.loaders.notation import check_box, dollars, lowered, raised, ruby
from agentkit.knowledge.loaders.word_styles import WORD

_EQUATION = re.compile(r"\s*EQ\s+(.*)", re.DOTALL | re.IGNORECASE)
_SWITCH = re.compile(r"\\(\*\s*\w+|[a-z]{1,2})\s*", re.IGNORECASE)
_SHIFT = re.compile(r"\\s\s*\\(up|do)\s*\d*\s*\(", re.IGNORECASE)
_SETTING = re.compile(
    r'\\\*\s*(?:"[^"]*"|\S+)|\\(?:ad|ac|al|ar|fo|in|su|pr|li|hs|vs|co|ai|di|to|bo|le|ri)\d*'
    r"(?=[\\ (])|\\[bl]c\s*\\.|\\rc\s*\\.",
    re.IGNORECASE,
)
_ENCLOSING = "○◯〇□△"
_DEEPEST = 20


def form_field(mark: Any) -> str:
    """The value of an old form field that is a check box or a list; text is in runs of its own."""
    data = mark.find(f"{WORD}ffData")
    if data is None:
        return ""
    if (box := data.find(f"{WORD}checkBox")) is not None:
        states = [box.find(f"{WORD}{name}") for name in ("checked", "default")]
        state = next((s for s in states if s is not None), None)
        on = state is not None and state.get(f"{WORD}val", "1") not in ("0", "false")
        return check_box(on)
    if (choices := data.find(f"{WORD}ddList")) is not None:
        entries = [e.get(f"{WORD}val", "") for e in choices.findall(f"{WORD}listEntry")]
        result = choices.find(f"{WORD}result")
        value = result.get(f"{WORD}val", "") if result is not None else "0"
        at = int(value) if re.fullmatch(r"\d{1,5}", value) else 0
        return entries[at] if at < len(entries) else ""
    return ""


def equation(instruction: str) -> str:
    """What an EQ field draws, "" for other fields: `\\f(1,2)` as a fraction, `\\r(3,8)` as a root,
    `\\s\\up5(6)` as a power, and `\\o(…)` as text with its reading."""
    found = _EQUATION.fullmatch(instruction)
    return _drawn(_SETTING.sub("", found[1]).strip(), 0) if found else ""


def _drawn(text: str, depth: int) -> str:
    if depth > _DEEPEST:
        return text
    written, at = "", 0
    while at < len(text):
        shift, switch = _SHIFT.match(text, at), _SWITCH.match(text, at)
        if shift:
            parts, at = _arguments(text, shift.end() - 1)
            inside = _drawn(parts[0], depth + 1)
            written += raised(written, inside) if shift[1].lower() == "up" else lowered(inside)
        elif switch and text[switch.end() : switch.end() + 1] == "(":
            parts, at = _arguments(text, switch.end())
            name = switch[1].lower()
            if name == "o":
                written += _overstruck(parts, depth)
            else:
                drawn = [_drawn(part.strip(), depth + 1) for part in parts]
                written += _FORMS.get(name, ", ".join)(drawn)
        else:
            at = switch.end() if switch else at + 1
            written += "" if switch else text[at - 1]
    return written


def _arguments(text: str, at: int) -> tuple[list[str], int]:
    """The arguments in the parentheses at a place, and where they end."""
    parts, level = [""], 0
    for end in range(at, len(text)):
        character = text[end]
        level += (character == "(") - (character == ")")
        if level == 0:
            return parts, end + 1
        if level == 1 and character in ",;":
            parts.append("")
        elif end > at:
            parts[-1] += character
    return parts, len(text)


def _overstruck(parts: list[str], depth: int) -> str:
    """Texts drawn over each other: a reading above its characters, or a circle around one."""
    reading = next((part for part in parts if _SHIFT.match(part.strip())), None)
    rest = [_drawn(p.strip(), depth + 1) for p in parts if p is not reading]
    if reading is None:
        return "".join(part for part in rest if part not in _ENCLOSING)
    above, _ = _arguments(reading, reading.index("("))
    return ruby("".join(rest), _drawn(above[0], depth + 1))


def _quotient(parts: list[str]) -> str:
    over, under = (part.strip("$") for part in [*parts, ""][:2])
    return dollars(f"\\frac{{{over}}}{{{under}}}")


def _integral(parts: list[str]) -> str:
    low, high, inside = (part.strip("$") for part in [*parts, "", ""][:3])
    return dollars(f"∫_{{{low}}}^{{{high}}} {inside}")


def _root(parts: list[str]) -> str:
    degree = f"[{parts[0]}]" if len(parts) > 1 and parts[0] else ""
    return dollars(f"\\sqrt{degree}{{{parts[-1].strip('$')}}}")


_FORMS: Mapping[str, Callable[[list[str]], str]] = {
    "f": _quotient,
    "r": _root,
    "b": lambda p: f"({', '.join(p)})",
    "i": _integral,
    "x": "".join,
}
"""How each switch with arguments is written; any other one is a list."""
