"""What a LangChain call asks for, as our options and tools."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from agentkit.backends.base import Options
from agentkit.errors import ToolError
from agentkit.tools.tool import Tool

_FOR_TRACES = frozenset({"ls_structured_output_format", "strict", "stream_usage"})


@dataclass(frozen=True, slots=True)
class Request:
    """One call: its tools and options, and the model where the call names another."""

    tools: tuple[Tool, ...]
    options: Options
    model: str | None


def request_of(given: Mapping[str, Any], stop: tuple[str, ...]) -> Request:
    """A call's keyword arguments; what is none of ours goes into the request's body."""
    left = {key: value for key, value in given.items() if key not in _FOR_TRACES}
    tools = tuple(_tool(described) for described in left.pop("tools", ()))
    options = Options(
        temperature=left.pop("temperature", None),
        max_tokens=left.pop("max_tokens", None),
        seed=left.pop("seed", None),
        tool_choice=choice_of(left.pop("tool_choice", None)) or "auto",
        schema=_schema(left.pop("response_format", None)),
        stop=stop,
    )
    model = left.pop("model", None)
    return Request(tools, _with_extra(options, left), model)


def choice_of(choice: str | Mapping[str, Any] | bool | None) -> str | None:
    """LangChain's many ways to choose a tool, as our one."""
    if isinstance(choice, Mapping):
        return str((choice.get("function") or choice).get("name"))
    if choice is True or choice == "any":
        return "required"
    return choice or None


def _with_extra(options: Options, extra: Mapping[str, Any]) -> Options:
    return replace(options, extra=dict(extra)) if extra else options


def _schema(response_format: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if not response_format or response_format.get("type") == "text":
        return None
    held: Mapping[str, Any] = response_format.get("json_schema") or {}
    schema: Mapping[str, Any] = held.get("schema") or {"type": "object"}
    return schema


def _tool(described: Mapping[str, Any]) -> Tool:
    """A tool as models are told of it; LangChain runs it, not we."""
    function = described["function"]
    return Tool(
        name=function["name"],
        description=function.get("description") or "",
        parameters=function.get("parameters") or {"type": "object", "properties": {}},
        function=_not_ours,
    )


def _not_ours(**arguments: Any) -> NoReturn:
    raise ToolError("This tool belongs to LangChain: call it there.")
