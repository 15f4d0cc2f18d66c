"""Run the tool calls of one turn side by side: results in order, no failure losing another.

What is wrong with a call (its name, its arguments, the tool itself) becomes its result, for the
model to read. A call that waits for the user's word stays open, the others run. The user is asked
one question at a time, and a call that cannot be decided on does not run.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from threading import get_ident
from typing import Any, Protocol

from agentkit.agent.approval import ALLOWED, Approve, Policy, Verdict, deny
from agentkit.agent.hooks import Hooks
from agentkit.agent.limits import Bill
from agentkit.documents import Chunk
from agentkit.errors import ToolError
from agentkit.events import (
    ApprovalRequested,
    Event,
    Nested,
    ToolDenied,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.knowledge.citations.passages import Sources
from agentkit.messages import Content, Message, ToolCall, Usage, text_of
from agentkit.tools.repair import fitted, repaired_arguments, sound_value
from agentkit.tools.tool import Tool

NOT_ALLOWED = "The user did not allow this call. Do not repeat it; go on without, or ask the user."
FORBIDDEN = "The settings forbid this tool here. Do not call it again; go on without."
OUT_OF_TIME = "Stopped: the run's time is over."
INTERRUPTED = "Stopped: the user ended the run."
BROKEN_OFF = "Error: the call was broken off from within; nothing is known of its result."
CHANGED = "(The user changed the arguments to {arguments}.)\n"
_SCHEMA_SHOWN = 4000

Outcome = Message | None
"""A call's result, or None while it waits for the user's word."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the calls of one run share: the passages seen, whom to ask, and where they run."""

    sources: Sources = field(default_factory=Sources)
    approve: Approve = deny
    policy: Policy = Policy()
    hooks: Hooks = Hooks()
    parallel: int = 8
    session_id: str = ""
    folder: Path | None = None
    bill: Bill = field(default_factory=Bill)


class _Put(Protocol):
    def __call__(self, event: Event) -> None: ...


@dataclass(frozen=True, slots=True)
class CallContext:
    """The ToolContext of one call."""

    call: ToolCall
    sources: Sources
    put: _Put
    bill: Bill
    room: int | None = None
    session_id: str = ""
    folder: Path | None = None

    def cite(self, chunk: Chunk) -> str:
        return self.sources.mark(chunk)

    def report(self, message: str, fraction: float | None = None) -> None:
        self.put(ToolProgress(self.call, message, fraction))

    def nest(self, event: Event) -> None:
        self.put(Nested(self.call, event))

    def spend(self, usage: Usage, cost: float | None = None) -> None:
        self.bill.add(usage, cost)


class _Inbox:
    """The events of a turn's calls, from whatever thread they come."""

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self._loop, self._home = asyncio.get_running_loop(), get_ident()
        self._changed: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        if get_ident() == self._home:
            self.events.append(event)
            self.wake()
        else:
            self._loop.call_soon_threadsafe(self.put, event)

    def wake(self, _: object = None) -> None:
        """Let the one who waits look again."""
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)

    async def change(self) -> None:
        """Wait until an event comes or a call ends."""
        self._changed = self._loop.create_future()
        await self._changed


@dataclass
class _Turn:
    """The calls of one turn: where their events go, and why they were stopped."""

    put: _Put
    room: int | None
    tasks: list[asyncio.Task[Content | None]] = field(default_factory=list)
    why: str = ""

    def is_over(self) -> bool:
        """Whether every call has ended."""
        return all(task.done() for task in self.tasks)

    def stop(self, why: str) -> None:
        """End what still runs."""
        self.why = self.why or why
        for task in self.tasks:
            task.cancel()


class Caller:
    """Runs calls of the given tools. `bill` is what the run has used."""

    def __init__(self, tools: Sequence[Tool], around: Surroundings = Surroundings()) -> None:
        self.tools = tuple(tools)
        self.bill = around.bill
        self._by_name = {tool.name: tool for tool in tools}
        self._around = around
        self._slots = asyncio.Semaphore(max(1, around.parallel))
        self._asking = asyncio.Lock()

    def meant(self, call: ToolCall) -> ToolCall:
        """The call with the tool's own name and mended arguments; as it is where nothing fits."""
        try:
            return self._resolved(call)[1]
        except ToolError:
            return call

    async def run(
        self,
        calls: Sequence[ToolCall],
        outcomes: list[Outcome],
        *,
        deadline: float | None = None,
        room: int | None = None,
        verdicts: Mapping[str, Verdict] | None = None,
    ) -> AsyncGenerator[Event, None]:
        """Yield what happens; `outcomes` then holds one for each call, in order. Closing the
        iterator, or the deadline (on the loop's clock), stops the calls that still run. `room` is
        how many tokens a result may have, `verdicts` the user's word on calls, by id."""
        loop, given, inbox = asyncio.get_running_loop(), verdicts or {}, _Inbox()
        turn = _Turn(inbox.put, room)
        for call in calls:
            task = asyncio.create_task(self._one(call, turn, given.get(call.id)))
            task.add_done_callback(inbox.wake)
            turn.tasks.append(task)
        timer = None if deadline is None else loop.call_at(deadline, turn.stop, OUT_OF_TIME)
        try:
            while inbox.events or not turn.is_over():
                while inbox.events:
                    yield inbox.events.popleft()
                if not turn.is_over():
                    await inbox.change()
        finally:
            if timer:
                timer.cancel()
            turn.stop(INTERRUPTED)
            try:
                if not turn.is_over():
                    await asyncio.gather(*turn.tasks, return_exceptions=True)
            finally:  # A second cancellation must not lose what has ended.
                outcomes += [
                    _outcome(c, t, turn.why) for c, t in zip(calls, turn.tasks, strict=True)
                ]

    async def _one(self, call: ToolCall, turn: _Turn, verdict: Verdict | None) -> Content | None:
        """The result of one call; None where it waits for the user's word."""
        try:
            tool, call = self._resolved(call)
            verdict = verdict or await self._verdict(tool, call, turn.put)
        except ToolError as error:
            turn.put(ToolFinished(call, str(error), 0.0, failed=True))
            return str(error)
        if verdict.later:
            return None
        if not verdict.allowed:
            turn.put(ToolDenied(call, verdict.reason or NOT_ALLOWED))
            return verdict.reason or NOT_ALLOWED
        is_changed = verdict.arguments is not None and verdict.arguments != call.arguments
        if verdict.arguments is not None:
            call = replace(call, arguments=verdict.arguments)
        async with self._slots:
            result = await self._called(tool, call, turn)
        if is_changed and isinstance(result, str):
            return CHANGED.format(arguments=_written(call.arguments)) + result
        return result

    async def _called(self, tool: Tool, call: ToolCall, turn: _Turn) -> Content:
        around = self._around
        context = CallContext(
            call, around.sources, turn.put, self.bill, turn.room, around.session_id, around.folder
        )
        assert not isinstance(call.arguments, str)
        turn.put(ToolStarted(call))
        began = time.perf_counter()
        result: Content = ""
        failed = True
        try:
            result = await tool.run(call.arguments, context)
            failed = False
        except ToolError as error:
            result = f"Error: {error}"
        except asyncio.CancelledError:
            task = asyncio.current_task()
            result = turn.why or BROKEN_OFF
            if task is None or task.cancelling():
                turn.put(ToolFinished(call, result, time.perf_counter() - began, failed=True))
                raise
        result, failed = await self._hooked(call, result, failed)
        turn.put(ToolFinished(call, text_of(result), time.perf_counter() - began, failed))
        return result

    async def _hooked(self, call: ToolCall, result: Content, failed: bool) -> tuple[Content, bool]:
        """The result that the model shall see; none where the hook fails, for it may be there to
        keep something back."""
        try:
            return await self._around.hooks.after(call, result), failed
        except Exception as error:
            return f"Error: the result is withheld, for a hook failed on it: {error}", True

    async def _verdict(self, tool: Tool, call: ToolCall, put: _Put) -> Verdict:
        """The hooks' word, then the policy's, then the user's. Raises ToolError."""
        try:
            if refused := await self._around.hooks.before(call):
                return Verdict(False, reason=refused)
            decision = self._around.policy.decide(tool)
            if decision == "deny":
                return Verdict(False, reason=FORBIDDEN)
            if decision == "allow":
                return ALLOWED
            async with self._asking:
                put(ApprovalRequested(call))
                return await self._around.approve(tool, call)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            raise ToolError(f"Error: not run, for nobody could decide on it ({said}).") from error

    def _resolved(self, call: ToolCall) -> tuple[Tool, ToolCall]:
        """The tool that a call means, and the call as it fits it. Raises ToolError."""
        tool = self._by_name.get(call.name) or self._by_name.get(self._cased(call.name))
        if tool is None:
            near = get_close_matches(call.name, self._by_name, n=3, cutoff=0.3)
            known = ", ".join(near or sorted(self._by_name)[:20]) or "none at all"
            raise ToolError(f"Error: there is no tool {call.name!r}. There is: {known}.")
        given = call.arguments
        read = repaired_arguments(given) if isinstance(given, str) else given
        if read is None:
            schema = json.dumps(tool.parameters, ensure_ascii=False)[:_SCHEMA_SHOWN]
            raise ToolError(
                f"Error: the arguments of {tool.name} are no JSON object: {str(given)[:200]!r}. "
                f"Its schema: {schema}"
            )
        fit = fitted(sound_value(read), tool.parameters)
        return tool, ToolCall(call.id, tool.name, fit)

    def _cased(self, name: str) -> str:
        """The one tool whose name differs in case, "-", "." or "_" only."""
        same = [known for known in self._by_name if _folded(known) == _folded(name)]
        return same[0] if len(same) == 1 else ""


def _folded(name: str) -> str:
    return name.replace("-", "_").replace(".", "_").strip("_ ").casefold()


def _written(arguments: Mapping[str, Any] | str) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(dict(arguments), ensure_ascii=False, default=str)


def _outcome(call: ToolCall, task: asyncio.Task[Content | None], why: str) -> Outcome:
    if not task.done() or task.cancelled():
        return Message("tool", why, tool_call_id=call.id)
    if error := task.exception():
        return Message("tool", f"Error: {error}", tool_call_id=call.id)
    result = task.result()
    return None if result is None else Message("tool", result, tool_call_id=call.id)
