"""What a run did, kept for the commands that show it again: calls, reasoning, time and tokens."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from agentkit.answers import Answer
from agentkit.events import (
    Event,
    Finished,
    Nested,
    ReasoningDelta,
    TextDelta,
    ToolDenied,
    ToolFinished,
)
from agentkit.messages import ToolCall


@dataclass(frozen=True, slots=True)
class Called:
    """A call that has ended. `outcome` is "gave", "failed" or "denied"."""

    call: ToolCall
    outcome: str
    result: str
    seconds: float = 0.0
    depth: int = 0


@dataclass
class Record:
    """One run. `writing` is how many seconds the model wrote, between one piece and the next."""

    calls: list[Called] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    writing: float = 0.0
    answer: Answer | None = None
    _last: float = 0.0

    def note(self, event: Event) -> None:
        """One more thing that happened."""
        match event:
            case TextDelta(text) | ReasoningDelta(text):
                self._write(text)
                if isinstance(event, ReasoningDelta):
                    self.reasoning.append(text)
                return
            case Finished(answer):
                self.answer = answer
            case _:
                self._note_call(event, 0)
        self._last = 0.0

    @property
    def written(self) -> str:
        """All that the model wrote."""
        return "".join(self.pieces)

    def _write(self, text: str) -> None:
        now = time.perf_counter()
        if self._last:
            self.writing += now - self._last
        self._last = now
        self.pieces.append(text)

    def _note_call(self, event: Event, depth: int) -> None:
        match event:
            case ToolFinished(call, result, seconds, failed):
                outcome = "failed" if failed else "gave"
                self.calls.append(Called(call, outcome, result.prompt_text, seconds, depth))
            case ToolDenied(call, reason):
                self.calls.append(Called(call, "denied", reason, 0.0, depth))
            case Nested(_, inner):
                self._note_call(inner, depth + 1)


async def noted(events: AsyncGenerator[Event, None], record: Record) -> AsyncGenerator[Event, None]:
    """The events, each written down as it passes."""
    async with aclosing(events):
        async for event in events:
            record.note(event)
            yield event
