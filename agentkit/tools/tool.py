"""Tools: callables that a model can call. `@tool` turns a function into one.

A synchronous function runs in a thread, which cannot be killed: only async tools, and those
isolated in a process of their own, can have a timeout. `schema` reads name, description and
arguments from the function.
"""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from types import MethodType
from typing import Any, Generic, overload

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python
from typing_extensions import TypeVar

from agentkit._code import CodeTooLarge, active_code, changed_files
from agentkit._sync import in_worker
from agentkit.errors import AgentkitError, ConfigError, Retry, ToolError
from agentkit.findings import join_names
from agentkit.messages import Content, ImagePart, TextPart, ToolCall, ToolResult, image_part
from agentkit.redaction import get_logger
from agentkit.tools.callables import (
    bind_positional,
    callable_name,
    context_parameter,
    implementation,
    is_async,
    is_unbound,
    needs_deps,
)
from agentkit.tools.context import NoContext, ToolContext
from agentkit.tools.repair import join_surrogates, unknown_arguments
from agentkit.tools.schema import (
    arguments_model,
    check_callable,
    json_schema,
    result_model,
    schema_fault,
    summary,
    unbound_fault,
    validate,
)

Function = TypeVar("Function", covariant=True, default=Any)
"""The type of a tool's function. It has no bound, so that type checkers find a common type for a
list of different tools."""

AnyFunction = TypeVar("AnyFunction", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Tool(Generic[Function]):
    """A function with its description for the model. Called from Python, it is that function, to
    type checkers too.

    `parameters` is the JSON Schema of the arguments object. `model` validates arguments; without
    it (a remote tool) the function gets them unchanged. `timeout` is in seconds. `output` is the
    model of a result's `structured`, where it has one. `location` tells the child process of an
    isolated tool where its function is. An `idempotent` tool can safely be called again with the
    same arguments. The calls of an `external` tool are made by the application: they stay open.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    function: Function
    needs_approval: bool = False
    timeout: float | None = None
    model: type[BaseModel] | None = None
    output: type[BaseModel] | None = None
    location: Mapping[str, Any] | None = None
    idempotent: bool = False
    external: bool = False

    @property
    def __call__(self) -> Function:
        """The function itself."""
        return self.function

    def __get__(self, instance: object, owner: type | None = None) -> Tool:
        """Bind a method that is marked as a tool in its class to an object."""
        function: Any = self.function
        if instance is None or not is_unbound(function):
            return self
        bound: Any = MethodType(function, instance)
        return replace(self, function=bound)

    async def run(
        self, arguments: Mapping[str, Any], context: ToolContext[Any] | None = None
    ) -> ToolResult:
        """Validate the arguments, call the function and return its result. Raises ToolError with
        a message for the model: what was wrong and what to do; Retry for invalid arguments."""
        checked = self._validate(arguments)
        context = context or NoContext()
        limit: asyncio.Timeout | None = None
        try:
            if self.location is not None:
                from agentkit.tools.isolated import run_isolated

                content = await run_isolated(self.location, arguments, self.timeout, context)
                return ToolResult(content)
            function: Any = self.function
            if reason := await _changed_reason(function):
                raise ToolError(f"{self.name} failed: {reason}", self.name)
            if name := context_parameter(function):
                checked[name] = context
            async with asyncio.timeout(self.timeout) as limit:
                return await _call(function, checked)
        except TimeoutError as error:
            if self.timeout is None or (limit is not None and not limit.expired()):
                raise self._failure(describe_error(error), error) from error
            raise ToolError(
                f"{self.name} did not end within {self.timeout:g} s and was stopped.",
                self.name,
                error,
            ) from error
        except ToolError as error:
            if self.location is not None and not isinstance(error, Retry):
                raise self._failure(str(error), error) from error
            raise
        except AgentkitError as error:
            raise ToolError(str(error), self.name, error) from error
        except (Exception, SystemExit) as error:  # a tool that exits must not end the program
            raise self._failure(describe_error(error), error) from error

    def fault(self, arguments: Mapping[str, Any]) -> str:
        """What is wrong with arguments, "" where the tool takes them."""
        if unknown := unknown_arguments(arguments, self.parameters):
            takes = ", ".join(self.parameters.get("properties", ())) or "no arguments"
            return f"unknown arguments: {', '.join(unknown)}; it takes {takes}"
        try:
            if self.model is None:
                return schema_fault(self.parameters, dict(arguments))
            validate(self.model, arguments)
        except ValidationError as error:
            return _faults(error)
        except ValueError:  # A remote tool's schema cannot be used: its server checks.
            return ""
        return ""

    def _failure(self, reason: str, cause: BaseException) -> ToolError:
        return ToolError(f"{self.name} failed: {reason}", self.name, cause)

    def _validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if self.model is None:
            return dict(arguments)
        try:
            return validate(self.model, arguments)
        except ValidationError as error:
            schema = json.dumps(self.parameters, ensure_ascii=False)
            raise Retry(
                f"Invalid arguments for {self.name}: {_faults(error)}. Its schema: {schema}",
                self.name,
            ) from error


def _faults(error: ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'arguments'}: {fault['msg']}"
        for fault in error.errors()
    )


async def _changed_reason(function: Callable[..., Any]) -> str:
    code = getattr(inspect.unwrap(implementation(function)), "__code__", None)
    if code is None or active_code(code.co_filename) is None:
        return ""
    return await asyncio.to_thread(changed_reason, code.co_filename)


def changed_reason(path: str) -> str:
    """Why a tool that is defined in a file is not run: files of its folder changed after they were
    checked for trust. "" where none did."""
    try:
        changed = changed_files(path)
    except (OSError, CodeTooLarge) as error:
        changed = [str(error) or "its folder"]
    if not changed:
        return ""
    return (
        f"it is not run, since files changed after they were checked for trust: "
        f"{join_names(changed)}. Review them, and run `agentkit trust`."
    )


async def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> ToolResult:
    function = bind_positional(function, arguments)
    value = function(**arguments) if is_async(function) else await in_worker(function, **arguments)
    value = await value if inspect.isawaitable(value) else value
    is_ready = isinstance(value, str | int | float | ToolResult | None)
    return as_result(value) if is_ready else await in_worker(as_result, value=value)


def external_tool(name: str, description: str, parameters: Mapping[str, Any]) -> Tool:
    """A tool that the application calls itself, such as in a browser. A run pauses at its calls;
    `Agent.resume` takes each result as a `Verdict(True, result=…)`."""

    async def no_result() -> str:
        raise ToolError(f"{name} has no result: the application gave none.", name)

    return Tool(name, description, parameters, no_result, external=True)


@overload
def tool(
    function: AnyFunction,
    /,
    *,
    name: str = "",
    description: str = "",
    needs_approval: bool = False,
    timeout: float | None = None,
    isolated: bool = False,
    memory_mb: int = 4096,
    idempotent: bool = False,
    output: type[BaseModel] | None = None,
) -> Tool[AnyFunction]: ...


@overload
def tool(
    *,
    name: str = "",
    description: str = "",
    needs_approval: bool = False,
    timeout: float | None = None,
    isolated: bool = False,
    memory_mb: int = 4096,
    idempotent: bool = False,
    output: type[BaseModel] | None = None,
) -> Callable[[AnyFunction], Tool[AnyFunction]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str = "",
    description: str = "",
    needs_approval: bool = False,
    timeout: float | None = None,
    isolated: bool = False,
    memory_mb: int = 4096,
    idempotent: bool = False,
    output: type[BaseModel] | None = None,
) -> Tool | Callable[[AnyFunction], Tool[AnyFunction]]:
    """Turn a callable into a Tool, with name, description and schema from its signature and
    docstring; `name` and `description` replace them. `timeout`, in seconds, is for async functions
    and `isolated` ones, which run in a process of their own with at most `memory_mb` of memory.
    `output` is the model of a result's `structured`; the default is a pydantic model that the
    function returns. Raises ConfigError."""

    def create(function: AnyFunction) -> Tool[AnyFunction]:
        check_callable(function)
        own = name or callable_name(function)
        model = arguments_model(function)
        if isolated and needs_deps(function):
            raise ConfigError(
                f"The tool {own!r} is isolated, and the deps of a run do not reach its process. "
                "Pass what it needs as arguments, or drop `isolated`."
            )
        if timeout is not None and not isolated and not is_async(function):
            raise ConfigError(
                f"The tool {own!r} is synchronous and has a timeout, but a thread cannot be "
                "stopped. Make it `isolated=True` or `async def`, or drop the timeout."
            )
        return Tool(
            name=own,
            description=description or summary(function),
            parameters=json_schema(model),
            function=function,
            needs_approval=needs_approval,
            timeout=timeout,
            model=model,
            output=output or result_model(function),
            location=_locate(function, memory_mb) if isolated else None,
            idempotent=idempotent,
        )

    return create(function) if function is not None else create


def _locate(function: Callable[..., Any], memory_mb: int) -> Mapping[str, Any]:
    from agentkit.tools.isolated import locate

    return locate(function, memory_mb)


log = get_logger("agentkit.tools")
log.addHandler(logging.NullHandler())


def log_failure(call: ToolCall, error: ToolError) -> None:
    """Log the exception of a tool with its traceback, once: a sub-agent has logged that of its own
    tool already. A Retry is not a failure."""
    if isinstance(error, Retry):
        log.debug("Tool %s asked for another try (call %s): %s", call.name, call.id, error)
    elif not error.is_logged:
        error.is_logged = True
        log.error("Tool %s failed (call %s)", call.name, call.id, exc_info=error.cause)
        log.debug("Arguments of call %s: %s", call.id, call.arguments)


def as_tool(value: Tool | Callable[..., Any]) -> Tool:
    """Return a Tool unchanged, a callable as a Tool. Raises ConfigError for what cannot be one."""
    if inspect.ismethod(value) and isinstance(value.__func__, Tool):
        value = value.__func__.__get__(value.__self__)
    found = value if isinstance(value, Tool) else tool()(value)
    if is_unbound(found.function):
        raise ConfigError(unbound_fault(found.function))
    return found


def as_result(value: Any) -> ToolResult:
    """Convert the return value of a function to a ToolResult."""
    if isinstance(value, ToolResult):
        return value
    return ToolResult(as_content(value), structured=value if isinstance(value, BaseModel) else None)


def as_content(result: Any) -> Content:
    """Convert a return value to content; JSON for what is neither text nor an image."""
    values = result if isinstance(result, (list, tuple)) else [result]
    parts = [_as_image(value) or value for value in values]
    if not any(isinstance(part, ImagePart) for part in parts):
        return as_text(result)
    return tuple(p if isinstance(p, (ImagePart, TextPart)) else TextPart(as_text(p)) for p in parts)


def _as_image(value: Any) -> ImagePart | None:
    """Return the image that a value is: its bytes, or an object that shows itself as PNG in a
    notebook, such as Pillow's images."""
    if isinstance(value, ImagePart):
        return value
    if isinstance(value, (bytes, bytearray)):
        return image_part(bytes(value))
    draw = None if isinstance(value, type) else getattr(type(value), "_repr_png_", None)
    data = draw(value) if draw else None
    return ImagePart(data) if isinstance(data, bytes) else None


def as_text(result: Any) -> str:
    """Convert a value to text: JSON, unless it is or becomes a text. Tables of pandas are text."""
    if isinstance(result, BaseModel):
        return join_surrogates(result.model_dump_json())
    value = _plain_value(result)
    return join_surrogates(value if isinstance(value, str) else _encode(value))


def _plain_value(result: Any) -> Any:
    """Return a text, or a value that JSON can carry."""
    if isinstance(result, (bytes, bytearray, memoryview)):
        return _decoded(bytes(result))
    if isinstance(result, tuple) and hasattr(result, "_asdict"):
        return result._asdict()
    if isinstance(result, list) and result and hasattr(result[0], "_asdict"):
        return [_plain_value(row) for row in result]
    if isinstance(result, (dict, list, tuple, int, float)) or result is None:
        return result
    if isinstance(result, str) and not isinstance(result, Enum):
        return result
    if callable(to_string := getattr(result, "to_string", None)):
        return to_string()
    return _to_json(result)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return base64.b64encode(data).decode()


def _encode(value: Any) -> str:
    try:
        return _ENCODER.encode(value)
    except TypeError:  # A key of a dict is not a text.
        return _ENCODER.encode(_to_json(value))


_LIST_METHODS = ("to_dicts", "to_pylist", "tolist")
"""How tables of Polars and PyArrow, and arrays of NumPy and PyTorch, become lists and numbers."""


def _to_json(value: Any) -> Any:
    """Convert pydantic models, dataclasses, dates and the like to JSON values."""
    return to_jsonable_python(value, fallback=_plain, bytes_mode="base64")


def _plain(value: Any) -> Any:
    for name in _LIST_METHODS:
        if callable(method := getattr(value, name, None)):
            return method()
    if callable(method := getattr(value, "to_dict", None)):
        return method()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Collection):
        return list(value)
    kind: Any = type(value)
    has_text = (kind.__str__, kind.__repr__) != (object.__str__, object.__repr__)
    if has_text or not hasattr(value, "__dict__"):
        return str(value)
    return {key: item for key, item in vars(value).items() if not key.startswith("_")}


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_to_json)


def describe_error(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
