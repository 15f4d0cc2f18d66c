"""Hooks of an application: before and after the model, before and after a tool, and guards of the
prompt and the answer.

Hooks are functions, sync or async; where they return a reason or an answer, None is like "". One
with a further required parameter gets the RunInfo there. An exception in a tool hook fails that
call: it does not run, or its result is withheld. An exception in any other hook ends the run.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from agentkit.answers import Answer
from agentkit.messages import Message, ToolCall, ToolResult


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run that calls a hook: its id, which it keeps when it is paused and resumed, and the id
    of its session, "" for one in memory."""

    id: str = ""
    session_id: str = ""


T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
Result: TypeAlias = T | Awaitable[T]
Hook: TypeAlias = Callable[[A], Result[T]] | Callable[[A, RunInfo], Result[T]]
ToolHook: TypeAlias = Callable[[A, B], Result[T]] | Callable[[A, B, RunInfo], Result[T]]

BeforeModel = Hook[Sequence[Message], None]
"""Called with the messages of every request."""

AfterModel = Hook[Message, None]
"""Called with every reply of the model, tool calls included."""

BeforeTool = Hook[ToolCall, str | None]
"""Called before a tool call runs. A non-empty string forbids it and is the reason for the model."""

AfterTool = ToolHook[ToolCall, ToolResult, ToolResult]
"""Called with a tool's result; returns the result that the model gets."""

GuardInput = Hook[str, str | None]
"""Called with a prompt first. A non-empty string refuses it and is the answer."""

GuardOutput = Hook[Answer, str | None]
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


async def call_with(function: Callable[..., Any], *arguments: Any, extra: Any = None) -> Any:
    """Call a function of the application, sync or async. It gets the extra argument too where it
    has one more required parameter than there are arguments."""
    given = (*arguments, extra) if _count_required(function) > len(arguments) else arguments
    result = function(*given)
    return await result if inspect.isawaitable(result) else result


def _count_required(function: Callable[..., Any]) -> int:
    """The number of positional parameters without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a builtin without a signature
        return 0
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(p.kind in positional and p.default is p.empty for p in parameters)
