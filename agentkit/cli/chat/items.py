"""The parts of a run on the screen: what the model thinks, a line for each call, a note."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import Protocol

from rich.console import Console
from rich.text import Text

from agentkit.agent.tool_runner import NOT_ALLOWED
from agentkit.cli.chat.region import lines_of
from agentkit.cli.language import labelled, translated
from agentkit.cli.render import call_failure, call_result, harmless, shown_call
from agentkit.events import ToolDenied, ToolFinished
from agentkit.messages import ToolCall

LONG = 1.0
"""Seconds of waiting from which on they are counted."""
_WORD = re.compile(r"[\u2e80-\uffdc]|[^\s\u2e80-\uffdc]+")
"""A word, or a character of a script that has no blanks between words."""


class Item(Protocol):
    """A part of a run that can be drawn at any time."""

    def lines(self) -> list[str]: ...


@dataclass
class Thought:
    """What the model thinks: one line, or all of it."""

    console: Console
    is_open: bool
    began: float = field(default_factory=time.monotonic)
    pieces: list[str] = field(default_factory=list)
    seconds: float | None = None

    def lines(self) -> list[str]:
        said = "".join(self.pieces)
        if self.is_open:
            return [*lines_of(self.console, Text(harmless(said.strip()), "dim")), ""]
        words = len(_WORD.findall(said))
        if self.seconds is None:
            line = f"… thinking, {words} words"
        else:
            line = f"✓ thought for {self.seconds:.1f} s, {words} words: /think shows them"
        return [*line_of(self.console, Text(translated(line), "dim"))]


@dataclass
class CallLine:
    """A call on one line: what is called, then for how long, then what it gave."""

    console: Console
    call: ToolCall
    depth: int = 0
    began: float = field(default_factory=time.monotonic)
    progress: str = ""
    end: ToolFinished | ToolDenied | None = None

    def lines(self) -> list[str]:
        width = self.console.width * 3 // 5 - len(self.call.name) - 2 * self.depth - 4
        call = shown_call(self.call, width)
        text = Text("  " * self.depth)
        match self.end:
            case ToolDenied(_, reason):
                text.append("✗ ", "yellow").append(f"{call} {_refusal(reason)}", "dim")
            case ToolFinished(_, result, seconds, failed=True):
                text.append("✗ ", "red").append(f"{call} {seconds:.1f} s: ", "dim")
                text.append(call_failure(self.call, result), "red")
            case ToolFinished(_, result, seconds):
                text.append("✓ ", "green").append(f"{call} {seconds:.1f} s: ", "dim")
                text.append(call_result(result), "dim")
            case _:
                text.append(f"→ {call} {self._so_far()}", "dim")
        return line_of(self.console, text)

    def _so_far(self) -> str:
        passed = time.monotonic() - self.began
        return " ".join([*([f"{passed:.0f} s"] if passed >= LONG else []), harmless(self.progress)])


def _refusal(reason: str) -> str:
    """That a call was not allowed, and what the user said of it."""
    said = harmless(reason).removeprefix(NOT_ALLOWED).strip().removeprefix("They said: ")
    return labelled("not allowed:", said) if said else translated("not allowed")


@dataclass(frozen=True)
class Note:
    """A line that says what happened."""

    console: Console
    text: str

    def lines(self) -> list[str]:
        return line_of(self.console, Text(self.text, "dim"))


def line_of(console: Console, text: Text) -> list[str]:
    """A text on one row, cut where it is too long."""
    shown = Text(" ").join(text.split("\n")) if "\n" in text.plain else text
    shown.truncate(console.width, overflow="ellipsis")
    shown.no_wrap = True
    return lines_of(console, shown)
