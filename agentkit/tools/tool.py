"""Tools: functions that a model can call. `@tool` turns a function into one.

A synchronous function runs in a thread, which cannot be killed: only async tools, and those
isolated in a process of their own, can have a timeout.

The JSON Schema of the arguments comes from the signature and the docstring, in Google, NumPy or
Sphinx style. Types are those of pydantic.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import CodeType
from typing import Annotated, Any, Generic, get_args, get_origin, get_type_hints, overload

from docstring_parser import parse
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import to_jsonable_python
from typing_extensions import TypeVar

from agentkit._sync import in_worker
from agentkit.errors import AgentkitError, ConfigError, Retry, ToolError
from agentkit.messages import Content, ImagePart, TextPart, ToolCall, ToolResult
from agentkit.tools.context import NoContext, RunContext, ToolContext
from agentkit.tools.repair import join_surrogates

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
    same arguments.
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

    @property
    def __call__(self) -> Function:
        """The function itself."""
        return self.function

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
            if name := context_parameter(function):
                checked[name] = context
            async with asyncio.timeout(self.timeout) as limit:
                return as_result(await _call(function, checked))
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

    def _failure(self, reason: str, cause: BaseException) -> ToolError:
        return ToolError(f"{self.name} failed: {reason}", self.name, cause)

    def _validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
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
            raise Retry(
                f"Invalid arguments for {self.name}: {faults}. Its schema: {schema}", self.name
            ) from error


async def _call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    if inspect.iscoroutinefunction(function):
        return await function(**arguments)
    result = await in_worker(function, **arguments)
    return await result if inspect.isawaitable(result) else result


@overload
def tool(
    function: AnyFunction,
    /,
    *,
    name: str = "",
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
    needs_approval: bool = False,
    timeout: float | None = None,
    isolated: bool = False,
    memory_mb: int = 4096,
    idempotent: bool = False,
    output: type[BaseModel] | None = None,
) -> Tool | Callable[[AnyFunction], Tool[AnyFunction]]:
    """Turn a function into a Tool, with name, description and schema from its signature and
    docstring. `timeout`, in seconds, is for async functions and `isolated` ones, which run in a
    process of their own with at most `memory_mb` of memory. `output` is the model of a result's
    `structured`; the default is a pydantic model that the function returns. Raises ConfigError."""

    def create(function: AnyFunction) -> Tool[AnyFunction]:
        _check_function(function, name)
        model = arguments_model(function)
        if isolated and needs_deps(function):
            raise ConfigError(
                f"The tool {function.__name__!r} is isolated, and the deps of a run do not reach "
                "its process. Pass what it needs as arguments, or drop `isolated`."
            )
        can_stop = isolated or inspect.iscoroutinefunction(function)
        if timeout is not None and not can_stop:
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
            output=output or result_model(function),
            location=_locate(function, memory_mb) if isolated else None,
            idempotent=idempotent,
        )

    return create(function) if function is not None else create


def _check_function(function: object, name: str) -> None:
    """Raise ConfigError for what has no signature, name or result that a tool can have."""
    own = getattr(function, "__name__", "")
    if isinstance(function, type) or not callable(function):
        kind = f"the class {own}" if own else f"a value of type {type(function).__name__}"
        raise ConfigError(f"A tool is made from a function, not from {kind}.")
    if own in ("", "<lambda>"):
        raise ConfigError(
            f"{function!r} has no name and no docstring for the model: define a function with "
            "`def` and call it there."
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ConfigError(f"The tool {own!r} yields its result: return a list or a text instead.")
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"The tool {name or own!r} has no signature that can be read ({error}): call it in a "
            "function of your own."
        ) from error
    if next(iter(parameters), "") == "self":
        raise ConfigError(
            f"The tool {name or own!r} is a method without its object: leave out @tool, and pass "
            f"the bound method, as in tools=[instance.{own}]."
        )


def _locate(function: Callable[..., Any], memory_mb: int) -> Mapping[str, Any]:
    from agentkit.tools.isolated import locate

    return locate(function, memory_mb)


log = logging.getLogger("agentkit.tools")
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
    """Return a Tool unchanged, a function as a Tool."""
    return value if isinstance(value, Tool) else tool()(value)


def as_result(value: Any) -> ToolResult:
    """Convert the return value of a function to a ToolResult."""
    if isinstance(value, ToolResult):
        return value
    return ToolResult(as_content(value), structured=value if isinstance(value, BaseModel) else None)


def as_content(result: Any) -> Content:
    """Convert a return value to content; JSON for what is neither text nor an image."""
    parts = result if isinstance(result, (list, tuple)) else [result]
    if not any(isinstance(part, ImagePart) for part in parts):
        return as_text(result)
    return tuple(p if isinstance(p, (ImagePart, TextPart)) else TextPart(as_text(p)) for p in parts)


def as_text(result: Any) -> str:
    """Convert a value to text: JSON, unless it is text already."""
    if isinstance(result, str):
        return join_surrogates(result)
    if isinstance(result, BaseModel):
        return join_surrogates(result.model_dump_json())
    return join_surrogates(_ENCODER.encode(result))


def _to_json(value: Any) -> Any:
    """Convert pydantic models, dataclasses, dates and the like to JSON values."""
    return to_jsonable_python(value, fallback=str, bytes_mode="base64")


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_to_json)


def describe_error(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


_CONFIG = ConfigDict(extra="forbid", arbitrary_types_allowed=False)
_DATA_KEYS = ("default", "enum", "const", "examples")
_CONTEXTS = (ToolContext, RunContext)
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def arguments_model(function: Callable[..., Any]) -> type[BaseModel]:
    """Return a pydantic model of a function's arguments, without its ToolContext parameter. Raises
    ConfigError if the signature has no schema."""
    hints = _type_hints(function)
    described = parse(function.__doc__ or "").params
    descriptions = {p.arg_name: _unwrapped(p.description or "") for p in described}
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if _is_context(hints.get(name)):
            continue
        if parameter.kind in _VARIADIC or parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            raise ConfigError(
                f"The tool {function.__name__!r} takes {parameter}, but models pass arguments by "
                "name. Replace it by named parameters."
            )
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        annotation = hints.get(name, str)
        if text := descriptions.get(name):
            annotation = Annotated[annotation, Field(description=text)]
        if _is_reserved(name):
            annotation = Annotated[annotation, Field(alias=name)]
            name = f"argument_{len(fields)}"
        fields[name] = (annotation, default)
    try:
        return create_model(function.__name__, __config__=_CONFIG, **fields)
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"The tool {function.__name__!r} has no schema: {reason}") from error


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigError(
            f"The tool {function.__name__!r} has an annotation that cannot be resolved ({error}). "
            "Import or define the type at the top of its file."
        ) from error


def _is_context(hint: Any) -> bool:
    """Whether an annotation is a context, bare, of some type of deps, or optional."""
    return any((get_origin(each) or each) in _CONTEXTS for each in (hint, *get_args(hint)))


def _is_reserved(name: str) -> bool:
    """Whether pydantic reserves a field name."""
    return name.startswith(("_", "model_")) or hasattr(BaseModel, name)


def json_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a model, without the titles that pydantic generates."""
    schema: dict[str, Any] = _without_titles(model.model_json_schema())
    schema.setdefault("properties", {})
    return schema


def result_model(function: Callable[..., Any]) -> type[BaseModel] | None:
    """The pydantic model that a function returns, None where it returns something else."""
    result = _type_hints(function).get("return")
    return result if isinstance(result, type) and issubclass(result, BaseModel) else None


def context_parameter(function: Callable[..., Any]) -> str | None:
    """Return the name of the ToolContext parameter, if any."""
    return _read_context(function)[0]


def needs_deps(function: Callable[..., Any]) -> bool:
    """Whether a function's context names a type of deps, such as ToolContext[Database]."""
    return _read_context(function)[1]


_contexts: dict[int, tuple[CodeType, str | None, bool]] = {}
"""By the identity of a function's code, which is the same in each run's own closures."""


def _read_context(function: Callable[..., Any]) -> tuple[str | None, bool]:
    """The name of the ToolContext parameter, and whether it names a type of deps."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if id(code) in _contexts:
        return _contexts[id(code)][1:]
    hints = _type_hints(function)
    name = next((name for name, hint in hints.items() if _is_context(hint)), None)
    hint = hints[name] if name else None
    contexts = [each for each in (hint, *get_args(hint)) if get_origin(each) in _CONTEXTS]
    deps = [kind for context in contexts for kind in get_args(context)]
    found = name, any(not _accepts_none(kind) for kind in deps)
    if code is not None:
        _contexts[id(code)] = code, *found
    return found


def _accepts_none(kind: Any) -> bool:
    is_open = kind in (object, type(None), Any) or isinstance(kind, TypeVar)
    return is_open or type(None) in get_args(kind)


def summary(function: Callable[..., Any]) -> str:
    """Return the docstring without its parameter sections, as a description for the model. A
    paragraph of prose is one line, so that no sentence is cut where the source wraps it."""
    docstring = parse(function.__doc__ or "")
    returns = docstring.returns.description if docstring.returns else None
    between = "\n\n" if docstring.blank_after_short_description else "\n"
    parts = (docstring.short_description, docstring.long_description)
    text = _unwrapped(between.join(part for part in parts if part))
    return f"{text}\n\nReturns: {_unwrapped(returns)}" if returns else text


_LAYOUT = re.compile(r"^(?:\s|[-*+•>|#]|\d+[.)]\s|~~~)", re.MULTILINE)
"""A line that is a list's item, code, a table or a heading."""


def _unwrapped(text: str) -> str:
    """The text with each paragraph of prose on one line; text with fenced code as it is."""
    if "```" in text:
        return text
    paragraphs = re.split(r"\n[ \t]*\n", text.strip())
    return "\n\n".join(
        each if _LAYOUT.search(each) else each.replace("\n", " ") for each in paragraphs
    )


def validate(model: type[BaseModel], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Convert arguments to the types of the function. Raises pydantic.ValidationError."""
    checked = model.model_validate(arguments)
    fields = model.model_fields
    return {field.alias or name: getattr(checked, name) for name, field in fields.items()}


def _without_titles(value: Any, of_properties: bool = False) -> Any:
    """Remove `title` keywords, except in data and as names of properties."""
    if isinstance(value, dict):
        return {
            key: item
            if key in _DATA_KEYS and not of_properties
            else _without_titles(item, key in ("properties", "$defs") and not of_properties)
            for key, item in value.items()
            if of_properties or key != "title"
        }
    return [_without_titles(item) for item in value] if isinstance(value, list) else value
