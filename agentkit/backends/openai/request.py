"""Build the body of a chat completion request from messages, tools and options."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from agentkit.backends.base import Options, arguments_object, tool_definition
from agentkit.messages import ImagePart, Message, TextPart, ToolCall
from agentkit.tools.tool import Tool

Body = dict[str, Any]


def request_body(
    model: str,
    messages: Sequence[Message],
    tools: Sequence[Tool],
    options: Options,
    limit_key: str,
) -> Body:
    """Return the body of a streamed request. `limit_key` is the server's name for max_tokens."""
    body: Body = {
        "model": model,
        "messages": [_message(message) for message in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": options.temperature,
        limit_key: options.max_tokens,
        "stop": list(options.stop) or None,
        "seed": options.seed,
        "response_format": _response_format(options.schema),
    }
    if tools:
        body["tools"] = [tool_definition(tool) for tool in tools]
        body["tool_choice"] = _tool_choice(options.tool_choice)
    return {key: value for key, value in body.items() if value is not None}


def _message(message: Message) -> Body:
    body: Body = {"role": message.role, "content": _content(message)}
    if message.tool_calls:
        body["content"] = body["content"] or None
        body["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.role == "tool":
        body["tool_call_id"] = message.tool_call_id
    return body


def _content(message: Message) -> Any:
    content = message.prompt_content
    if isinstance(content, str) or message.role != "user":
        return message.prompt_text
    return [_part(part) for part in content]


def _part(part: TextPart | ImagePart) -> Body:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    data = base64.b64encode(part.data).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{part.media_type};base64,{data}"}}


def _call(call: ToolCall) -> Body:
    arguments = json.dumps(arguments_object(call), ensure_ascii=False)
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _tool_choice(choice: str) -> Any:
    if choice == "auto":
        return None
    if choice in ("none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def _response_format(schema: Mapping[str, Any] | None) -> Body | None:
    """Strict only where the schema is closed, since OpenAI refuses an open one as strict."""
    if schema is None:
        return None
    json_schema = {"name": "answer", "schema": dict(schema), "strict": _is_closed(schema)}
    return {"type": "json_schema", "json_schema": json_schema}


def _is_closed(schema: Any) -> bool:
    """Whether every object in a schema has no further keys, and requires those it has."""
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, Mapping):
        return True
    properties = schema.get("properties", {})
    if schema.get("type") == "object" or properties:
        is_open = schema.get("additionalProperties") is not False
        if is_open or set(schema.get("required", ())) != set(properties):
            return False
    return all(map(_is_closed, schema.values()))
