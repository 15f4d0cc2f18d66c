"""A conversation as the body of a llama.cpp request. Tools are told in the prompt, and a call that
must be made is held by a JSON Schema, so that a tiny model's calls parse too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.backends.base import Options
from agentkit.backends.prompted_tools import in_text
from agentkit.messages import Message
from agentkit.tools.tool import Tool

Body = dict[str, Any]


def request_body(messages: Sequence[Message], tools: Sequence[Tool], options: Options) -> Body:
    """The body of a streamed chat. With a seed nothing is taken from the prompt cache, since the
    sums of a warm run differ in their last bits from those of a cold one."""
    schema = options.schema if options.schema is not None else _forced(tools, options)
    told = [{"role": one.role, "content": one.text} for one in in_text(messages, tools)]
    body: Body = {
        "messages": told,
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_progress": True,
        "temperature": options.temperature,
        "max_tokens": options.max_tokens,
        "stop": list(options.stop) or None,
        "seed": options.seed,
        "cache_prompt": options.seed is None,
        "response_format": _format(schema),
    }
    return {key: value for key, value in body.items() if value is not None} | dict(options.extra)


def _forced(tools: Sequence[Tool], options: Options) -> Mapping[str, Any] | None:
    """The schema of a call of one of the tools, where one is required."""
    if not tools or options.tool_choice in ("auto", "none"):
        return None
    definitions: Body = {}
    for tool in tools:
        definitions |= tool.parameters.get("$defs", {})
    schema: Body = {"anyOf": [_call(tool) for tool in tools]}
    return {**schema, "$defs": definitions} if definitions else schema


def _call(tool: Tool) -> Body:
    arguments = {key: value for key, value in tool.parameters.items() if key != "$defs"}
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, "arguments": arguments},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _format(schema: Mapping[str, Any] | None) -> Body | None:
    if schema is None:
        return None
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": dict(schema)}}
