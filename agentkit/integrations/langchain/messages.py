"""Messages and what a model streams, in LangChain's types and in ours.

Text, images as bytes and tool calls go both ways; audio, files and images by URL are refused.
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


def to_ours(messages: Iterable[BaseMessage]) -> list[Message]:
    """LangChain's messages as ours. Raises ModelError for what we cannot send."""
    return [_ours(message) for message in messages]


def to_theirs(messages: Iterable[Message]) -> list[BaseMessage]:
    """Our messages as LangChain's."""
    return [_theirs(message) for message in messages]


def as_chunk(part: ModelPart, index: int) -> AIMessageChunk | None:
    """A part of a stream as a chunk; `index` is the place of a tool call among its like. Nothing
    of it stands for a retry."""
    match part:
        case TextDelta(text):
            return AIMessageChunk(content=text)
        case ReasoningDelta(text):
            return AIMessageChunk(content="", additional_kwargs={"reasoning_content": text})
        case ToolCall(id_, name, arguments):
            piece = tool_call_chunk(name=name, args=_written(arguments), id=id_, index=index)
            return AIMessageChunk(content="", tool_call_chunks=[piece])
        case Usage():
            return AIMessageChunk(content="", usage_metadata=_counted(part))
        case Done(reason, model):
            said = {"model_name": model, "finish_reason": reason}
            return AIMessageChunk(content="", response_metadata=said, chunk_position="last")
    return None


def _calls_of(message: AIMessage) -> tuple[ToolCall, ...]:
    """The calls in a message; one whose arguments are no JSON keeps them as text."""
    good = [ToolCall(c["id"] or new_call_id(), c["name"], c["args"]) for c in message.tool_calls]
    bad = [
        ToolCall(c["id"] or new_call_id(), c["name"] or "", c["args"] or "")
        for c in message.invalid_tool_calls
    ]
    return (*good, *bad)


def streamed_calls(whole: AIMessageChunk) -> tuple[ToolCall, ...]:
    """The calls in all chunks of an answer together. LangChain would mend arguments that were
    cut off; here they stay the text that they are."""
    return tuple(
        ToolCall(c["id"] or new_call_id(), c["name"] or "", parse_arguments(c["args"] or ""))
        for c in whole.tool_call_chunks
    )


def thought_of(message: AIMessage) -> str:
    """What a message holds of the model's thinking."""
    blocks = [block for block in message.content_blocks if block["type"] == "reasoning"]
    return "".join(str(block.get("reasoning") or "") for block in blocks)


def _ours(message: BaseMessage) -> Message:
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
    raise _refused(f"a message of the type {message.type!r}")


def _result(message: ToolMessage) -> str:
    if any(block["type"] != "text" for block in message.content_blocks):
        raise _refused("a tool's result that is no text")
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
    what = "an image by its URL (give its bytes)" if url else f"a part of type {block['type']!r}"
    raise _refused(what)


def _refused(what: str) -> ModelError:
    return ModelError(
        f"agentkit cannot send {what} from LangChain: leave it out.", "", "bad_request"
    )


def _theirs(message: Message) -> BaseMessage:
    match message.role:
        case "system":
            return SystemMessage(message.text)
        case "assistant":
            return _theirs_with_calls(message.text, message.tool_calls)
        case "tool":
            return ToolMessage(message.prompt_text, tool_call_id=message.tool_call_id)
    content = message.prompt_content
    if isinstance(content, str):
        return HumanMessage(content)
    return HumanMessage([_block(part) for part in content])


def _theirs_with_calls(text: str, calls: Sequence[ToolCall]) -> AIMessage:
    good, bad = [], []
    for call in calls:
        if isinstance(call.arguments, str):
            fault = "The arguments are no JSON object."
            bad.append(
                invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=fault)
            )
        else:
            good.append(tool_call(name=call.name, args=dict(call.arguments), id=call.id))
    return AIMessage(text, tool_calls=good, invalid_tool_calls=bad)


def _block(part: TextPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    data = base64.b64encode(part.data).decode()
    return {"type": "image", "base64": data, "mime_type": part.media_type}


def _written(arguments: Mapping[str, Any] | str) -> str:
    if isinstance(arguments, str):
        return arguments
    return json.dumps(dict(arguments), ensure_ascii=False)


def _counted(usage: Usage) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
    )
