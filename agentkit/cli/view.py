"""Draw a run in place in a terminal: Markdown, a line for each call, folded reasoning."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from rich.console import Console
from rich.text import Text

from agentkit.agent.tool_runner import NOT_ALLOWED
from agentkit.answers import Answer
from agentkit.cli.i18n import _
from agentkit.cli.markdown import MarkdownStream
from agentkit.cli.region import Region, render_lines
from agentkit.cli.render import format_call, format_event, format_failure, format_result
from agentkit.cli.text import strip_controls
from agentkit.events import (
    ApprovalRequested,
    Event,
    Finished,
    Nested,
    ReasoningDelta,
    TextDelta,
    ToolDenied,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.knowledge.citations.passages import Sources
from agentkit.messages import ToolCall

_SHORT_WAIT = 1.0
"""Seconds of waiting from which on they are shown."""
_LEAST_INTERVAL = 1 / 40
_MOST_SHARE = 3
"""A frame that took so long to draw is not drawn again before so many times that."""
_TICK = 0.1
"""Seconds between two looks at the terminal's size."""
_TICKS_PER_CLOCK = 5
"""Ticks between two frames in which times have advanced."""
_WORD = re.compile(r"[\u2e80-\uffdc]|[^\s\u2e80-\uffdc]+")
"""A word, or a character of a script without blanks between words."""


class Item(Protocol):
    """A part of a run that can be drawn at any time."""

    def lines(self) -> list[str]: ...


@dataclass
class Reasoning:
    """What the model thinks: folded to one line, or all of it."""

    console: Console
    is_open: bool
    started: float = field(default_factory=time.monotonic)
    deltas: list[str] = field(default_factory=list)
    seconds: float | None = None

    def lines(self) -> list[str]:
        text = "".join(self.deltas)
        if self.is_open:
            return [*render_lines(self.console, Text(text.strip(), "dim")), ""]
        words = len(_WORD.findall(text))
        if self.seconds is None:
            line = _("… thinking, {words} words").format(words=words)
        else:
            line = _("✓ thought for {seconds:.1f} s, {words} words: /think shows them")
            line = line.format(seconds=self.seconds, words=words)
        return _render_row(self.console, Text(line, "dim"))


@dataclass
class CallLine:
    """A call on one line: what is called, then for how long, then what it returned."""

    console: Console
    call: ToolCall
    depth: int = 0
    started: float = field(default_factory=time.monotonic)
    progress: str = ""
    end: ToolFinished | ToolDenied | None = None

    def lines(self) -> list[str]:
        width = self.console.width * 3 // 5 - len(self.call.name) - 2 * self.depth - 4
        call = format_call(self.call, width)
        text = Text("  " * self.depth)
        match self.end:
            case ToolDenied(_call, reason):
                text.append("✗ ", "yellow").append(f"{call} {_format_denial(reason)}", "dim")
            case ToolFinished(_call, result, seconds, failed=True):
                text.append("✗ ", "red").append(f"{call} {seconds:.1f} s: ", "dim")
                text.append(format_failure(self.call, result), "red")
            case ToolFinished(_call, result, seconds):
                text.append("✓ ", "green").append(f"{call} {seconds:.1f} s: ", "dim")
                text.append(format_result(result), "dim")
            case _running:
                passed = time.monotonic() - self.started
                state = [f"{passed:.0f} s"] if passed >= _SHORT_WAIT else []
                text.append(f"→ {' '.join([call, *state, self.progress])}", "dim")
        return _render_row(self.console, text)


@dataclass(frozen=True)
class Note:
    """A line about an event."""

    console: Console
    text: str

    def lines(self) -> list[str]:
        return _render_row(self.console, Text(self.text, "dim"))


class View:
    """Draws one run at a time in place: Markdown, a line for each call, folded reasoning. `pause`
    it while something else writes to the terminal."""

    def __init__(
        self, console: Console, *, shows_reasoning: bool = False, reflows: bool = True
    ) -> None:
        self._console = console
        self._region = Region(console, reflows=reflows)
        self._items: list[Item] = []
        self._calls: dict[tuple[str, ...], CallLine] = {}
        self._shows_reasoning = shows_reasoning
        self._sources: Sources | None = None
        self._is_paused = False
        self._last_frame = self._frame_seconds = 0.0
        self._waiting_since = time.monotonic()
        self._next_frame: asyncio.TimerHandle | None = None

    async def show(
        self, events: AsyncGenerator[Event, None], sources: Sources | None = None
    ) -> Answer | None:
        """Draw a run to its end. Numbers of passages in `sources` are highlighted."""
        answer = None
        self._sources = sources
        self._waiting_since = time.monotonic()
        ticking = asyncio.create_task(self._tick())
        try:
            async with aclosing(events) as stream:
                async for event in stream:
                    self._add(event)
                    self._draw_soon()
                    if isinstance(event, Finished):
                        answer = event.answer
        finally:
            ticking.cancel()
            self._waiting_since = 0.0
            self._end_reasoning()
            self.draw()
            self.settle()
        return answer

    def pause(self) -> None:
        """Draw nothing from now on; what is drawn stays."""
        self.draw()
        self._is_paused = True
        self.settle()

    def resume(self) -> None:
        """Draw again, below what was written meanwhile."""
        self._is_paused = False
        self._draw_soon()

    def settle(self) -> None:
        """Keep what is drawn; the next items come below."""
        self._region.settle()
        self._items = []

    def draw(self) -> None:
        """Draw a frame now."""
        if self._next_frame:
            self._next_frame.cancel()
            self._next_frame = None
        if self._is_paused:
            return
        started = time.monotonic()
        self._region.draw(self._lines())
        self._last_frame = time.monotonic()
        self._frame_seconds = self._last_frame - started

    def _draw_soon(self) -> None:
        """Draw now, or a little later where the last frame was a moment ago."""
        interval = max(_LEAST_INTERVAL, _MOST_SHARE * self._frame_seconds)
        wait = self._last_frame + interval - time.monotonic()
        if wait <= 0:
            self._draw_unless_resizing()
        elif self._next_frame is None:
            call_later = asyncio.get_running_loop().call_later
            self._next_frame = call_later(wait, self._draw_unless_resizing)

    def _draw_unless_resizing(self) -> None:
        self._next_frame = None
        if not self._region.is_changing():
            self.draw()

    async def _tick(self) -> None:
        """Advance the times shown, and redraw after the terminal was resized."""
        was_changing = False
        for tick in count(1):
            await asyncio.sleep(_TICK)
            is_changing = self._region.is_changing()
            if tick % _TICKS_PER_CLOCK == 0 or (was_changing and not is_changing):
                self._draw_soon()
            was_changing = is_changing

    def _lines(self) -> list[str]:
        found: list[str] = []
        before: Item | None = None
        for item in self._items:
            lines = item.lines()
            is_apart = isinstance(item, MarkdownStream) or isinstance(before, MarkdownStream)
            if found and lines and is_apart and found[-1]:
                found.append("")
            found += lines
            before = item
        waited = time.monotonic() - self._waiting_since if self._waiting_since else 0.0
        if waited >= _SHORT_WAIT and not self._is_paused:
            line = _("… waiting, {seconds:.0f} s").format(seconds=waited)
            found += _render_row(self._console, Text(line, "dim"))
        return found

    def _add(self, event: Event) -> None:
        self._waiting_since = 0.0
        if not isinstance(event, ReasoningDelta):
            self._end_reasoning()
        match event:
            case TextDelta(text):
                self._markdown().feed(strip_controls(text))
            case ReasoningDelta(text):
                self._reasoning().deltas.append(text)
            case Finished(answer):
                self._finish(answer)
            case _other:
                self._add_call_event(event, ())

    def _add_call_event(self, event: Event, parents: tuple[str, ...]) -> None:
        match event:
            case ToolStarted(call):
                self._call_line(call, parents)
            case ToolProgress(call, message, fraction):
                percent = "" if fraction is None else f"{fraction:.0%} "
                self._call_line(call, parents).progress = percent + message
            case ToolFinished(call) | ToolDenied(call):
                self._call_line(call, parents).end = event
                if not parents:
                    self._waiting_since = time.monotonic()
            case Nested(call, inner):
                self._add_call_event(inner, (*parents, call.id))
            case ApprovalRequested():
                pass
            case _other if line := format_event(event):
                self._items.append(Note(self._console, line))
                self._waiting_since = time.monotonic()

    def _call_line(self, call: ToolCall, parents: tuple[str, ...]) -> CallLine:
        """The line of a call, a new one where the old one is settled."""
        key = (*parents, call.id)
        line = self._calls.get(key)
        if line is None:
            line = self._calls[key] = CallLine(self._console, call, len(parents))
        if not any(item is line for item in self._items):
            self._items.append(line)
        return line

    def _markdown(self) -> MarkdownStream:
        last = self._items[-1] if self._items else None
        if not isinstance(last, MarkdownStream):
            last = MarkdownStream(self._console, self._sources)
            self._items.append(last)
        return last

    def _reasoning(self) -> Reasoning:
        last = self._items[-1] if self._items else None
        if not isinstance(last, Reasoning):
            last = Reasoning(self._console, self._shows_reasoning)
            self._items.append(last)
        return last

    def _end_reasoning(self) -> None:
        last = self._items[-1] if self._items else None
        if isinstance(last, Reasoning) and last.seconds is None:
            last.seconds = time.monotonic() - last.started

    def _finish(self, answer: Answer) -> None:
        """Replace the streamed text by the final one, with unsupported text underlined."""
        last = self._items[-1] if self._items else None
        if isinstance(last, MarkdownStream) and answer.text:
            last.replace([(strip_controls(text), is_bad) for text, is_bad in answer.runs()])


def _format_denial(reason: str) -> str:
    """That a call was not allowed, and the user's reason."""
    reason = reason.removeprefix(NOT_ALLOWED).strip().removeprefix("Reason: ")
    if reason:
        return _("not allowed: {reason}").format(reason=reason)
    return _("not allowed")


def _render_row(console: Console, text: Text) -> list[str]:
    """A text on one row, cut where it is too long."""
    row = Text(" ").join(text.split("\n")) if "\n" in text.plain else text
    row.truncate(console.width, overflow="ellipsis")
    row.no_wrap = True
    return render_lines(console, row)
