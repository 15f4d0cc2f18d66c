"""The agent loop: ask the model, run the tools it calls, ask again, until it answers.

It takes a model, tools and limits, never an Agent. What happens goes to a recorder as it happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from agentkit._sync import in_thread, in_worker
from agentkit.agent.approval import Verdict
from agentkit.agent.channel import Emitter
from agentkit.agent.compaction import Window, cut_result
from agentkit.agent.explain import Exchange, explain, no_answer_error
from agentkit.agent.hooks import Hooks, RunInfo, call_with
from agentkit.agent.limits import Limits
from agentkit.agent.pending import Outcome, PausedAgent, Pending, digests_of
from agentkit.agent.prompt import Prompt
from agentkit.agent.tool_runner import INTERRUPTED, ResolvedCall, ToolRunner, failed_result
from agentkit.agent.tool_search import MAX_OFFERED
from agentkit.agent.turn import RepeatDetector, Turn, hold_back_thinking, may_think_untagged
from agentkit.answers import Answer, StopReason
from agentkit.backends.base import Model, Options, estimated_tokens, tool_tokens
from agentkit.errors import ModelError, ToolError
from agentkit.events import (
    Compacted,
    Done,
    ModelPart,
    ReasoningDelta,
    Retried,
    TextDelta,
    ToolFinished,
)
from agentkit.messages import Message, ToolCall, ToolResult, Usage
from agentkit.tools.tool import Tool

LAST_TURN = "No more tool calls are possible. Answer now from what you have; say what is missing."
AGAIN = {
    "empty": "Your reply was empty. Answer the question now, or call a tool.",
    "unreadable": "Your reply held a tool call that cannot be read. Call the tool again, in the "
    "form that you were given, or answer.",
}
OVER_THE_LIMIT = "Not run: the run's limit of tool calls is reached. Answer from what you have."
REPEATS = "limit of repeated tool calls"
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
class _SentRequest:
    """The last request: the first `count` of the messages, to which more are appended."""

    messages: Sequence[Message] = ()
    count: int = 0
    tools: Sequence[str] = ()
    options: Options = Options()


class Loop:
    """The loop of one run. `transcript` grows by complete turns (an answer, or calls with all their
    results), so that it is a valid conversation whenever the run is stopped. A schema of `options`
    applies to turns without tools: many servers make no calls under a schema. `call_ids` are those
    of earlier calls, which no call of this run gets again. `result_markers` are given to the
    results that have no passages, where answers cite them."""

    def __init__(
        self,
        model: Model,
        runner: ToolRunner,
        recorder: Recorder,
        limits: Limits = Limits(),
        options: Options = Options(),
        hooks: Hooks = Hooks(),
        info: RunInfo = RunInfo(),
        call_ids: Iterable[str] = (),
    ) -> None:
        self._model = model
        self._tools = runner
        self._recorder = recorder
        self._limits = limits
        self._options = options
        self._tool_options = replace(options, schema=None)
        self._hooks = hooks
        self._info = info
        self._meter = runner.meter
        self._window = Window(model, options, self._meter)
        self._repeats = RepeatDetector()
        self._holds_text = may_think_untagged(model)
        self._deadline: float | None = None
        self._prompt = Prompt((), model.count_tokens)
        self._request_sent = _SentRequest()
        self._ended = False
        self._ids = set(call_ids)
        self.result_markers: Iterator[str] = iter(())
        self.transcript: list[Message] = []
        self.unfinished = Turn(taken=self._ids)
        self.pending: Pending | None = None
        self._digests: tuple[str, ...] | None = None
        """Those of the calls of a turn that waited, until it is complete."""

    @property
    def view(self) -> list[Message]:
        """The conversation as the model last saw it, after any compaction."""
        return self._prompt.messages

    def start(self) -> float | None:
        """Start the run's time limit; returns its deadline on the event loop's clock."""
        self._deadline = self._meter.start()
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
        await self.offer_tools()
        self._prompt = self._window.prompt(messages, self._tools.tools)
        if resumed:
            await self._resume(*resumed)
        elif opening:
            self.unfinished = Turn(calls=list(opening), done=Done("tool_calls", ""))
            await self._run_calls(self.unfinished)
        return await self._run_turns()

    async def offer_tools(self) -> tuple[Tool, ...]:
        """The tools of this run's requests, as many as its model's window has room for. Raises
        ModelError."""
        size = None
        async with self._until_deadline():
            size = await self._window.measure()
        return await self._offer(size)

    async def _offer(self, size: int | None) -> tuple[Tool, ...]:
        """Offer tools; many take long to measure."""
        many = self._tools.count > MAX_OFFERED
        offer, count = self._tools.offer, self._model.count_tokens
        return await in_thread(offer, size, count) if many else offer(size, count)

    @property
    def limit(self) -> str:
        """The limit that allows no further request, with its value; "" if none does."""
        return self._limit("")

    async def ask_again(self, message: Message, *, with_tools: bool) -> Answer:
        """Answer a further message of this run, such as what is wrong with its answer. Without
        tools a schema applies. Raises ModelError."""
        self.transcript.append(message)
        self._prompt.add([message])
        self._recorder.add([message])
        self._ended = False
        if with_tools:
            return await self._run_turns()
        self._meter.turns += 1
        await self._run_turn(())
        return self._answer(self.unfinished, "")

    @property
    def report(self) -> str:
        """Why the last answer cannot be used, for people; "" if it can."""
        return "" if self.pending or self.unfinished.is_usable else explain(self._exchange())

    def _exchange(self) -> Exchange:
        sent, turn = self._request_sent, self.unfinished
        return Exchange(
            model=turn.done.model if turn.done else self._model.name,
            messages=tuple(sent.messages[: sent.count]),
            tools=sent.tools,
            options=sent.options,
            text="".join(turn.text),
            reasoning="".join(turn.reasoning),
            calls=tuple(turn.calls),
            usage=turn.usage,
            stop_reason=turn.done.stop_reason if turn.done else "",
            window=self._window.size,
        )

    def messages(self) -> list[Message]:
        """The messages of the run so far; the text of an unfinished turn is its last one."""
        text = self.unfinished.message.text
        partial = [Message("assistant", text)] if text and not self._ended else []
        return [*self.transcript, *partial]

    async def _run_turns(self) -> Answer:
        turn, last_for = self.unfinished, ""
        while not self.pending and not self._exhausted:
            last_for = self._meter.last_request or ("repeats" if self._repeats.is_stuck else "")
            self._meter.turns += 1
            note = [Message("user", LAST_TURN)] if last_for and self.transcript else []
            await self._run_turn(() if last_for else self._tools.tools, note)
            if self._is_faulty and not last_for:
                await self._run_turn_again(self.unfinished)
            turn = self.unfinished
            if turn.done is None or not turn.calls or last_for:
                break
            await self._run_calls(turn)
        return self._answer(turn, last_for)

    async def _run_turn_again(self, faulty: Turn) -> None:
        """Make the request of a turn that gave no answer once more. Raises ModelError where it
        gives none again, or where the server withheld it."""
        error = no_answer_error(self._exchange(), faulty.fault)
        assert faulty.done is not None
        if faulty.done.stop_reason == "refused" or self._meter.exhausted:
            raise error
        self._recorder.emit(Retried(str(error), 0.0))
        self._meter.turns += 1
        await self._run_turn(self._tools.tools, [Message("user", AGAIN[faulty.fault])])
        if self._is_faulty:
            raise no_answer_error(self._exchange(), self.unfinished.fault)

    @property
    def _is_faulty(self) -> bool:
        """Whether the reply is complete and no answer. Without tools, a call is text."""
        turn = self.unfinished
        fault = "" if turn.calls or turn.done is None else turn.fault
        return fault == "empty" or bool(fault and self._request_sent.tools)

    async def _run_turn(self, tools: Sequence[Tool], note: Sequence[Message] = ()) -> None:
        """Make one request; `note` is sent with it and is not part of the conversation. A prompt
        that the server rejects as too long is compacted and sent again, once."""
        self.unfinished = Turn(taken=self._ids)
        try:
            await self._compact(self._window.fit(self._prompt))
            if not self._is_late():
                await self._request(tools, note)
            return
        except ModelError as error:
            if error.kind != "too_long" or self.unfinished.text:
                raise
            rejection = error
        self.unfinished = Turn(taken=self._ids)
        self._window.learn(self._prompt, rejection)
        if tools:
            tools = await self._offer(self._window.size)
            self._prompt.overhead = tool_tokens(tools, estimated_tokens)
        if await self._compact(self._window.compact(self._prompt, self._window.size)):
            await self._request(tools, note)
        elif not self._is_late():
            raise rejection

    async def _compact(self, work: Awaitable[Compacted | None]) -> bool:
        """Whether a compaction was made before the deadline."""
        compacted = None
        async with self._until_deadline():
            compacted = await work
        if compacted:
            self._recorder.compact(self.view)
            self._recorder.emit(compacted)
        return compacted is not None

    async def _request(self, tools: Sequence[Tool], note: Sequence[Message]) -> None:
        turn = self.unfinished
        options = self._tool_options if tools else self._options
        messages = [*self._prompt.messages, *note] if note else self._prompt.messages
        if self._hooks.before_model:
            await call_with(self._hooks.before_model, messages, extra=self._info)
        names = [tool.name for tool in tools]
        self._request_sent = _SentRequest(messages, len(messages), names, options)
        self._meter.requests_made += 1
        reply = self._model.stream(messages, tools, options)
        if self._holds_text:
            reply = hold_back_thinking(reply)
        try:
            async with self._until_deadline(), aclosing(reply) as parts:
                async for part in parts:
                    self._apply(turn, part)
                    if isinstance(part, TextDelta | ReasoningDelta | Retried):
                        await self._recorder.send(part)
        except ModelError as error:
            error.report = explain(self._exchange(), error)
            raise
        self._prompt.learn(turn.usage)
        if turn.take_out_thinking():
            self._holds_text = self._model.learned.thinks_untagged = True
            await self._recorder.send(Retried("the text began with the model's thinking", 0.0))
            await self._recorder.send(TextDelta("".join(turn.text)))
        if self._hooks.after_model:
            await call_with(self._hooks.after_model, turn.message, extra=self._info)

    def _apply(self, turn: Turn, part: ModelPart) -> None:
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
                self._meter.charge(turn.usage, self._model.name, part.model)

    async def _run_calls(self, turn: Turn) -> None:
        """Run a turn's calls, except one that was cut off and those above the limit."""
        whole = turn.calls[:-1] if turn.is_cut else turn.calls
        taken = whole[: self._meter.take_calls(len(whole))]
        allowed = await in_worker(lambda: [self._tools.resolve(call) for call in taken])
        refused = dict.fromkeys(range(len(allowed), len(whole)), OVER_THE_LIMIT)
        refused |= dict.fromkeys(range(len(whole), len(turn.calls)), CUT_OFF)
        turn.calls[: len(allowed)] = [resolved.call for resolved in allowed]
        results = [failed_result(turn.calls[at], reason) for at, reason in refused.items()]
        outcomes: list[Outcome] = [*(None for _ in allowed), *results]
        await self._complete(turn.message, dict(enumerate(allowed)), outcomes)
        for at, reason in refused.items():
            call, error = turn.calls[at], ToolError(reason, turn.calls[at].name)
            finished = ToolFinished(call, ToolResult(reason), 0.0, failed=True, error=error)
            self._recorder.emit(finished)

    async def _resume(self, pending: Pending, verdicts: Mapping[str, Verdict]) -> None:
        """Run the calls that waited for approval, and complete their turn."""
        outcomes, made = list(pending.outcomes), pending.message.tool_calls
        self._digests = pending.digests
        agents = {
            call.id: outcome
            for call, outcome in zip(made, outcomes, strict=True)
            if isinstance(outcome, PausedAgent)
        }
        waiting = [at for at, outcome in enumerate(outcomes) if not isinstance(outcome, Message)]
        calls = {at: self._tools.resolve_approved(made[at]) for at in waiting}
        await self._complete(pending.message, calls, outcomes, verdicts, agents)

    async def _complete(
        self,
        message: Message,
        calls: Mapping[int, ResolvedCall],
        outcomes: list[Outcome],
        verdicts: Mapping[str, Verdict] | None = None,
        agents: Mapping[str, PausedAgent] | None = None,
    ) -> None:
        """Run calls of a turn, by their positions, and record it with all its outcomes. Old results
        are shortened before new ones are cut."""
        found: list[Outcome] = []
        room = await self._window.allowance(self._prompt, len(calls))

        def record(is_complete: bool) -> None:
            for at, outcome in zip(calls, found, strict=True):
                outcomes[at] = outcome
            self._record_turn(message, outcomes, room, is_complete)

        is_complete = False
        try:
            await self._tools.run(
                list(calls.values()),
                found,
                self._recorder.emit,
                deadline=self._deadline,
                room=room,
                verdicts=verdicts,
                agents=agents,
            )
            is_complete = True
            if room is not None:
                results = [outcome for outcome in found if isinstance(outcome, Message)]
                referring = self._prompt.referring(results)
                await self._compact(self._window.make_room(self._prompt, referring))
                room = await self._window.left(self._prompt, len(results))
        except BaseException:
            record(is_complete)
            raise
        await in_thread(record, True)

    def _record_turn(
        self, message: Message, outcomes: Sequence[Outcome], room: int | None, is_complete: bool
    ) -> None:
        """Add a turn to transcript and prompt; one with open calls becomes `pending` instead. Of a
        run that was stopped, the finished calls are kept."""
        self.unfinished = Turn(taken=self._ids)
        if not is_complete:
            outcomes = [
                outcome if isinstance(outcome, Message) else failed_result(call, INTERRUPTED)
                for outcome, call in zip(outcomes, message.tool_calls, strict=True)
            ]
        results = [outcome for outcome in outcomes if isinstance(outcome, Message)]
        if len(results) < len(outcomes):
            digests = digests_of(message) if self._digests is None else self._digests
            self.pending = Pending(message, tuple(outcomes), digests=digests)
            return
        self._digests = None
        repeated = self._repeats.record(message.tool_calls, results)
        results = self._prompt.referring(results)
        if room is not None:
            results = [cut_result(each, room, self._model.count_tokens) for each in results]
        for at, hint in enumerate(repeated):
            result = results[at]
            if hint and isinstance(result.content, str):
                result = replace(result, content=result.content + hint)
            is_citable = result.content and not (result.failed or result.passages)
            if is_citable and (marker := next(self.result_markers, "")):
                result = replace(result, marker=marker)
            results[at] = result
        self.transcript += [message, *results]
        self._prompt.add([message, *results])
        self._recorder.add([message, *results])

    @asynccontextmanager
    async def _until_deadline(self) -> AsyncIterator[None]:
        """Stop the block where the run's time is over."""
        try:
            async with asyncio.timeout_at(self._deadline):
                yield
        except TimeoutError:
            if not self._is_late():
                raise

    def _is_late(self) -> bool:
        now = asyncio.get_running_loop().time()
        return self._deadline is not None and now >= self._deadline

    @property
    def _exhausted(self) -> str:
        """The name of the limit that allows no further request, "" if none does."""
        return self._meter.exhausted or ("seconds" if self._is_late() else "")

    def _answer(self, turn: Turn, last_for: str) -> Answer:
        self._ended = True
        message = replace(turn.message, tool_calls=())
        text = message.text
        if text and not self.pending:
            self.transcript.append(message)
            self._prompt.add([message])
        used_tools = any(message.role == "tool" for message in self.transcript)
        cut = turn.done is None or bool(turn.calls) or (bool(last_for) and used_tools)
        return Answer(
            text=text,
            messages=tuple(self.transcript),
            usage=self._meter.usage,
            stop_reason=self._reason(turn, cut),
            model=turn.done.model if turn.done else self._model.name,
            cost=self._meter.cost,
            report=self.report,
            limit=self._limit(last_for) if cut and not self.pending else "",
        )

    def _limit(self, last_for: str) -> str:
        """The limit that ended the run, with its value; `last_for` made its last request so."""
        name = self._exhausted or last_for
        return REPEATS if name == "repeats" else self._limits.named(name) if name else ""

    def _reason(self, turn: Turn, cut: bool) -> StopReason:
        if self.pending:
            return "paused"
        if cut:
            return "limit"
        assert turn.done is not None
        reason = turn.done.stop_reason
        return "stop" if reason == "tool_calls" else reason
