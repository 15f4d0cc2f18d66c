"""Messages and passages as plain JSON and back: what sessions and traces are made of.

Reading takes what any earlier version wrote: a key that is missing has its default, one that is
unknown is left out.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from agentkit.documents import Chunk
from agentkit.messages import Content, ImagePart, Message, TextPart, ToolCall, Usage

Record = dict[str, Any]


def message_record(message: Message) -> Record:
    """A message, images as base64; what is empty is left out."""
    record: Record = {"role": message.role, "content": content_record(message.content)}
    if message.tool_calls:
        record["tool_calls"] = [call_record(call) for call in message.tool_calls]
    if message.tool_call_id:
        record["tool_call_id"] = message.tool_call_id
    return record


def read_message(record: Mapping[str, Any]) -> Message:
    """The message of a record. Raises KeyError or TypeError where it is none."""
    return Message(
        record["role"],
        read_content(record.get("content") or ""),
        tuple(read_call(call) for call in record.get("tool_calls", ())),
        record.get("tool_call_id", ""),
    )


def call_record(call: ToolCall) -> Record:
    """A tool call; arguments that are no object stay the text they are."""
    given = call.arguments
    return {
        "id": call.id,
        "name": call.name,
        "arguments": given if isinstance(given, str) else dict(given),
    }


def read_call(record: Mapping[str, Any]) -> ToolCall:
    """The tool call of a record."""
    return ToolCall(record.get("id", ""), record["name"], record.get("arguments") or {})


def chunk_record(chunk: Chunk) -> Record:
    """A passage with its place."""
    return asdict(chunk)


def read_chunk(record: Mapping[str, Any]) -> Chunk:
    """The passage of a record."""
    known = {field.name for field in fields(Chunk)}
    return Chunk(**{name: value for name, value in record.items() if name in known})


def usage_record(usage: Usage) -> Record:
    """Tokens read and written."""
    return asdict(usage)


def content_record(content: Content) -> Any:
    """A text as it is; parts as a list, images as base64."""
    if isinstance(content, str):
        return content
    return [
        {"text": part.text}
        if isinstance(part, TextPart)
        else {"image": b64encode(part.data).decode(), "media_type": part.media_type}
        for part in content
    ]


def read_content(content: Any) -> Content:
    """The content of a record."""
    if isinstance(content, str):
        return content
    return tuple(
        ImagePart(b64decode(part["image"]), part.get("media_type", "image/png"))
        if "image" in part
        else TextPart(part.get("text", ""))
        for part in content
    )
