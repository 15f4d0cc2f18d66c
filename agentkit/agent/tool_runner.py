"""Run the tool calls of one turn concurrently, with results in the order of the calls.

An unknown tool, invalid arguments and a failure of the tool become the call's result, for the model
to read; the application may have a failure of the tool end the run instead. A call that waits for
approval stays open while the others run. Approval is requested for one call at a time; when it
cannot be decided, the call does not run. A failure of a tool is logged once, with its traceback.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from threading import get_ident
from typing import Any, Literal, cast

from agentkit.agent.approval import ALLOWED, LATER, Approve, Policy, Verdict, call_digest, deny
from agentkit.agent.hooks import Hooks, RunInfo, call_with
from agentkit.agent.limits import UsageMeter
from agentkit.agent.pending import Outcome, PausedAgent, PausedResult, decisions_within
from agentkit.agent.tool_search import CALL_TOOL, direct_call, offered_tools
from agentkit.documents import Chunk
from agentkit.errors import Retry, ToolError
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
from agentkit.tools.names import UNREADABLE, clean_name, match_name
from agentkit.tools.repair import (
    fit_arguments,
    repair_arguments,
    unknown_arguments,
    without_surrogates,
)
from agentkit.tools.tool import Tool, log, log_failure

NOT_ALLOWED = "The user did not allow this call. Do not repeat it; go on without, or ask the user."
FORBIDDEN = "The settings forbid this tool here. Do not call it again; go on without."
OUT_OF_TIME = "Stopped: the run's time is over."
INTERRUPTED = "Stopped: the user ended the run."
ENDED_BY_FAILURE = "Stopped: another call failed and ended the run."
TRY_AGAIN = "Correct this and call the tool again."
CALL_CANCELLED = "Error: the tool cancelled its own call; its result is unknown."
CHANGED = "(The user changed the arguments to {arguments}.)\n"
_MAX_SCHEMA = 4000
_MAX_CALL = 500

OnToolError = Literal["tell", "raise"] | Callable[[ToolCall, BaseException], str | Awaitable[str]]
"""What a failure of a tool leads to: "tell" reports it to the model, "raise" ends the run with a
ToolError. A function gets the call and the tool's exception and returns the text for the model, or
raises what ends the run."""

Emit = Callable[[Event], None]


@dataclass(frozen=True)
class RunState:
    """What the calls of one run share; the RunContext of its instructions. `history` are the
    session's messages, which grow by complete turns."""

    deps: Any = None
    prompt: str = ""
    history: Sequence[Message] = ()
    sources: Sources = field(default_factory=Sources)
    approve: Approve = deny
    policy: Policy = Policy()
    hooks: Hooks = Hooks()
    parallel: int = 8
    info: RunInfo = RunInfo()
    folder: Path | None = None
    meter: UsageMeter = field(default_factory=UsageMeter)
    on_error: OnToolError = "tell"

    @property
    def session_id(self) -> str:
        return self.info.session_id

    @property
    def messages(self) -> tuple[Message, ...]:
        return tuple(self.history)

    @property
    def usage(self) -> Usage:
        return self.meter.usage


@dataclass(frozen=True, kw_only=True)
class CallContext(RunState):
    """The ToolContext of one call. `resumed` is the sub-agent that waited in it, `verdicts` the
    decisions on the calls of that."""

    call: ToolCall
    put: Emit
    room: int | None = None
    resumed: PausedAgent | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)

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
    """A call with its arguments repaired, its tool, the reason why it cannot run, "" if it can, and
    a note to the model on what was ignored."""

    call: ToolCall
    tool: Tool | None
    problem: str = ""
    note: str = ""


@dataclass(slots=True)
class _Ended:
    """The end of a call: its result, and whether it failed, was denied or did not run."""

    result: ToolResult
    failed: bool = False


@dataclass
class _RunningCalls:
    """The running calls of one turn, the reason why they were stopped, and the error of a call that
    shall end the run."""

    put: Emit
    room: int | None
    verdicts: Mapping[str, Verdict]
    agents: Mapping[str, PausedAgent]
    tasks: list[asyncio.Task[_Ended | None]] = field(default_factory=list)
    reason: str = ""
    error: BaseException | None = None

    def stop(self, reason: str) -> None:
        """Cancel the calls that are still running, except the one that stops the others."""
        self.reason = self.reason or reason
        current = asyncio.current_task()
        for task in self.tasks:
            if task is not current:
                task.cancel()


class ToolRunner:
    """Runs calls of the given tools for one run."""

    def __init__(self, tools: Sequence[Tool], context: RunState = RunState()) -> None:
        self.tools = self._all = tuple(tools)
        self.count = len(self._all)
        self.meter = context.meter
        self._by_name = {tool.name: tool for tool in tools}
        self._context = context
        self._slots = asyncio.Semaphore(max(1, context.parallel))
        self._approval_lock = asyncio.Lock()

    def offer(self, window: int | None, count: Callable[[str], int]) -> tuple[Tool, ...]:
        """Set the tools that requests offer, in a window of so many tokens: all, or some and a
        search for those of the others that the policy allows."""
        self.tools = offered_tools(self._all, window, count)
        if self.tools != self._all:
            allowed = [t for t in self._all if self._context.policy.decide(t) != "deny"]
            self.tools = offered_tools(allowed, window, count)
        self._by_name = {tool.name: tool for tool in (*self.tools, *self._all)}
        return self.tools

    def resolve(self, call: ToolCall) -> ResolvedCall:
        """Find the tool that a call names, and fit the call's arguments to its schema."""
        if call.name == CALL_TOOL and self._by_name.get(CALL_TOOL) not in self._all:
            call = direct_call(call)
        tool = self._by_name.get(match_name(call.name, self._by_name))
        if tool is None:
            return ResolvedCall(*self._unknown(call))
        given = call.arguments
        read = repair_arguments(given) if isinstance(given, str) else given
        try:
            if read is None:
                raise ValueError(f"not a JSON object: {str(given)[:200]!r}")
            fit = fit_arguments(without_surrogates(read), tool.parameters)
        except ValueError as error:
            schema = json.dumps(tool.parameters, ensure_ascii=False)[:_MAX_SCHEMA]
            problem = f"Error: the arguments of {tool.name} cannot be used: {error}."
            return ResolvedCall(call, tool, f"{problem} Its schema: {schema}")
        unknown = unknown_arguments(fit, tool.parameters)
        note = ""
        if unknown:
            fit = {name: value for name, value in fit.items() if name not in unknown}
            takes = ", ".join(tool.parameters.get("properties", ())) or "no arguments"
            note = f"\n(Ignored unknown arguments: {', '.join(unknown)}. It takes: {takes}.)"
        return ResolvedCall(replace(call, name=tool.name, arguments=fit), tool, note=note)

    def resolve_approved(self, call: ToolCall) -> ResolvedCall:
        """Resolve a call that waited for approval; it has a problem if it would run otherwise than
        it was shown, since its tool takes other arguments now."""
        resolved = self.resolve(call)
        if resolved.problem or call_digest(resolved.call) == call_digest(call):
            return resolved
        problem = f"Error: not run, since {call.name} takes other arguments now than were approved."
        return replace(resolved, problem=problem)

    async def run(
        self,
        calls: Sequence[ResolvedCall],
        outcomes: list[Outcome],
        emit: Emit,
        *,
        deadline: float | None = None,
        room: int | None = None,
        verdicts: Mapping[str, Verdict] | None = None,
        agents: Mapping[str, PausedAgent] | None = None,
    ) -> None:
        """Run calls side by side and emit what happens; `outcomes` then has one for each call, in
        order, however this ends. Cancellation, or the deadline (on the loop's clock), stops the
        calls that still run. `room` is how many tokens a result may have, `verdicts` the user's
        decisions on calls and `agents` the sub-agents that waited in them, by call id. Raises what
        `on_error` makes of a tool's failure."""
        if not calls:
            return
        events = _Events(emit)
        turn = _RunningCalls(events.put, room, verdicts or {}, agents or {})
        for resolved in calls:
            turn.tasks.append(asyncio.create_task(self._run_one(resolved, turn)))
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
        if turn.error is not None:
            raise turn.error

    async def _run_one(self, resolved: ResolvedCall, turn: _RunningCalls) -> _Ended | None:
        """The end of one call; None while it waits for approval."""
        call, tool = resolved.call, resolved.tool
        if (given := _given_result(call, turn)) is not None:
            turn.put(ToolFinished(call, given, 0.0))
            return _Ended(given)
        try:
            if tool is None or resolved.problem:
                raise ToolError(resolved.problem)
            verdict = ALLOWED if call.id in turn.agents else turn.verdicts.get(call.id)
            shown = replace(call, arguments=deepcopy(call.arguments))
            verdict = verdict or await self._decide(tool, shown, turn.put)
        except ToolError as error:
            refused = ToolResult(str(error))
            turn.put(ToolFinished(call, refused, 0.0, failed=True, error=error.cause))
            return _Ended(refused, failed=True)
        if verdict.later:
            return None
        if not verdict.allowed:
            turn.put(ToolDenied(call, verdict.reason or NOT_ALLOWED))
            return _Ended(ToolResult(verdict.reason or NOT_ALLOWED), failed=True)
        is_changed = verdict.arguments is not None and verdict.arguments != call.arguments
        if verdict.arguments is not None:
            call = replace(call, arguments=verdict.arguments)
        async with self._slots:
            ended = await self._execute(tool, call, turn)
        changed = CHANGED.format(arguments=_arguments_text(call.arguments)) if is_changed else ""
        if (changed or resolved.note) and isinstance(ended.result.content, str):
            content = f"{changed}{ended.result.content}{resolved.note}".strip()
            return replace(ended, result=replace(ended.result, content=content))
        return ended

    async def _execute(self, tool: Tool, call: ToolCall, turn: _RunningCalls) -> _Ended:
        context = CallContext(
            **vars(self._context),
            call=call,
            put=turn.put,
            room=turn.room,
            resumed=turn.agents.get(call.id),
            verdicts=decisions_within(call.id, turn.verdicts) if turn.verdicts else {},
        )
        assert not isinstance(call.arguments, str)
        turn.put(ToolStarted(call))
        if context.resumed is None:
            self.meter.calls_run += 1
        began = time.perf_counter()
        result = ToolResult()
        failure: BaseException | None = None
        failed = True
        try:
            result = await tool.run(call.arguments, context)
            if isinstance(result, PausedResult):
                return _Ended(result)
            failed = False
        except Retry as error:
            log_failure(call, error)
            result, failure = ToolResult(f"Error: {error}\n{TRY_AGAIN}"), error
        except ToolError as error:
            log_failure(call, error)
            result, failure = await self._report_failure(call, error, turn), error.cause
        except asyncio.CancelledError:
            task = asyncio.current_task()
            reason = turn.reason or CALL_CANCELLED
            result, failure = ToolResult(reason), ToolError(reason, tool.name)
            if task is None or task.cancelling():
                seconds = time.perf_counter() - began
                turn.put(ToolFinished(call, result, seconds, failed=True, error=failure))
                raise
        if after := self._context.hooks.after_tool:
            try:
                result = await call_with(after, call, result, extra=self._context.info)
            except Exception as error:  # The hook may be there to withhold something.
                log.exception("The hook after tool %s failed (call %s)", tool.name, call.id)
                problem = f"Error: the result is withheld, because a hook failed on it: {error}"
                result, failed, failure = ToolResult(problem), True, error
        turn.put(ToolFinished(call, result, time.perf_counter() - began, failed, failure))
        if turn.error is not None:
            turn.stop(ENDED_BY_FAILURE)
        return _Ended(result, failed)

    async def _report_failure(
        self, call: ToolCall, error: ToolError, turn: _RunningCalls
    ) -> ToolResult:
        """The result for the model. Sets the turn's error where the failure shall end the run."""
        on_error = self._context.on_error
        if on_error == "raise":
            turn.error = turn.error or error
        elif callable(on_error):
            try:
                return ToolResult(await call_with(on_error, call, error.cause))
            except Exception as raised:
                turn.error = turn.error or raised
        return ToolResult(f"Error: {error}")

    async def _decide(self, tool: Tool, call: ToolCall, put: Emit) -> Verdict:
        """Decide on a call: by the hook, then the policy, then the user. Raises ToolError."""
        try:
            before = self._context.hooks.before_tool
            if before and (reason := await call_with(before, call, extra=self._context.info)):
                return Verdict(False, reason=reason)
            decision = self._context.policy.decide(tool)
            if decision == "deny":
                return Verdict(False, reason=FORBIDDEN)
            if tool.external:
                return LATER
            if decision == "allow":
                return ALLOWED
            async with self._approval_lock:
                put(ApprovalRequested(call))
                return cast(Verdict, await call_with(self._context.approve, tool, call))
        except Exception as error:
            log.exception("The approval of tool %s failed (call %s)", tool.name, call.id)
            reason = f"{type(error).__name__}: {error}"
            problem = f"Error: not run, because approval failed ({reason})."
            raise ToolError(problem, tool.name, error) from error

    def _unknown(self, call: ToolCall) -> tuple[ToolCall, None, str]:
        """A call of no tool, under a name that can be sent back, and what is wrong with it."""
        known = ", ".join(sorted(self._by_name)[:20]) or "none at all"
        if call.name == UNREADABLE:
            problem = (
                "Error: your tool call could not be read. Call again with a tool's name and its "
                f"arguments as a JSON object. There is: {known}. The call was: "
                f"{str(call.arguments)[:_MAX_CALL]!r}"
            )
            return call, None, problem
        near = get_close_matches(call.name, self._by_name, n=3, cutoff=0.3)
        problem = f"Error: there is no tool {call.name!r}. There is: {', '.join(near) or known}."
        return replace(call, name=clean_name(call.name)), None, problem


def _given_result(call: ToolCall, turn: _RunningCalls) -> ToolResult | None:
    """The result of a call that the application has made itself, None where it has not."""
    verdict = turn.verdicts.get(call.id)
    given = verdict.result if verdict else None
    return ToolResult(given) if isinstance(given, str) else given


def _arguments_text(arguments: Mapping[str, Any] | str) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(dict(arguments), ensure_ascii=False, default=str)


def _outcome(call: ToolCall, task: asyncio.Task[_Ended | None], reason: str) -> Outcome:
    if not task.done() or task.cancelled():
        return failed_result(call, reason)
    if error := task.exception():
        return failed_result(call, f"Error: {error}")
    ended = task.result()
    if ended is None:
        return None
    result = ended.result
    if isinstance(result, PausedResult):
        return result.agent
    return Message("tool", result.content, (), call.id, result.passages, ended.failed)


def failed_result(call: ToolCall, reason: str) -> Message:
    """The message of a call that gave no result."""
    return Message("tool", reason, tool_call_id=call.id, failed=True)
