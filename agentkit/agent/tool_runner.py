"""Run the tool calls of one turn concurrently, with results in the order of the calls.

An unknown tool, invalid arguments and a failure of the tool become the call's result, for the model
to read. A call that waits for approval stays open while the others run. Approval is requested for
one call at a time; when it cannot be decided, the call does not run.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from threading import get_ident
from typing import Any

from agentkit.agent.approval import ALLOWED, Approve, Policy, Verdict, deny
from agentkit.agent.hooks import Hooks
from agentkit.agent.limits import UsageMeter
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
from agentkit.messages import Message, ToolCall, ToolResult, Usage
from agentkit.tools.repair import fit_arguments, repair_arguments, without_surrogates
from agentkit.tools.tool import Tool

NOT_ALLOWED = "The user did not allow this call. Do not repeat it; go on without, or ask the user."
FORBIDDEN = "The settings forbid this tool here. Do not call it again; go on without."
OUT_OF_TIME = "Stopped: the run's time is over."
INTERRUPTED = "Stopped: the user ended the run."
CALL_CANCELLED = "Error: the tool cancelled its own call; its result is unknown."
CHANGED = "(The user changed the arguments to {arguments}.)\n"
_MAX_SCHEMA = 4000

Emit = Callable[[Event], None]
Outcome = Message | None
"""A call's result, or None while it waits for approval."""


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the calls of one run share: passages, approval, hooks, usage and folder."""

    sources: Sources = field(default_factory=Sources)
    approve: Approve = deny
    policy: Policy = Policy()
    hooks: Hooks = Hooks()
    parallel: int = 8
    session_id: str = ""
    folder: Path | None = None
    meter: UsageMeter = field(default_factory=UsageMeter)


@dataclass(frozen=True, slots=True)
class CallContext:
    """The ToolContext of one call."""

    call: ToolCall
    sources: Sources
    put: Emit
    meter: UsageMeter
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
        self.meter.add(usage, cost)


class _Events:
    """Emits the events of one turn's calls on the event loop's thread, from any thread, until the
    turn is over."""

    def __init__(self, emit: Emit) -> None:
        self._emit: Emit | None = emit
        self._loop, self._thread = asyncio.get_running_loop(), get_ident()

    def put(self, event: Event) -> None:
        if get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self.put, event)
        elif self._emit is not None:
            self._emit(event)

    def close(self) -> None:
        """Drop later events of threads, which cannot be stopped."""
        self._emit = None


@dataclass(frozen=True, slots=True)
class ResolvedCall:
    """A call with its arguments repaired, its tool, and the reason why it cannot run, "" if it
    can."""

    call: ToolCall
    tool: Tool | None
    problem: str = ""


@dataclass
class _RunningCalls:
    """The running calls of one turn, and the reason why they were stopped."""

    put: Emit
    room: int | None
    tasks: list[asyncio.Task[ToolResult | None]] = field(default_factory=list)
    reason: str = ""

    def stop(self, reason: str) -> None:
        """Cancel the calls that are still running."""
        self.reason = self.reason or reason
        for task in self.tasks:
            task.cancel()


class ToolRunner:
    """Runs calls of the given tools for one run."""

    def __init__(self, tools: Sequence[Tool], context: RunContext = RunContext()) -> None:
        self.tools = tuple(tools)
        self.meter = context.meter
        self._by_name = {tool.name: tool for tool in tools}
        self._context = context
        self._slots = asyncio.Semaphore(max(1, context.parallel))
        self._approval_lock = asyncio.Lock()

    def resolve(self, call: ToolCall) -> ResolvedCall:
        """Find the tool that a call names, and repair the call's arguments to fit its schema."""
        tool = self._by_name.get(call.name) or self._by_name.get(self._similar_name(call.name))
        if tool is None:
            near = get_close_matches(call.name, self._by_name, n=3, cutoff=0.3)
            known = ", ".join(near or sorted(self._by_name)[:20]) or "none at all"
            problem = f"Error: there is no tool {call.name!r}. There is: {known}."
            return ResolvedCall(call, None, problem)
        given = call.arguments
        read = repair_arguments(given) if isinstance(given, str) else given
        if read is None:
            schema = json.dumps(tool.parameters, ensure_ascii=False)[:_MAX_SCHEMA]
            problem = (
                f"Error: the arguments of {tool.name} are not a JSON object: "
                f"{str(given)[:200]!r}. Its schema: {schema}"
            )
            return ResolvedCall(call, tool, problem)
        fit = fit_arguments(without_surrogates(read), tool.parameters)
        return ResolvedCall(ToolCall(call.id, tool.name, fit), tool)

    async def run(
        self,
        calls: Sequence[ResolvedCall],
        outcomes: list[Outcome],
        emit: Emit,
        *,
        deadline: float | None = None,
        room: int | None = None,
        verdicts: Mapping[str, Verdict] | None = None,
    ) -> None:
        """Run calls side by side and emit what happens; `outcomes` then has one for each call, in
        order, however this ends. Cancellation, or the deadline (on the loop's clock), stops the
        calls that still run. `room` is how many tokens a result may have, `verdicts` the user's
        decisions on calls, by call id."""
        if not calls:
            return
        events, given = _Events(emit), verdicts or {}
        turn = _RunningCalls(events.put, room)
        for resolved in calls:
            work = self._run_one(resolved, turn, given.get(resolved.call.id))
            turn.tasks.append(asyncio.create_task(work))
        loop = asyncio.get_running_loop()
        timer = None if deadline is None else loop.call_at(deadline, turn.stop, OUT_OF_TIME)
        try:
            await asyncio.wait(turn.tasks)
        finally:
            if timer:
                timer.cancel()
            turn.stop(INTERRUPTED)
            try:
                await asyncio.gather(*turn.tasks, return_exceptions=True)
            finally:  # A second cancellation must not lose what has ended.
                events.close()
                outcomes += [
                    _outcome(resolved.call, task, turn.reason)
                    for resolved, task in zip(calls, turn.tasks, strict=True)
                ]

    async def _run_one(
        self, resolved: ResolvedCall, turn: _RunningCalls, verdict: Verdict | None
    ) -> ToolResult | None:
        """The result of one call; None while it waits for approval."""
        call, tool = resolved.call, resolved.tool
        try:
            if tool is None or resolved.problem:
                raise ToolError(resolved.problem)
            verdict = verdict or await self._decide(tool, call, turn.put)
        except ToolError as error:
            refused = ToolResult(str(error))
            turn.put(ToolFinished(call, refused, 0.0, failed=True))
            return refused
        if verdict.later:
            return None
        if not verdict.allowed:
            turn.put(ToolDenied(call, verdict.reason or NOT_ALLOWED))
            return ToolResult(verdict.reason or NOT_ALLOWED)
        is_changed = verdict.arguments is not None and verdict.arguments != call.arguments
        if verdict.arguments is not None:
            call = replace(call, arguments=verdict.arguments)
        async with self._slots:
            result = await self._execute(tool, call, turn)
        if is_changed and isinstance(result.content, str):
            changed = CHANGED.format(arguments=_arguments_text(call.arguments))
            return replace(result, content=changed + result.content)
        return result

    async def _execute(self, tool: Tool, call: ToolCall, turn: _RunningCalls) -> ToolResult:
        run = self._context
        context = CallContext(
            call,
            run.sources,
            turn.put,
            self.meter,
            turn.room,
            run.session_id,
            run.folder,
        )
        assert not isinstance(call.arguments, str)
        turn.put(ToolStarted(call))
        began = time.perf_counter()
        result = ToolResult()
        failed = True
        try:
            result = await tool.run(call.arguments, context)
            failed = False
        except ToolError as error:
            result = ToolResult(f"Error: {error}")
        except asyncio.CancelledError:
            task = asyncio.current_task()
            result = ToolResult(turn.reason or CALL_CANCELLED)
            if task is None or task.cancelling():
                turn.put(ToolFinished(call, result, time.perf_counter() - began, failed=True))
                raise
        result, failed = await self._apply_after_hook(call, result, failed)
        turn.put(ToolFinished(call, result, time.perf_counter() - began, failed))
        return result

    async def _apply_after_hook(
        self, call: ToolCall, result: ToolResult, failed: bool
    ) -> tuple[ToolResult, bool]:
        """The result after the hook; an error instead where the hook fails, since the hook may be
        there to withhold something."""
        try:
            after = self._context.hooks.after_tool
            return (await after(call, result) if after else result), failed
        except Exception as error:
            problem = f"Error: the result is withheld, because a hook failed on it: {error}"
            return ToolResult(problem), True

    async def _decide(self, tool: Tool, call: ToolCall, put: Emit) -> Verdict:
        """Decide on a call: by the hook, then the policy, then the user. Raises ToolError."""
        try:
            before = self._context.hooks.before_tool
            if before and (reason := await before(call)):
                return Verdict(False, reason=reason)
            decision = self._context.policy.decide(tool)
            if decision == "deny":
                return Verdict(False, reason=FORBIDDEN)
            if decision == "allow":
                return ALLOWED
            async with self._approval_lock:
                put(ApprovalRequested(call))
                return await self._context.approve(tool, call)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise ToolError(f"Error: not run, because approval failed ({reason}).") from error

    def _similar_name(self, name: str) -> str:
        """The only tool whose name differs just in case, "-", "." or "_"."""
        same = [known for known in self._by_name if _fold_name(known) == _fold_name(name)]
        return same[0] if len(same) == 1 else ""


def _fold_name(name: str) -> str:
    return name.replace("-", "_").replace(".", "_").strip("_ ").casefold()


def _arguments_text(arguments: Mapping[str, Any] | str) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(dict(arguments), ensure_ascii=False, default=str)


def _outcome(call: ToolCall, task: asyncio.Task[ToolResult | None], reason: str) -> Outcome:
    if not task.done() or task.cancelled():
        return Message("tool", reason, tool_call_id=call.id)
    if error := task.exception():
        return Message("tool", f"Error: {error}", tool_call_id=call.id)
    result = task.result()
    if result is None:
        return None
    return Message("tool", result.content, (), call.id, result.passages)
