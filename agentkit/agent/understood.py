"""What a model wrote, understood: calls written as text, where its server does not read them, and
thinking between tags.

Calls that the server gave as such come first: then those in the text are the same, leaked.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing
from dataclasses import replace

from agentkit.backends.textcalls import TextCalls
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import ToolCall, Usage


async def understood(
    parts: AsyncGenerator[ModelPart, None], names: Collection[str]
) -> AsyncGenerator[ModelPart, None]:
    """The parts of an answer, with the calls of these tools that stand in its text."""
    reading = _Reading(names)
    async with aclosing(parts):
        try:
            async for part in parts:
                for found in reading.feed(part):
                    yield found
        except ModelError:
            for found in reading.rest():
                yield found
            raise
    for found in reading.rest():
        yield found


class _Reading:
    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._parser: TextCalls | None = None
        self._written: list[ToolCall] = []
        self._is_native = False

    def feed(self, part: ModelPart) -> Sequence[ModelPart]:
        match part:
            case TextDelta(text):
                self._parser = self._parser or TextCalls(self._names)
                return self._apart(self._parser.feed(text))
            case ToolCall():
                self._is_native = True
                return [*self.rest(), part]
            case Usage():
                return [*self.rest(), part]
            case Done(reason):
                calls = [] if self._is_native else self._written
                end = replace(part, stop_reason="tool_calls") if calls else part
                return [*self.rest(), *calls, end if reason == "stop" else part]
        return [part]

    def rest(self) -> list[ModelPart]:
        """The text that was held back."""
        parser, self._parser = self._parser, None
        return self._apart(parser.end()) if parser else []

    def _apart(self, parts: Sequence[ModelPart]) -> list[ModelPart]:
        self._written += [part for part in parts if isinstance(part, ToolCall)]
        return [part for part in parts if not isinstance(part, ToolCall)]
