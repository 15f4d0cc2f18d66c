"""A run in a terminal as it happens: Markdown, a line for each call, reasoning folded to one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import count

from rich.console import Console
from rich.text import Text

from agentkit.answers import Answer
from agentkit.cli.chat.items import LONG, CallLine, Item, Note, Thought, line_of
from agentkit.cli.chat.prose import Known, Prose
from agentkit.cli.chat.region import Region
from agentkit.cli.language import translated
from agentkit.cli.render import event_line, harmless
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
from agentkit.messages import ToolCall

_OFTEN = 1 / 40
_SHARE = 3
"""A picture that took so long to draw is not drawn again before so many times that."""
_TICK = 0.1
"""Seconds between two looks at the terminal's size."""
_SECOND_HAND = 5
"""Looks between two pictures in which times have gone on."""


class View:
    """Draws one run at a time. `pause` it while somebody else writes to the terminal."""

    def __init__(self, console: Console, *, thinks: bool = False, reflows: bool = True) -> None:
        self._console = console
        self._region = Region(console, reflows=reflows)
        self._items: list[Item] = []
        self._calls: dict[tuple[str, ...], CallLine] = {}
        self._thinks = thinks
        self._paused = False
        self._drawn = self._took = 0.0
        self._waits_since = time.monotonic()
        self._later: asyncio.TimerHandle | None = None

    async def show(self, events: AsyncGenerator[Event, None], known: Known) -> Answer | None:
        """Draw a run to its end."""
        answer = None
        self._waits_since = time.monotonic()
        ticking = asyncio.create_task(self._ticks())
        try:
            async with aclosing(events) as stream:
                async for event in stream:
                    self._take(event, known)
                    self._soon()
                    if isinstance(event, Finished):
                        answer = event.answer
        finally:
            ticking.cancel()
            self._waits_since = 0.0
            self._end_thought()
            self.draw()
            self.settle()
        return answer

    def pause(self) -> None:
        """Draw nothing from now on; what is shown stays."""
        self.draw()
        self._paused = True
        self.settle()

    def go_on(self) -> None:
        """Draw again, below what was written meanwhile."""
        self._paused = False
        self._soon()

    def settle(self) -> None:
        """What is drawn is done with."""
        self._region.settle()
        self._items = []

    def draw(self) -> None:
        """Show how things stand now."""
        if self._later:
            self._later.cancel()
            self._later = None
        if self._paused:
            return
        began = time.monotonic()
        self._region.draw(self._lines())
        self._drawn = time.monotonic()
        self._took = self._drawn - began

    def _soon(self) -> None:
        """Draw at once, or a little later where that was done a moment ago."""
        wait = self._drawn + max(_OFTEN, _SHARE * self._took) - time.monotonic()
        if wait <= 0:
            self._draw_unless_changing()
        elif self._later is None:
            later = asyncio.get_running_loop().call_later
            self._later = later(wait, self._draw_unless_changing)

    def _draw_unless_changing(self) -> None:
        self._later = None
        if not self._region.is_changing():
            self.draw()

    async def _ticks(self) -> None:
        """Times that pass are seen to pass, and a terminal of another size is drawn anew."""
        was_changing = False
        for look in count(1):
            await asyncio.sleep(_TICK)
            is_changing = self._region.is_changing()
            if look % _SECOND_HAND == 0 or (was_changing and not is_changing):
                self._soon()
            was_changing = is_changing

    def _lines(self) -> list[str]:
        found: list[str] = []
        before: Item | None = None
        for item in self._items:
            lines = item.lines()
            apart = isinstance(item, Prose) or isinstance(before, Prose)
            if found and lines and apart and found[-1]:
                found.append("")
            found += lines
            before = item
        waited = time.monotonic() - self._waits_since if self._waits_since else 0.0
        if waited >= LONG and not self._paused:
            told = translated(f"… waiting, {waited:.0f} s")
            found += line_of(self._console, Text(told, "dim"))
        return found

    def _take(self, event: Event, known: Known) -> None:
        self._waits_since = 0.0
        if not isinstance(event, ReasoningDelta):
            self._end_thought()
        match event:
            case TextDelta(text):
                self._prose(known).feed(harmless(text))
            case ReasoningDelta(text):
                self._thought().pieces.append(text)
            case Finished(answer):
                self._finish(answer)
            case _:
                self._take_call(event, ())

    def _take_call(self, event: Event, inside: tuple[str, ...]) -> None:
        match event:
            case ToolStarted(call):
                self._call(call, inside)
            case ToolProgress(call, message, fraction):
                percent = "" if fraction is None else f"{fraction:.0%} "
                self._call(call, inside).progress = percent + message
            case ToolFinished(call) | ToolDenied(call):
                self._call(call, inside).end = event
                if not inside:
                    self._waits_since = time.monotonic()
            case Nested(call, inner):
                self._take_call(inner, (*inside, call.id))
            case ApprovalRequested():
                pass
            case _ if line := event_line(event):
                self._items.append(Note(self._console, line))
                self._waits_since = time.monotonic()

    def _call(self, call: ToolCall, inside: tuple[str, ...]) -> CallLine:
        """The line of a call, a new one where there is none that can still change."""
        key = (*inside, call.id)
        line = self._calls.get(key)
        if line is None:
            line = self._calls[key] = CallLine(self._console, call, len(inside))
        if not any(item is line for item in self._items):
            self._items.append(line)
        return line

    def _prose(self, known: Known) -> Prose:
        if not self._items or not isinstance(self._items[-1], Prose):
            self._items.append(Prose(self._console, known))
        prose = self._items[-1]
        assert isinstance(prose, Prose)
        return prose

    def _thought(self) -> Thought:
        if not self._items or not isinstance(self._items[-1], Thought):
            self._items.append(Thought(self._console, self._thinks))
        thought = self._items[-1]
        assert isinstance(thought, Thought)
        return thought

    def _end_thought(self) -> None:
        thought = self._items[-1] if self._items else None
        if isinstance(thought, Thought) and thought.seconds is None:
            thought.seconds = time.monotonic() - thought.began

    def _finish(self, answer: Answer) -> None:
        """The text as it is in the end, with what nothing supports underlined."""
        prose = self._items[-1] if self._items else None
        if isinstance(prose, Prose) and answer.text:
            prose.replace([(harmless(text), is_doubtful) for text, is_doubtful in answer.runs()])
