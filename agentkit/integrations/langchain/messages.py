"""Convert messages and streamed parts between agentkit and LangChain.

Text, images as bytes, tool calls and what a provider wants back are converted. In a prompt, audio,
files and images by URL are refused; in a tool's result they are named.
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
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

from agentkit.backends.base import new_call_id, parse_arguments
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import (
    Content,
    ImagePart,
    Message,
    Role,
    TextPart,
    ToolCall,
    Usage,
    text_of,
)

_MESSAGE_DATA, _CALL_DATA = "agentkit_provider_data", "agentkit_call_data"
"""Keys of `additional_kwargs` for what a provider wants back with a message and its calls."""

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


def to_langchain_messages(messages: Iterable[Message], provider: str = "") -> list[BaseMessage]:
    """Convert messages to those of LangChain. `provider` gets its own fields back."""
    return [_to_langchain(message, provider) for message in messages]


def as_chunk(part: ModelPart, index: int) -> AIMessageChunk | None:
    """Convert a streamed part; `index` counts tool calls. None for parts without a counterpart."""
    match part:
        case TextDelta(text):
            return AIMessageChunk(content=text)
        case ReasoningDelta(text):
            return AIMessageChunk(content="", additional_kwargs={"reasoning_content": text})
        case ToolCall(id_, name, arguments):
            piece = tool_call_chunk(name=name, args=_as_json(arguments), id=id_, index=index)
            own = {_CALL_DATA: {id_: part.provider_data}} if part.provider_data else {}
            return AIMessageChunk(content="", tool_call_chunks=[piece], additional_kwargs=own)
        case Usage():
            return AIMessageChunk(content="", usage_metadata=_usage_metadata(part))
        case Done(reason, model):
            metadata = {"model_name": model, "finish_reason": reason}
            kept = {_MESSAGE_DATA: part.provider_data} if part.provider_data else {}
            return AIMessageChunk(
                content="",
                response_metadata=metadata,
                additional_kwargs=kept,
                chunk_position="last",
            )
    return None


def _calls_of(message: AIMessage) -> tuple[ToolCall, ...]:
    """Return the calls of a message; invalid arguments stay text."""
    kept: Mapping[str, Any] = message.additional_kwargs.get(_CALL_DATA) or {}
    calls = [
        ToolCall(
            call_id := c["id"] or new_call_id(),
            c["name"] or "",
            c["args"] or ("" if c["type"] == "invalid_tool_call" else {}),
            provider_data=kept.get(call_id),
        )
        for c in (*message.tool_calls, *message.invalid_tool_calls)
    ]
    if not calls and isinstance(message.content, list):
        calls = [
            ToolCall(str(block.get("id") or new_call_id()), block["name"], block.get("input") or {})
            for block in message.content
            if isinstance(block, dict) and block.get("type") == "tool_use"
        ]
    old: Mapping[str, Any] = message.additional_kwargs.get("function_call") or {}
    if old and not calls:
        name = str(old.get("name") or "")
        calls.append(
            ToolCall(_function_id(name), name, parse_arguments(old.get("arguments") or ""))
        )
    return tuple(calls)


def _function_id(name: str) -> str:
    """The id of a call of before calls had ids."""
    return f"call_{name}"


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
            kept = message.additional_kwargs.get(_MESSAGE_DATA)
            return Message("assistant", str(message.text), _calls_of(message), provider_data=kept)
        case ToolMessage():
            content = content_of(message)
            is_error = message.status == "error" and isinstance(content, str)
            if is_error and not str(content).startswith("Error"):
                content = f"Error: {content}"
            return Message("tool", content, tool_call_id=message.tool_call_id)
        case FunctionMessage():
            return Message("tool", str(message.text), tool_call_id=_function_id(message.name))
        case HumanMessage():
            return Message("user", _content(message))
        case ChatMessage() if message.role in _ROLES:
            return Message(_ROLES[message.role], str(message.text))
    raise _unsupported(f"a message of the type {message.type!r}")


def content_of(message: ToolMessage) -> Content:
    """The content of a tool's result: text and images, and a note for each part of another kind."""
    return _joined([_result_part(block) for block in _blocks(message)])


def _content(message: HumanMessage) -> Content:
    return _joined([_part(block) for block in _blocks(message)])


def _joined(parts: Sequence[TextPart | ImagePart]) -> Content:
    """Return parts as a content: a text where there are no images."""
    if any(isinstance(part, ImagePart) for part in parts):
        return tuple(parts)
    return text_of(tuple(parts))


def _blocks(message: BaseMessage) -> list[dict[str, Any]]:
    """Return the blocks of a message in LangChain's standard form, as far as it knows them."""
    if isinstance(message.content, str):
        return [{"type": "text", "text": message.content}]
    blocks: list[dict[str, Any]] = [dict(block) for block in message.content_blocks]
    return [block["value"] if isinstance(block.get("value"), dict) else block for block in blocks]


def _result_part(block: Mapping[str, Any]) -> TextPart | ImagePart:
    try:
        return _part(block)
    except ModelError:
        if url := block.get("url"):
            return TextPart(f"[{block['type']}: {url}]")
        if any(key in block for key in ("base64", "data")):
            return TextPart(f"[{block['type']}, which cannot be shown]")
        return TextPart(json.dumps(block, ensure_ascii=False, default=str))


def _part(block: Mapping[str, Any]) -> TextPart | ImagePart:
    kind = str(block.get("type") or "text")
    if isinstance(text := block.get("text"), str):
        return TextPart(text)
    if kind == "json":
        return TextPart(json.dumps(block.get("json"), ensure_ascii=False))
    if kind == "image" and block.get("base64"):
        return ImagePart(base64.b64decode(block["base64"]), block.get("mime_type") or "image/png")
    given = block.get("url") or block.get("image_url")
    url = str(given.get("url") if isinstance(given, Mapping) else given or "")
    if kind.startswith(("image", "input_image")) and url.startswith("data:"):
        head, _, data = url.partition(",")
        return ImagePart(base64.b64decode(data), head[5:].partition(";")[0] or "image/png")
    part = "an image by its URL (pass its bytes)" if url else f"a part of type {kind!r}"
    raise _unsupported(part)


def _unsupported(content: str) -> ModelError:
    return ModelError(
        f"agentkit cannot convert {content} from LangChain. Remove it.", "", "bad_request"
    )


def _to_langchain(message: Message, provider: str) -> BaseMessage:
    match message.role:
        case "system":
            return SystemMessage(message.text)
        case "assistant":
            kept = (message.provider_data or {}).get(provider) or {}
            return _assistant_message(message.text, message.tool_calls, kept)
        case "tool":
            return ToolMessage(
                result_content(message.prompt_content),
                tool_call_id=message.tool_call_id,
                status="error" if message.failed else "success",
            )
    content = message.prompt_content
    if isinstance(content, str):
        return HumanMessage(content)
    return HumanMessage([_block(part) for part in content])


def _assistant_message(text: str, calls: Sequence[ToolCall], kept: Mapping[str, Any]) -> AIMessage:
    valid, invalid = [], []
    for call in calls:
        if isinstance(call.arguments, str):
            fault = "The arguments are not a JSON object."
            invalid.append(
                invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=fault)
            )
        else:
            valid.append(tool_call(name=call.name, args=dict(call.arguments), id=call.id))
    content: str | list[str | dict[str, Any]] = text
    if blocks := kept.get("blocks"):
        content = [*blocks, *([{"type": "text", "text": text}] if text else [])]
    return AIMessage(
        content,
        tool_calls=valid,
        invalid_tool_calls=invalid,
        additional_kwargs=dict(kept.get("fields") or {}),
    )


_OWN_BLOCKS = {"text", "tool_use", "tool_call", "tool_call_chunk", "input_json_delta"}
"""Blocks that a message holds as text and calls."""


def fields_to_keep(merged: AIMessageChunk) -> dict[str, Any]:
    """Return what the provider of a message wants back, such as signed thinking, as JSON."""
    content = merged.content if isinstance(merged.content, list) else []
    blocks = [b for b in content if isinstance(b, dict) and b.get("type") not in _OWN_BLOCKS]
    extra = {
        k: v
        for k, v in merged.additional_kwargs.items()
        if k not in ("tool_calls", "function_call")
    }
    found = {"blocks": list(filter(_is_json, blocks))}
    found_fields = {key: value for key, value in extra.items() if _is_json(value)}
    return {key: v for key, v in {**found, "fields": found_fields}.items() if v}


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def result_content(content: Content) -> str | list[str | dict[Any, Any]]:
    """The content of a tool's result in LangChain's form."""
    return content if isinstance(content, str) else [_block(part) for part in content]


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
