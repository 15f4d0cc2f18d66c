"""Hooks of an application: before and after the model, before and after a tool, and guards of the
prompt and the answer.

Hooks are coroutines. An exception in a tool hook fails that call: it does not run, or its result is
withheld. An exception in any other hook ends the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agentkit.answers import Answer
from agentkit.messages import Message, ToolCall, ToolResult

BeforeModel = Callable[[Sequence[Message]], Awaitable[None]]
"""Called with the messages of every request."""

AfterModel = Callable[[Message], Awaitable[None]]
"""Called with every reply of the model, tool calls included."""

BeforeTool = Callable[[ToolCall], Awaitable[str]]
"""Called before a tool call runs. A non-empty string forbids it and is the reason for the model."""

AfterTool = Callable[[ToolCall, ToolResult], Awaitable[ToolResult]]
"""Called with a tool's result; returns the result that the model gets."""

GuardInput = Callable[[str], Awaitable[str]]
"""Called with a prompt first. A non-empty string refuses it and is the answer."""

GuardOutput = Callable[[Answer], Awaitable[str]]
"""Called with an answer before it is shown. A non-empty string replaces it."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of an agent, each optional."""

    before_model: BeforeModel | None = None
    after_model: AfterModel | None = None
    before_tool: BeforeTool | None = None
    after_tool: AfterTool | None = None
    guard_input: GuardInput | None = None
    guard_output: GuardOutput | None = None
