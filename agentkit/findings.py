"""What the doctor says of one thing: how it stands, in one line, and what to do about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "problem"]
"""A problem keeps something from working; a warning may, or is not safe; a note is good to know."""

_SENTENCE = re.compile(r"(?<=[.)])\s+(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line for people. `next_step` is a command or a short sentence, "" where nothing is to be
    done."""

    level: Level
    part: str
    told: str
    next_step: str = ""


def ok(part: str, told: str) -> Finding:
    """What is as it should be."""
    return Finding("ok", part, told)


def broken(part: str, error: Exception, step: str = "") -> Finding:
    """A problem that an error tells; what it says behind its first sentence is the next step."""
    told, *rest = _SENTENCE.split(str(error), maxsplit=1)
    return Finding("problem", part, told, rest[0] if rest else step)


def listed(names: list[str], most: int = 3) -> str:
    """A few names of many."""
    more = len(names) - most
    shown = ", ".join(names[:most])
    return f"{shown} and {more} more" if more > 0 else shown
