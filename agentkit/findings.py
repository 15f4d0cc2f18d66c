"""Results of a check: how one thing stands, in one line, and what to do about it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentkit.redaction import redact

Level = Literal["ok", "note", "warning", "problem"]
"""A problem makes something fail or answers wrong; a warning may, or is unsafe; a note informs."""

_GENERATED = ".agentkit"
_COMMAND = re.compile(r"agentkit (?:(?:kb|sessions|trace) [a-z]+|index|chat)(?: --[a-z]+)?")
_SENTENCE_END = re.compile(r"(?<=[.)])\s+(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of checking one part. `next_step` is a command or a short sentence, "" where
    nothing needs doing; `repairable` means that `agentkit kb doctor --repair` fixes it."""

    level: Level
    part: str
    message: str
    next_step: str = ""
    repairable: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", redact(self.message))


def ok(part: str, message: str) -> Finding:
    """A finding that needs no action."""
    return Finding("ok", part, message)


def from_error(part: str, error: Exception, next_step: str = "") -> Finding:
    """A problem, from an error's first sentence; the sentences after it, if any, replace
    `next_step`."""
    message, *rest = _SENTENCE_END.split(str(error), maxsplit=1)
    return Finding("problem", part, message, rest[0] if rest else next_step)


def join_names(names: Sequence[str], limit: int = 3) -> str:
    """Join names with commas, such as "a, b, c and 2 more"."""
    more = len(names) - limit
    joined = ", ".join(names[:limit])
    return f"{joined} and {more} more" if more > 0 else joined


def for_folder(command: str, folder: Path, option: str = "") -> str:
    """A command with the folder it is for, as an argument or behind an option; the current folder
    is not named."""
    if folder == Path():
        return command
    return " ".join([command, *([option] if option else []), shlex.quote(str(folder))])


def name_project(text: str, path: Path) -> str:
    """Complete the commands of a text with the project that a generated file belongs to, unless
    that is the current folder."""
    generated = next((folder for folder in path.parents if folder.name == _GENERATED), None)
    if generated is None:
        return text
    return _COMMAND.sub(lambda found: for_folder(found[0], generated.parent, "-C"), text)


def quantity(number: int, noun: str) -> str:
    """Such as "1 passage" and "2 passages"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
