"""Requests and answers in Ollama's own format, one JSON object a line.

Spoken without the `ollama` package, whose types drop what they do not know of a tool's schema
(`anyOf`, `default`, nested `properties`).
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from agentkit.backends.base import Options, described, images, new_call_id, offered, sent_arguments
from agentkit.messages import Message, ToolCall
from agentkit.tools.tool import Tool

Body = dict[str, Any]

SMALLEST_WINDOW = 8192
_TOP_LEVEL = frozenset({"think", "keep_alive", "format", "logprobs", "top_logprobs"})


def request_body(
    model: str, messages: Sequence[Message], tools: Sequence[Tool], options: Options, window: int
) -> Body:
    """The body of a streamed chat, which newer servers neither cut (`truncate`) nor forget
    (`shift`) where it does not fit. Of `options.extra`, what Ollama does not know as a field of
    the request goes among its options (`top_k`, `num_gpu`)."""
    left = offered(tools, options.tool_choice)
    extra = {k: v for k, v in options.extra.items() if k not in _TOP_LEVEL}
    asked = {
        "num_ctx": window,
        "temperature": options.temperature,
        "num_predict": options.max_tokens,
        "stop": list(options.stop) or None,
        "seed": options.seed,
        **extra,
    }
    body = {
        "model": model,
        "messages": list(_messages(messages)),
        "stream": True,
        "truncate": False,
        "shift": False,
        "tools": [described(tool) for tool in left] or None,
        "format": _format(left, options),
        "options": {key: value for key, value in asked.items() if value is not None},
    }
    body |= {key: value for key, value in options.extra.items() if key in _TOP_LEVEL}
    return {key: value for key, value in body.items() if value is not None}


def window_for(tokens: int, greatest: int) -> int:
    """The smallest step of 8192, 16384, 32768, ... up to `greatest` that holds the tokens: each
    change of the window loads the model anew, so there are few."""
    window = SMALLEST_WINDOW
    while window < tokens:
        window *= 2
    return min(window, greatest)


def model_window(shown: Mapping[str, Any]) -> int | None:
    """The context length of a model, out of the answer of /api/show."""
    facts = shown.get("model_info") or {}
    lengths = [value for key, value in facts.items() if key.endswith(".context_length")]
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


def answered_calls(message: Mapping[str, Any]) -> Iterator[ToolCall]:
    """The tool calls in a chunk's message; old servers give them no ids."""
    for call in message.get("tool_calls") or []:
        function = call.get("function") or {}
        arguments = function.get("arguments") or {}
        yield ToolCall(call.get("id") or new_call_id(), function.get("name") or "", arguments)


async def json_lines(pieces: AsyncIterable[bytes]) -> AsyncIterator[Body]:
    """The objects of a stream. Raises ValueError where a line is none.

    Cut at newlines alone: a text may hold other characters that end a line.
    """
    held = b""
    async for piece in pieces:
        *lines, held = (held + piece).split(b"\n")
        for line in filter(None, map(bytes.strip, lines)):
            yield json_object(line)
    if held.strip():
        yield json_object(held)


def json_object(line: bytes) -> Body:
    """The object that a line is. Raises ValueError."""
    value = json.loads(line)
    if not isinstance(value, dict):
        raise ValueError("a line is no JSON object")
    return value


def error_text(body: str) -> str:
    """What an error answer says, out of its JSON where it is JSON."""
    try:
        return str(json_object(body.encode()).get("error", body))
    except ValueError:
        return body


def _messages(messages: Sequence[Message]) -> Iterator[Body]:
    names: dict[str, str] = {}
    for message in messages:
        names |= {call.id: call.name for call in message.tool_calls}
        sent: Body = {"role": message.role, "content": message.text}
        if pictures := images(message):
            sent["images"] = [base64.b64encode(image.data).decode() for image in pictures]
        if message.tool_calls:
            sent["tool_calls"] = [_call(call) for call in message.tool_calls]
        if message.role == "tool":
            sent["tool_call_id"] = message.tool_call_id
            sent["tool_name"] = names.get(message.tool_call_id, "")
        yield sent


def _call(call: ToolCall) -> Body:
    return {"id": call.id, "function": {"name": call.name, "arguments": sent_arguments(call)}}


def _format(tools: Sequence[Tool], options: Options) -> Body | None:
    """A schema that holds the answer: the caller's, or that of a call where one is required."""
    if options.schema is not None:
        return dict(options.schema)
    if not tools or options.tool_choice in ("auto", "none"):
        return None
    calls = [_call_schema(tool) for tool in tools]
    definitions: Body = {}
    for tool in tools:
        definitions |= tool.parameters.get("$defs", {})
    schema: Body = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return {**schema, "$defs": definitions} if definitions else schema


def _call_schema(tool: Tool) -> Body:
    arguments = {key: value for key, value in tool.parameters.items() if key != "$defs"}
    properties = {"name": {"const": tool.name}, "arguments": arguments}
    return {"type": "object", "properties": properties, "required": ["name", "arguments"]}
