"""A run line by line, for pipes and for those who listen to the screen: nothing is painted twice.

Text comes a sentence or a row at a time, for a reader of screens speaks what it is given.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

from rich.console import Console
from rich.text import Text

from agentkit.answers import Answer
from agentkit.cli.language import labelled
from agentkit.cli.render import call_result, event_line, harmless, shown_call
from agentkit.events import Event, Finished, ReasoningDelta, TextDelta, ToolFinished, ToolStarted

_WHOLE = re.compile(r".*(?:\n|[.!?…]\s|[。！？])", re.DOTALL)


class Linear:
    """Prints one run at a time. There is nothing to `pause`."""

    def __init__(self, out: Console, log: Console, *, thinks: bool = False) -> None:
        self._out = out
        self._log = log
        self._thinks = thinks
        self._rest = ""
        self._is_thought = False
        self._is_open = False
        """Whether a line has been begun and not ended."""

    async def show(self, events: AsyncGenerator[Event, None]) -> Answer | None:
        """Print a run to its end; what was begun is printed however it ends."""
        try:
            async with aclosing(events) as stream:
                async for event in stream:
                    self._take(event)
                    if isinstance(event, Finished):
                        return event.answer
        finally:
            self._end()
        return None

    def pause(self) -> None:
        """Somebody else writes."""
        self._end()

    def go_on(self) -> None:
        """Nobody else writes any more."""

    def _take(self, event: Event) -> None:
        match event:
            case TextDelta(text):
                self._write(text, is_thought=False)
            case ReasoningDelta(text):
                if self._thinks:
                    self._write(text, is_thought=True)
            case ToolStarted(call):
                self._tell(labelled("calling", shown_call(call)))
            case ToolFinished(call, result, seconds, failed=False):
                gave = f"  {call.name} gave after {seconds:.1f} s:"
                self._tell(labelled(gave, call_result(result)))
            case _:
                self._tell(event_line(event))

    def _write(self, text: str, *, is_thought: bool) -> None:
        if is_thought != self._is_thought:
            self._end()
            self._is_thought = is_thought
        self._rest += harmless(text)
        if whole := _WHOLE.match(self._rest):
            self._put(whole.group())
            self._rest = self._rest[whole.end() :]

    def _tell(self, line: str) -> None:
        if line:
            self._end()
            self._log.print(Text(line, "dim"))

    def _end(self) -> None:
        if self._rest.strip():
            self._put(f"{self._rest.rstrip()}\n")
        elif self._is_open:
            self._put("\n")
        self._rest = ""

    def _put(self, text: str) -> None:
        console = self._log if self._is_thought else self._out
        console.print(Text(text, "dim" if self._is_thought else ""), end="", soft_wrap=True)
        console.file.flush()
        self._is_open = not text.endswith("\n")
