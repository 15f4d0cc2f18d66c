"""Run the tool calls of one turn side by side: results in order, no failure losing another."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

from agentkit.agent.approval import Approve
from agentkit.documents import Chunk
from agentkit.errors import ToolError
from agentkit.events import (
    ApprovalRequested,
    Event,
    ToolDenied,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.knowledge.citations import Sources
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool

DENIED = "The user did not allow this call. Do not repeat it; go on without, or ask the user."


class _Put(Protocol):
    def __call__(self, event: Event | None) -> None: ...


@dataclass(frozen=True, slots=True)
class CallContext:
    """The ToolContext of one call."""

    call: ToolCall
    sources: Sources
    put: _Put

    def cite(self, chunk: Chunk) -> str:
        return self.sources.mark(chunk)

    def report(self, message: str, fraction: float | None = None) -> None:
        self.put(ToolProgress(self.call, message, fraction))


class Caller:
    """Runs calls of the given tools, at most `parallel` at once."""

    def __init__(
        self, tools: Sequence[Tool], sources: Sources, approve: Approve, parallel: int
    ) -> None:
        self._tools = {tool.name: tool for tool in tools}
        self._sources = sources
        self._approve = approve
        self._slots = asyncio.Semaphore(parallel)

    async def run(
        self, calls: Sequence[ToolCall], results: list[Message], deadline: float | None = None
    ) -> AsyncGenerator[Event, None]:
        """Yield what happens; `results` then holds a message for each call, in order. Closing
        the iterator, or the deadline (on the loop's clock), stops the calls that still run."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | None] = asyncio.Queue()

        def put(event: Event | None) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        tasks = [asyncio.create_task(self._one(call, put)) for call in calls]
        whole = asyncio.gather(*tasks, return_exceptions=True)
        whole.add_done_callback(lambda _: put(None))
        timer = loop.call_at(deadline, _cancel, tasks) if deadline is not None else None
        try:
            while (event := await events.get()) is not None:
                yield event
        finally:
            if timer:
                timer.cancel()
            _cancel(tasks)
            await asyncio.gather(*tasks, return_exceptions=True)
        for call, task in zip(calls, tasks, strict=True):
            stopped = task.cancelled()
            text = "Stopped: the run's time is over." if stopped else task.result()
            results.append(Message("tool", text, tool_call_id=call.id))

    async def _one(self, call: ToolCall, put: _Put) -> str:
        async with self._slots:
            try:
                tool, arguments = self._resolved(call)
            except ToolError as error:
                put(ToolFinished(call, str(error), 0.0, failed=True))
                return str(error)
            if tool.needs_approval and not await self._approved(tool, call, put):
                put(ToolDenied(call, DENIED))
                return DENIED
            return await self._called(tool, arguments, call, put)

    async def _called(
        self, tool: Tool, arguments: Mapping[str, Any], call: ToolCall, put: _Put
    ) -> str:
        put(ToolStarted(call))
        began = time.perf_counter()
        try:
            result = await tool.run(arguments, CallContext(call, self._sources, put))
            failed = False
        except ToolError as error:
            result, failed = f"Error: {error}", True
        put(ToolFinished(call, result, time.perf_counter() - began, failed))
        return result

    async def _approved(self, tool: Tool, call: ToolCall, put: _Put) -> bool:
        put(ApprovalRequested(call))
        return await self._approve(tool, call)

    def _resolved(self, call: ToolCall) -> tuple[Tool, Mapping[str, Any]]:
        """The tool that a call names and its arguments. Raises ToolError, for the model."""
        tool = self._tools.get(call.name)
        if tool is None:
            near = get_close_matches(call.name, self._tools, n=3, cutoff=0.3)
            known = ", ".join(near or sorted(self._tools)[:20]) or "none at all"
            raise ToolError(f"Error: there is no tool {call.name!r}. There is: {known}.")
        if not isinstance(call.arguments, str):
            return tool, call.arguments
        schema = json.dumps(tool.parameters, ensure_ascii=False)
        raise ToolError(
            f"Error: the arguments of {call.name} are no JSON object: {call.arguments[:200]!r}. "
            f"Its schema: {schema}"
        )


def _cancel(tasks: Sequence[asyncio.Task[str]]) -> None:
    for task in tasks:
        task.cancel()
