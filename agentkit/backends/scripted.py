"""A model that plays a script of answers, for tests and demonstrations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

from agentkit.backends.base import Options
from agentkit.backends.text_tool_calls import ParsedModel
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool

Turn = str | ToolCall | Exception | Sequence[ModelPart]
"""One answer: a text, a call, an error to raise, or the parts themselves."""

Script = Iterable[Turn] | Callable[[Sequence[Message]], Turn]


class ScriptedModel(ParsedModel):
    """Plays a list of turns one after another, or calls a function of the messages for each.

    `requests` keeps the messages of every request, and `tools_offered` the names of its tools.
    """

    def __init__(self, script: Script, name: str = "scripted") -> None:
        super().__init__(name)
        ended = self.error(f"The script of {name} has ended: add another turn.")
        turns = iter(()) if callable(script) else iter(script)
        self._answer = script if callable(script) else lambda _: next(turns, ended)
        self.requests: list[tuple[Message, ...]] = []
        self.tools_offered: list[tuple[str, ...]] = []

    async def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        self.requests.append(tuple(messages))
        self.tools_offered.append(tuple(tool.name for tool in tools))
        turn = self._answer(messages)
        if isinstance(turn, Exception):
            raise turn
        for part in self._parts(turn, messages):
            yield part

    def _parts(self, turn: Turn, messages: Sequence[Message]) -> Iterable[ModelPart]:
        if isinstance(turn, str):
            pieces = [turn[at : at + 8] for at in range(0, len(turn), 8)]
            parts: list[ModelPart] = [TextDelta(piece) for piece in pieces]
        else:
            assert not isinstance(turn, Exception)
            parts = [turn] if isinstance(turn, ToolCall) else list(turn)
        if not any(isinstance(part, Usage) for part in parts):
            read = sum(self.count_tokens(message.prompt_text) for message in messages)
            written = sum(self.count_tokens(p.text) for p in parts if isinstance(p, TextDelta))
            parts.append(Usage(read, written, estimated=True))
        if not any(isinstance(part, Done) for part in parts):
            called = any(isinstance(part, ToolCall) for part in parts)
            parts.append(Done("tool_calls" if called else "stop", self._name))
        return parts
