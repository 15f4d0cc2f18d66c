"""Convert messages and streamed parts between agentkit and LangChain.

Text, images as bytes, and tool calls are converted; audio, files and images by URL are refused.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

from agentkit.backends.base import new_call_id, parse_arguments
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import Content, ImagePart, Message, Role, TextPart, ToolCall, Usage

_ROLES: Mapping[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
}


def from_langchain_messages(messages: Iterable[BaseMessage]) -> list[Message]:
    """Convert messages of LangChain. Raises ModelError for unsupported content."""
    return [_from_langchain(message) for message in messages]


def to_langchain_messages(messages: Iterable[Message]) -> list[BaseMessage]:
    """Convert messages to those of LangChain."""
    return [_to_langchain(message) for message in messages]


def as_chunk(part: ModelPart, index: int) -> AIMessageChunk | None:
    """Convert a streamed part; `index` counts tool calls. None for parts without a counterpart."""
    match part:
        case TextDelta(text):
            return AIMessageChunk(content=text)
        case ReasoningDelta(text):
            return AIMessageChunk(content="", additional_kwargs={"reasoning_content": text})
        case ToolCall(id_, name, arguments):
            piece = tool_call_chunk(name=name, args=_as_json(arguments), id=id_, index=index)
            return AIMessageChunk(content="", tool_call_chunks=[piece])
        case Usage():
            return AIMessageChunk(content="", usage_metadata=_usage_metadata(part))
        case Done(reason, model):
            metadata = {"model_name": model, "finish_reason": reason}
            return AIMessageChunk(content="", response_metadata=metadata, chunk_position="last")
    return None


def _calls_of(message: AIMessage) -> tuple[ToolCall, ...]:
    """Return the calls of a message; invalid arguments stay text."""
    valid = [ToolCall(c["id"] or new_call_id(), c["name"], c["args"]) for c in message.tool_calls]
    invalid = [
        ToolCall(c["id"] or new_call_id(), c["name"] or "", c["args"] or "")
        for c in message.invalid_tool_calls
    ]
    return (*valid, *invalid)


def streamed_calls(merged: AIMessageChunk) -> tuple[ToolCall, ...]:
    """Return the calls of all chunks of an answer. Truncated arguments stay text, which LangChain
    would complete."""
    return tuple(
        ToolCall(c["id"] or new_call_id(), c["name"] or "", parse_arguments(c["args"] or ""))
        for c in merged.tool_call_chunks
    )


def reasoning_of(message: AIMessage) -> str:
    """Return the reasoning in a message."""
    blocks = [block for block in message.content_blocks if block["type"] == "reasoning"]
    return "".join(str(block.get("reasoning") or "") for block in blocks)


def _from_langchain(message: BaseMessage) -> Message:
    match message:
        case SystemMessage():
            return Message("system", str(message.text))
        case AIMessage():
            return Message("assistant", str(message.text), _calls_of(message))
        case ToolMessage():
            return Message("tool", _result(message), tool_call_id=message.tool_call_id)
        case HumanMessage():
            return Message("user", _content(message))
        case ChatMessage() if message.role in _ROLES:
            return Message(_ROLES[message.role], str(message.text))
    raise _unsupported(f"a message of the type {message.type!r}")


def _result(message: ToolMessage) -> str:
    if any(block["type"] != "text" for block in message.content_blocks):
        raise _unsupported("a tool result other than text")
    text = str(message.text)
    failed = message.status == "error" and not text.startswith("Error")
    return f"Error: {text}" if failed else text


def _content(message: HumanMessage) -> Content:
    if isinstance(message.content, str):
        return message.content
    parts = tuple(_part(dict(block)) for block in message.content_blocks)
    if all(isinstance(part, TextPart) for part in parts):
        return str(message.text)
    return parts


def _part(block: Mapping[str, Any]) -> TextPart | ImagePart:
    if block["type"] == "text":
        return TextPart(block["text"])
    if block["type"] == "image" and block.get("base64"):
        return ImagePart(base64.b64decode(block["base64"]), block.get("mime_type") or "image/png")
    url = str(block.get("url") or "")
    if block["type"] == "image" and url.startswith("data:"):
        head, _, data = url.partition(",")
        return ImagePart(base64.b64decode(data), head[5:].partition(";")[0] or "image/png")
    part = "an image by its URL (pass its bytes)" if url else f"a part of type {block['type']!r}"
    raise _unsupported(part)


def _unsupported(content: str) -> ModelError:
    return ModelError(
        f"agentkit cannot convert {content} from LangChain. Remove it.", "", "bad_request"
    )


def _to_langchain(message: Message) -> BaseMessage:
    match message.role:
        case "system":
            return SystemMessage(message.text)
        case "assistant":
            return _assistant_message(message.text, message.tool_calls)
        case "tool":
            return ToolMessage(message.prompt_text, tool_call_id=message.tool_call_id)
    content = message.prompt_content
    if isinstance(content, str):
        return HumanMessage(content)
    return HumanMessage([_block(part) for part in content])


def _assistant_message(text: str, calls: Sequence[ToolCall]) -> AIMessage:
    valid, invalid = [], []
    for call in calls:
        if isinstance(call.arguments, str):
            fault = "The arguments are not a JSON object."
            invalid.append(
                invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=fault)
            )
        else:
            valid.append(tool_call(name=call.name, args=dict(call.arguments), id=call.id))
    return AIMessage(text, tool_calls=valid, invalid_tool_calls=invalid)


def _block(part: TextPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    data = base64.b64encode(part.data).decode()
    return {"type": "image", "base64": data, "mime_type": part.media_type}


def _as_json(arguments: Mapping[str, Any] | str) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(dict(arguments), ensure_ascii=False)


def _usage_metadata(usage: Usage) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
    )
