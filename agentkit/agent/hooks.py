"""An application's own say in a run: before and after the model, before and after a tool, and
guards at both ends.

Hooks may wait. An exception in one around a tool fails that call, which does not run or whose
result is withheld; an exception in any other ends the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agentkit.answers import Answer
from agentkit.messages import Message, ToolCall, ToolResult

BeforeModel = Callable[[Sequence[Message]], Awaitable[None]]
"""Sees every request."""

AfterModel = Callable[[Message], Awaitable[None]]
"""Sees every answer of the model, calls included."""

BeforeTool = Callable[[ToolCall], Awaitable[str]]
"""Sees a call before it runs; a text forbids it, and is told to the model."""

AfterTool = Callable[[ToolCall, ToolResult], Awaitable[ToolResult]]
"""Sees a result before the model does, and gives the one that the model shall see."""

GuardInput = Callable[[str], Awaitable[str]]
"""Sees a prompt before anything else does; a text refuses it, and is the answer."""

GuardOutput = Callable[[Answer], Awaitable[str]]
"""Sees an answer before anybody else does; a text stands in its place."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of an agent; what is left out does nothing."""

    before_model: BeforeModel | None = None
    after_model: AfterModel | None = None
    before_tool: BeforeTool | None = None
    after_tool: AfterTool | None = None
    guard_input: GuardInput | None = None
    guard_output: GuardOutput | None = None

    async def before(self, call: ToolCall) -> str:
        """Why a call is forbidden, "" where it is not."""
        return await self.before_tool(call) if self.before_tool else ""

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        """The result that the model shall see."""
        return await self.after_tool(call, result) if self.after_tool else result
