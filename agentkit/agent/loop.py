"""The agent loop: ask the model, run the tools it calls, ask again, until it answers.

It takes a model, tools and limits, never an Agent. What happens goes to a recorder as it happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Protocol

from agentkit.agent.approval import Verdict
from agentkit.agent.channel import Emitter
from agentkit.agent.compaction import Prompt, Window, cut_to
from agentkit.agent.explain import Exchange, explained
from agentkit.agent.hooks import Hooks
from agentkit.agent.limits import Limits
from agentkit.agent.prompts import LAST_TURN
from agentkit.agent.tool_runner import INTERRUPTED, Caller, Outcome
from agentkit.agent.turn import REPEATED, Repeats, Turn
from agentkit.answers import Answer, StopReason
from agentkit.backends.base import Model, Options
from agentkit.errors import ModelError
from agentkit.events import (
    Compacted,
    Done,
    ModelPart,
    ReasoningDelta,
    Retried,
    TextDelta,
    ToolFinished,
)
from agentkit.messages import Message, ToolCall, ToolResult, Usage, render_passages

OVER_THE_LIMIT = "Not run: the run's limit of tool calls is reached. Answer from what you have."
CUT_OFF = (
    "Error: not run, because the call was cut off where the limit of output tokens was reached. "
    "Call again with shorter arguments."
)


class Recorder(Emitter, Protocol):
    """Takes what a run produces, as it is produced."""

    def add(self, messages: Sequence[Message]) -> None:
        """Keep the messages of a complete turn."""
        ...

    def compact(self, view: Sequence[Message]) -> None:
        """Keep what a compaction made of the conversation."""
        ...


@dataclass(frozen=True, slots=True)
class Pending:
    """A turn of which some calls wait for approval: None stands for their results."""

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
        recorder: Recorder,
        limits: Limits = Limits(),
        options: Options = Options(),
        hooks: Hooks = Hooks(),
    ) -> None:
        self._model = model
        self._caller = caller
        self._recorder = recorder
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
    ) -> Answer:
        """Answer the messages. `opening` calls are run before the model is asked, as if it had
        made them; `resumed` is a turn that waited, with the user's decisions on its calls. Raises
        ModelError."""
        self.start()
        self._prompt = self._window.prompt(messages, self._caller.tools)
        if resumed:
            await self._resume(*resumed)
        elif opening:
            self.unfinished = Turn(calls=list(opening), done=Done("tool_calls", ""))
            await self._run_calls(self.unfinished)
        return await self._take_turns()

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

    def messages(self) -> list[Message]:
        """The messages of the run so far; the text of an unfinished turn is its last one."""
        text = self.unfinished.message.text
        partial = [Message("assistant", text)] if text and not self._ended else []
        return [*self.transcript, *partial]

    async def _take_turns(self) -> Answer:
        turn, is_last = self.unfinished, False
        for number in range(1, self._limits.turns + 1):
            if self.pending or self._is_spent():
                break
            is_last = (
                number == self._limits.turns or self._calls_left <= 0 or self._repeats.is_stuck
            )
            await self._take_turn(is_last)
            turn = self.unfinished
            if turn.done is None or not turn.calls or is_last:
                break
            await self._run_calls(turn)
        return self._answer(turn, is_last)

    async def _take_turn(self, is_last: bool) -> None:
        """One request. A last one offers no tools, and says so if tools were used before. A
        prompt that the server calls too long is compacted and sent again, once."""
        self.unfinished = Turn()
        try:
            await self._compact(self._window.fit(self._prompt))
            if not self._is_late():
                await self._request(is_last)
            return
        except ModelError as error:
            if error.kind != "too_long" or self.unfinished.text:
                raise
        self.unfinished = Turn()
        if await self._compact(self._window.too_long(self._prompt)):
            await self._request(is_last)

    async def _compact(self, work: Awaitable[Compacted | None]) -> bool:
        """Whether a compaction was made; not where the run's time ended first."""
        compacted = None
        try:
            async with asyncio.timeout_at(self._deadline):
                compacted = await work
        except TimeoutError:
            if not self._is_late():
                raise
        if compacted:
            self._recorder.compact(self.view)
            self._recorder.emit(compacted)
        return compacted is not None

    async def _request(self, is_last: bool) -> None:
        turn = self.unfinished
        tools = () if is_last else self._caller.tools
        options = self._calling if tools else self._options
        messages = self._prompt.messages
        if is_last and self.transcript:  # Of this request alone: no question, and not to be kept.
            messages = [*messages, Message("user", LAST_TURN)]
        if self._hooks.before_model:
            await self._hooks.before_model(messages)
        names = [tool.name for tool in tools]
        self._asked = _Asked(messages, len(messages), names, options)
        try:
            async with (
                asyncio.timeout_at(self._deadline),
                aclosing(self._model.stream(messages, tools, options)) as parts,
            ):
                async for part in parts:
                    self._note(turn, part)
                    if isinstance(part, TextDelta | ReasoningDelta | Retried):
                        await self._recorder.send(part)
        except TimeoutError:
            if not self._is_late():
                raise
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

    async def _run_calls(self, turn: Turn) -> None:
        """Run a turn's calls, one that was cut off and those above the limit left out."""
        whole = turn.calls[:-1] if turn.is_cut else turn.calls
        allowed = [self._caller.resolve(call) for call in whole[: self._calls_left]]
        refused = dict.fromkeys(range(len(allowed), len(whole)), OVER_THE_LIMIT)
        refused |= dict.fromkeys(range(len(whole), len(turn.calls)), CUT_OFF)
        turn.calls[: len(allowed)] = [resolved.call for resolved in allowed]
        self._calls_left -= len(allowed)
        outcomes: list[Outcome] = []
        room = await self._window.free(self._prompt)
        emit = self._recorder.emit
        is_whole = False
        try:
            await self._caller.run(allowed, outcomes, emit, deadline=self._deadline, room=room)
            for at, why in refused.items():
                emit(ToolFinished(turn.calls[at], ToolResult(why), 0.0, failed=True))
            is_whole = True
        finally:
            for at, why in refused.items():
                outcomes.append(Message("tool", why, tool_call_id=turn.calls[at].id))
            self._write_down(turn.message, outcomes, room, is_whole)

    async def _resume(self, pending: Pending, verdicts: Mapping[str, Verdict]) -> None:
        """Run the calls that waited, and put their results where they belong."""
        outcomes = list(pending.outcomes)
        waiting = [at for at, outcome in enumerate(outcomes) if outcome is None]
        calls = [self._caller.resolve(pending.message.tool_calls[at]) for at in waiting]
        found: list[Outcome] = []
        room = await self._window.free(self._prompt)
        emit, deadline = self._recorder.emit, self._deadline
        is_whole = False
        try:
            await self._caller.run(
                calls, found, emit, deadline=deadline, room=room, verdicts=verdicts
            )
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
            replace(result, content=result.content + REPEATED)
            if again and isinstance(result.content, str)
            else result
            for result, again in zip(results, repeated, strict=True)
        ]
        self.transcript += [message, *results]
        self._prompt.add([message, *results])
        self._recorder.add([message, *results])

    def _cut(self, result: Message, room: int) -> Message:
        """A result of at most about `room` tokens; images are left as they are."""
        count = self._model.count_tokens
        if not isinstance(result.content, str) or len(result.prompt_text) * 4 <= room:
            return result
        content = cut_to(result.content, room, count)
        fitting, left = list(result.passages), room - count(content)
        while fitting and count(render_passages(fitting)) > left:
            fitting.pop()
        if omitted := len(result.passages) - len(fitting):
            content = f"{content}\n({omitted} more passages did not fit: ask for fewer.)".strip()
        return replace(result, content=content, passages=tuple(fitting))

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
