"""The loop: ask the model, run the tools it calls, ask again, until it answers.

It takes a model, tools and limits, never an Agent; it yields what happens and draws nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from agentkit.agent.approval import Approve, deny
from agentkit.agent.calls import Caller
from agentkit.agent.limits import Limits
from agentkit.agent.prompts import LAST_TURN
from agentkit.answers import Answer, StopReason
from agentkit.backends.base import Model, Options
from agentkit.events import Done, Event, Finished, ModelPart, ReasoningDelta, Retried, TextDelta
from agentkit.knowledge.citations import Sources
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool

OVER_THE_LIMIT = "Not run: the run's limit of tool calls is reached. Answer from what you have."


@dataclass
class Turn:
    """What one request to the model gave."""

    text: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    usage: Usage = Usage()
    done: Done | None = None

    @property
    def message(self) -> Message:
        return Message("assistant", "".join(self.text), tuple(self.calls))


class Loop:
    """One run. `transcript` grows by whole turns (an answer, or calls with all their results), so
    that it is a valid conversation whenever the run is stopped. A schema of `options` holds the
    turns that offer no tools: under a schema many servers call none."""

    def __init__(
        self,
        model: Model,
        tools: Sequence[Tool] = (),
        limits: Limits = Limits(),
        sources: Sources | None = None,
        approve: Approve = deny,
        options: Options = Options(),
    ) -> None:
        self._model = model
        self._options = options
        self._tools = tuple(tools)
        self._limits = limits
        known = Sources() if sources is None else sources
        self._caller = Caller(self._tools, known, approve, limits.parallel_calls)
        self._calls_left = limits.tool_calls
        self._usage = Usage()
        self._deadline: float | None = None
        self._ended = False
        self.transcript: list[Message] = []
        self.unfinished = Turn()

    async def run(self, messages: Sequence[Message]) -> AsyncGenerator[Event, None]:
        """Answer the messages. The last event is Finished. Raises ModelError."""
        if self._limits.seconds is not None:
            self._deadline = asyncio.get_running_loop().time() + self._limits.seconds
        prompt = list(messages)
        for number in range(1, self._limits.turns + 1):
            is_last = number == self._limits.turns or self._calls_left <= 0
            async with aclosing(self._turn([*prompt, *self.transcript], is_last)) as events:
                async for event in events:
                    yield event
            turn = self.unfinished
            if turn.done is None or not turn.calls or is_last:
                break
            async with aclosing(self._run_calls(turn)) as events:
                async for event in events:
                    yield event
            if self._is_spent():
                break
        yield Finished(self._answer(turn, is_last))

    def partial(self) -> list[Message]:
        """The text of a turn that was stopped half-way, as a message of its own."""
        text = "".join(self.unfinished.text)
        return [Message("assistant", text)] if text and not self._ended else []

    async def _turn(self, messages: list[Message], is_last: bool) -> AsyncGenerator[Event, None]:
        """One request. A last one offers no tools, and says so if tools were used before."""
        self.unfinished = turn = Turn()
        tools = () if is_last else self._tools
        if is_last and self.transcript:
            messages = [*messages, Message("user", LAST_TURN)]
        options = replace(self._options, schema=None) if tools else self._options
        answer = self._model.stream(messages, tools, options)
        async with aclosing(self._bounded(answer)) as parts:
            async for part in parts:
                self._note(turn, part)
                if isinstance(part, TextDelta | ReasoningDelta | Retried):
                    yield part

    def _note(self, turn: Turn, part: ModelPart) -> None:
        match part:
            case TextDelta(text):
                turn.text.append(text)
            case ToolCall():
                turn.calls.append(part)
            case Usage():
                turn.usage = part
                self._usage += part
            case Done():
                turn.done = part

    async def _run_calls(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Run a turn's calls, those above the limit left out, and write both down at once."""
        allowed, rest = turn.calls[: self._calls_left], turn.calls[self._calls_left :]
        self._calls_left -= len(allowed)
        results: list[Message] = []
        async with aclosing(self._caller.run(allowed, results, self._deadline)) as events:
            async for event in events:
                yield event
        results += [Message("tool", OVER_THE_LIMIT, tool_call_id=call.id) for call in rest]
        self.transcript += [turn.message, *results]
        self.unfinished = Turn()

    async def _bounded(
        self, parts: AsyncGenerator[ModelPart, None]
    ) -> AsyncGenerator[ModelPart, None]:
        """The parts of an answer, until the run's time is over."""
        try:
            async with aclosing(parts):
                while (part := await self._next(parts)) is not None:
                    yield part
        except TimeoutError:
            if not self._is_late():
                raise

    async def _next(self, parts: AsyncGenerator[ModelPart, None]) -> ModelPart | None:
        async with asyncio.timeout_at(self._deadline):
            return await anext(parts, None)

    def _is_late(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._deadline is not None and now >= self._deadline

    def _is_spent(self) -> bool:
        """Whether no further request is allowed at all."""
        tokens = self._limits.tokens
        return self._is_late() or (tokens is not None and self._usage.total_tokens >= tokens)

    def _answer(self, turn: Turn, was_last: bool) -> Answer:
        self._ended = True
        text = "".join(turn.text)
        if text:
            self.transcript.append(Message("assistant", text))
        cut = turn.done is None or bool(turn.calls) or (was_last and len(self.transcript) > 1)
        return Answer(
            text=text,
            messages=tuple(self.transcript),
            usage=self._usage,
            stop_reason=self._reason(turn, cut),
            model=turn.done.model if turn.done else self._model.name,
        )

    def _reason(self, turn: Turn, cut: bool) -> StopReason:
        if cut:
            return "limit"
        assert turn.done is not None
        reason = turn.done.stop_reason
        return "stop" if reason == "tool_calls" else reason
