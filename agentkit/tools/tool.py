"""A function that a model may call: `@tool` above a function makes one.

A synchronous function runs in a thread, which cannot be killed: only an async tool, or one that
is isolated in a process of its own, may have a timeout.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, overload

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from agentkit._sync import in_worker
from agentkit.errors import AgentkitError, ConfigError, ToolError
from agentkit.messages import Content, ImagePart, TextPart, ToolResult
from agentkit.tools.context import NoContext, ToolContext
from agentkit.tools.repair import join_surrogates
from agentkit.tools.schema import (
    arguments_model,
    context_parameter,
    json_schema,
    summary,
    validate,
)


@dataclass(frozen=True, slots=True)
class Tool:
    """What a model is told of a function, and the function.

    `parameters` is a JSON Schema of an object. `model` checks the arguments where there is one;
    without it (an MCP server's tool) the function gets them as they came. `timeout` in seconds.
    `order` tells another process where an isolated tool's function is. An `idempotent` tool may
    be called again with the same arguments without harm.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Callable[..., Any]
    needs_approval: bool = False
    timeout: float | None = None
    model: type[BaseModel] | None = None
    order: Mapping[str, Any] | None = None
    idempotent: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The plain function, for those who call it from Python."""
        return self.function(*args, **kwargs)

    async def run(
        self, arguments: Mapping[str, Any], context: ToolContext | None = None
    ) -> ToolResult:
        """Check the arguments, call the function and return its result.

        Raises ToolError, whose message is written for the model: what was wrong and what to do.
        """
        given = self._checked(arguments)
        context = context or NoContext()
        limit: asyncio.Timeout | None = None
        try:
            if self.order is not None:
                return await self._isolated(self.order, arguments, context)
            if name := context_parameter(self.function):
                given[name] = context
            async with asyncio.timeout(self.timeout) as limit:
                return as_result(await self._called(given))
        except TimeoutError as error:
            if self.timeout is None or (limit is not None and not limit.expired()):
                raise ToolError(f"{self.name} failed: {_said(error)}", self.name) from error
            raise ToolError(
                f"{self.name} did not end within {self.timeout:g} s and was stopped.", self.name
            ) from error
        except ToolError as error:
            if self.order is not None:
                raise ToolError(f"{self.name} failed: {error}", self.name) from error
            raise
        except AgentkitError as error:
            raise ToolError(str(error), self.name) from error
        except (Exception, SystemExit) as error:  # a tool that exits must not end the program
            raise ToolError(f"{self.name} failed: {_said(error)}", self.name) from error

    async def _isolated(
        self, order: Mapping[str, Any], arguments: Mapping[str, Any], context: ToolContext
    ) -> ToolResult:
        from agentkit.tools.isolated import run_isolated

        return ToolResult(await run_isolated(order, arguments, self.timeout, context))

    async def _called(self, given: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(self.function):
            return await self.function(**given)
        result = await in_worker(self.function, **given)
        return await result if inspect.isawaitable(result) else result

    def _checked(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if self.model is None:
            return dict(arguments)
        try:
            return validate(self.model, arguments)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}"
                for fault in error.errors()
            )
            schema = json.dumps(self.parameters, ensure_ascii=False)
            raise ToolError(
                f"The arguments do not fit {self.name}: {faults}. Its schema: {schema}", self.name
            ) from error


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...


@overload
def tool(
    *,
    name: str = "",
    needs_approval: bool = False,
    timeout: float | None = None,
    isolated: bool = False,
    memory_mb: int = 4096,
    idempotent: bool = False,
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    needs_approval: bool = False,
    timeout: float | None = None,
    isolated: bool = False,
    memory_mb: int = 4096,
    idempotent: bool = False,
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a Tool of a function: name, description and schema come from its signature and
    docstring. `timeout` in seconds, for async functions and `isolated` ones, which run in a
    process of their own with at most `memory_mb` of memory. Raises ConfigError."""

    def made(function: Callable[..., Any]) -> Tool:
        model = arguments_model(function)
        stoppable = isolated or inspect.iscoroutinefunction(function)
        if timeout is not None and not stoppable:
            raise ConfigError(
                f"The tool {function.__name__!r} is synchronous and has a timeout, but a thread "
                "cannot be stopped. Make it `isolated=True` or `async def`, or drop the timeout."
            )
        return Tool(
            name=name or function.__name__,
            description=summary(function),
            parameters=json_schema(model),
            function=function,
            needs_approval=needs_approval,
            timeout=timeout,
            model=model,
            order=_order(function, memory_mb) if isolated else None,
            idempotent=idempotent,
        )

    return made(function) if function is not None else made


def _order(function: Callable[..., Any], memory_mb: int) -> Mapping[str, Any]:
    from agentkit.tools.isolated import order

    return order(function, memory_mb)


def as_tool(value: Tool | Callable[..., Any]) -> Tool:
    """A Tool as it is, a plain function as a Tool."""
    return value if isinstance(value, Tool) else tool(value)


def as_result(value: Any) -> ToolResult:
    """What a tool's function returned, as a ToolResult."""
    return value if isinstance(value, ToolResult) else ToolResult(as_content(value))


def as_content(result: Any) -> Content:
    """What a tool's function returned as content: texts and images as they are, else as text."""
    parts = result if isinstance(result, (list, tuple)) else [result]
    if not any(isinstance(part, ImagePart) for part in parts):
        return as_text(result)
    return tuple(p if isinstance(p, (ImagePart, TextPart)) else TextPart(as_text(p)) for p in parts)


def as_text(result: Any) -> str:
    """A tool's result as a model reads it: text as it is, anything else as JSON."""
    if isinstance(result, str):
        return join_surrogates(result)
    if isinstance(result, BaseModel):
        return join_surrogates(result.model_dump_json())
    return join_surrogates(_ENCODER.encode(result))


def _plain(value: Any) -> Any:
    """Models, dataclasses, times and the like inside a result, as JSON has them."""
    return to_jsonable_python(value, fallback=str, bytes_mode="base64")


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_plain)


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
