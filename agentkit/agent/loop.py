"""The loop: ask the model, run the tools it calls, ask again, until it answers.

It takes a model, tools and limits, never an Agent; it yields what happens and draws nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from agentkit.agent.approval import Verdict
from agentkit.agent.compaction import Prompt, Window, cut_to
from agentkit.agent.explain import Exchange, explained
from agentkit.agent.hooks import Hooks
from agentkit.agent.limits import Limits
from agentkit.agent.prompts import LAST_TURN
from agentkit.agent.tool_runner import INTERRUPTED, Caller, Outcome
from agentkit.agent.turn import TOLD, Repeats, Turn
from agentkit.answers import Answer, StopReason
from agentkit.backends.base import Model, Options
from agentkit.errors import ModelError
from agentkit.events import (
    Compacted,
    Done,
    Event,
    Finished,
    ModelPart,
    ReasoningDelta,
    Retried,
    TextDelta,
    ToolFinished,
)
from agentkit.messages import Message, ToolCall, Usage

OVER_THE_LIMIT = "Not run: the run's limit of tool calls is reached. Answer from what you have."
CUT_OFF = (
    "Error: not run, for the call was cut off where the limit of output tokens was reached. "
    "Call again with shorter arguments."
)


@dataclass(frozen=True, slots=True)
class Pending:
    """A turn of which some calls wait for the user's word: None stands for their results."""

    message: Message
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class _Asked:
    """The last request: the first `count` of the messages, which grow."""

    messages: Sequence[Message] = ()
    count: int = 0
    tools: Sequence[str] = ()
    options: Options = Options()


class Loop:
    """One run. `transcript` grows by whole turns (an answer, or calls with all their results), so
    that it is a valid conversation whenever the run is stopped. A schema of `options` holds the
    turns that offer no tools: under a schema many servers call none."""

    def __init__(
        self,
        model: Model,
        caller: Caller,
        limits: Limits = Limits(),
        options: Options = Options(),
        hooks: Hooks = Hooks(),
    ) -> None:
        self._model = model
        self._caller = caller
        self._limits = limits
        self._options = options
        self._calling = replace(options, schema=None)
        self._hooks = hooks
        self._bill = caller.bill
        self._window = Window(model, options, self._bill)
        self._repeats = Repeats()
        self._calls_left = limits.tool_calls
        self._deadline: float | None = None
        self._prompt = Prompt((), model.count_tokens)
        self._asked = _Asked()
        self._ended = False
        self.transcript: list[Message] = []
        self.unfinished = Turn()
        self.pending: Pending | None = None

    @property
    def view(self) -> list[Message]:
        """The conversation as the model last saw it, which a compaction has made shorter."""
        return self._prompt.messages

    def start(self) -> float | None:
        """The run's time begins to count. Gives its end, on the event loop's clock."""
        if self._limits.seconds is not None and self._deadline is None:
            self._deadline = asyncio.get_running_loop().time() + self._limits.seconds
        return self._deadline

    async def run(
        self,
        messages: Sequence[Message],
        opening: Sequence[ToolCall] = (),
        resumed: tuple[Pending, Mapping[str, Verdict]] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Answer the messages. `opening` calls are run before the model is asked, as if it had
        made them; `resumed` is a turn that waited, with the user's word on its calls. The last
        event is Finished. Raises ModelError."""
        self.start()
        self._prompt = self._window.prompt(messages, self._caller.tools)
        if resumed:
            async with aclosing(self._resume(*resumed)) as events:
                async for event in events:
                    yield event
        elif opening:
            self.unfinished = Turn(calls=list(opening), done=Done("tool_calls", ""))
            async with aclosing(self._run_calls(self.unfinished)) as events:
                async for event in events:
                    yield event
        async with aclosing(self._turns()) as events:
            async for event in events:
                yield event

    @property
    def report(self) -> str:
        """Why the last answer cannot be used, for people; "" where it can."""
        exchange = self._exchange()
        return "" if self.pending or exchange.is_usable else explained(exchange)

    def _exchange(self) -> Exchange:
        asked = self._asked
        return replace(
            self.unfinished.exchange(self._model.name),
            messages=tuple(asked.messages[: asked.count]),
            tools=asked.tools,
            options=asked.options,
            window=self._window.size,
        )

    def partial(self) -> list[Message]:
        """The text of a turn that was stopped half-way, as a message of its own."""
        text = self.unfinished.message.text
        return [Message("assistant", text)] if text and not self._ended else []

    async def _turns(self) -> AsyncGenerator[Event, None]:
        turn, is_last = self.unfinished, False
        for number in range(1, self._limits.turns + 1):
            if self.pending or self._is_spent():
                break
            is_last = (
                number == self._limits.turns or self._calls_left <= 0 or self._repeats.is_stuck
            )
            async with aclosing(self._turn(is_last)) as events:
                async for event in events:
                    yield event
            turn = self.unfinished
            if turn.done is None or not turn.calls or is_last:
                break
            async with aclosing(self._run_calls(turn)) as events:
                async for event in events:
                    yield event
        yield Finished(self._answer(turn, is_last))

    async def _turn(self, is_last: bool) -> AsyncGenerator[Event, None]:
        """One request. A last one offers no tools, and says so if tools were used before. A
        prompt that the server calls too long is compacted and sent again, once."""
        self.unfinished = Turn()
        try:
            if compacted := await self._in_time(self._window.fit(self._prompt)):
                yield compacted
            if self._is_late():
                return
            async with aclosing(self._request(is_last)) as events:
                async for event in events:
                    yield event
            return
        except ModelError as error:
            if error.kind != "too_long" or self.unfinished.text:
                raise
        self.unfinished = Turn()
        if compacted := await self._in_time(self._window.too_long(self._prompt)):
            yield compacted
            async with aclosing(self._request(is_last)) as events:
                async for event in events:
                    yield event

    async def _in_time(self, work: Awaitable[Compacted | None]) -> Compacted | None:
        """What a compaction did; nothing where the run's time ended first."""
        if self._deadline is None:
            return await work
        try:
            async with asyncio.timeout_at(self._deadline):
                return await work
        except TimeoutError:
            if not self._is_late():
                raise
        return None

    async def _request(self, is_last: bool) -> AsyncGenerator[Event, None]:
        turn = self.unfinished
        tools = () if is_last else self._caller.tools
        options = self._calling if tools else self._options
        messages = self._prompt.messages
        if is_last and self.transcript:  # Of this request alone: no question, and not to be kept.
            messages = [*messages, Message("user", LAST_TURN)]
        if self._hooks.before_model:
            await self._hooks.before_model(messages)
        names = [tool.name for tool in tools]
        answer = self._model.stream(messages, tools, options)
        if self._deadline is not None:
            answer = self._bounded(answer)
        self._asked = _Asked(messages, len(messages), names, options)
        try:
            async with aclosing(answer) as parts:
                async for part in parts:
                    self._note(turn, part)
                    if isinstance(part, TextDelta | ReasoningDelta | Retried):
                        yield part
        except ModelError as error:
            error.report = explained(self._exchange(), error)
            raise
        self._prompt.learn(turn.usage)
        if self._hooks.after_model:
            await self._hooks.after_model(turn.message)

    def _note(self, turn: Turn, part: ModelPart) -> None:
        match part:
            case TextDelta(text):
                turn.text.append(text)
            case ReasoningDelta(text):
                turn.reasoning.append(text)
            case ToolCall():
                turn.call(part)
            case Usage():
                turn.usage = part
            case Done():
                turn.done = part
                self._bill.charge(turn.usage, self._model.name, part.model)

    async def _run_calls(self, turn: Turn) -> AsyncGenerator[Event, None]:
        """Run a turn's calls, one that was cut off and those above the limit left out."""
        whole = turn.calls[:-1] if turn.is_cut else turn.calls
        allowed = [self._caller.meant(call) for call in whole[: self._calls_left]]
        refused = dict.fromkeys(range(len(allowed), len(whole)), OVER_THE_LIMIT)
        refused |= dict.fromkeys(range(len(whole), len(turn.calls)), CUT_OFF)
        turn.calls[: len(allowed)] = allowed
        self._calls_left -= len(allowed)
        outcomes: list[Outcome] = []
        room = await self._window.free(self._prompt)
        events = self._caller.run(allowed, outcomes, deadline=self._deadline, room=room)
        is_whole = False
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
            for at, why in refused.items():
                yield ToolFinished(turn.calls[at], why, 0.0, failed=True)
            is_whole = True
        finally:
            for at, why in refused.items():
                outcomes.append(Message("tool", why, tool_call_id=turn.calls[at].id))
            self._write_down(turn.message, outcomes, room, is_whole)

    async def _resume(
        self, pending: Pending, verdicts: Mapping[str, Verdict]
    ) -> AsyncGenerator[Event, None]:
        """Run the calls that waited, and put their results where they belong."""
        outcomes = list(pending.outcomes)
        waiting = [at for at, outcome in enumerate(outcomes) if outcome is None]
        calls = [pending.message.tool_calls[at] for at in waiting]
        found: list[Outcome] = []
        room = await self._window.free(self._prompt)
        events = self._caller.run(
            calls, found, deadline=self._deadline, room=room, verdicts=verdicts
        )
        is_whole = False
        try:
            async with aclosing(events):
                async for event in events:
                    yield event
            is_whole = True
        finally:
            for at, outcome in zip(waiting, found, strict=True):
                outcomes[at] = outcome
            self._write_down(pending.message, outcomes, room, is_whole)

    def _write_down(
        self, message: Message, outcomes: Sequence[Outcome], room: int | None, is_whole: bool
    ) -> None:
        """The turn into transcript and prompt; one with open calls is put aside instead. Of a run
        that was stopped, what had ended is kept."""
        self.unfinished = Turn()
        if not is_whole:
            outcomes = [_stopped(o, c) for o, c in zip(outcomes, message.tool_calls, strict=True)]
        results = [outcome for outcome in outcomes if outcome is not None]
        if len(results) < len(outcomes):
            self.pending = Pending(message, tuple(outcomes))
            return
        if room is not None:
            results = [self._cut(result, room) for result in results]
        repeated = self._repeats.note(message.tool_calls, results)
        results = [
            replace(result, content=result.content + TOLD)
            if again and isinstance(result.content, str)
            else result
            for result, again in zip(results, repeated, strict=True)
        ]
        self.transcript += [message, *results]
        self._prompt.add([message, *results])

    def _cut(self, result: Message, room: int) -> Message:
        if not isinstance(result.content, str):
            return result
        return replace(result, content=cut_to(result.content, room, self._model.count_tokens))

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
        if self._deadline is None:
            return await anext(parts, None)
        async with asyncio.timeout_at(self._deadline):
            return await anext(parts, None)

    def _is_late(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._deadline is not None and now >= self._deadline

    def _is_spent(self) -> bool:
        """Whether no further request is allowed at all."""
        return self._bill.is_spent or self._is_late()

    def _answer(self, turn: Turn, was_last: bool) -> Answer:
        self._ended = True
        text = turn.message.text
        if text and not self.pending:
            self.transcript.append(Message("assistant", text))
            self._prompt.add([Message("assistant", text)])
        cut = turn.done is None or bool(turn.calls) or (was_last and len(self.transcript) > 1)
        return Answer(
            text=text,
            messages=tuple(self.transcript),
            usage=self._bill.usage,
            stop_reason=self._reason(turn, cut),
            model=turn.done.model if turn.done else self._model.name,
            cost=self._bill.cost,
            report=self.report,
        )

    def _reason(self, turn: Turn, cut: bool) -> StopReason:
        if self.pending:
            return "paused"
        if cut:
            return "limit"
        assert turn.done is not None
        reason = turn.done.stop_reason
        return "stop" if reason == "tool_calls" else reason


def _stopped(outcome: Outcome, call: ToolCall) -> Message:
    """A call's result in a run that the user has stopped."""
    return outcome or Message("tool", INTERRUPTED, tool_call_id=call.id)
