"""What a model reads and writes: messages, tool calls, token counts. Values only.

Messages and passages as plain JSON and back: what sessions and traces are made of.

Reading takes what any earlier version wrote: a key that is missing has its default, one that is
unknown is left out.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from agentkit.documents import Chunk

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class TextPart:
    """A text among the parts of a message."""

    text: str


@dataclass(frozen=True, slots=True)
class ImagePart:
    """An image among the parts of a message, as its bytes."""

    data: bytes
    media_type: str = "image/png"


Content = str | tuple[TextPart | ImagePart, ...]


def text_of(content: Content) -> str:
    """The text of a content, its images left out."""
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content if isinstance(part, TextPart))


def question_of(content: Content) -> str:
    """What is asked: a text, or the first text of several parts. The others go with it."""
    if isinstance(content, str):
        return content
    return next((part.text for part in content if isinstance(part, TextPart)), "")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that a model asks for. `arguments` is a mapping, or the model's own text where that
    text is no JSON object."""

    id: str
    name: str
    arguments: Mapping[str, Any] | str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. A tool's message carries the id of the call it answers."""

    role: Role
    content: Content = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""

    @property
    def text(self) -> str:
        """The text of the message, its images left out."""
        return text_of(self.content)

    @property
    def question(self) -> str:
        """What a user's message asks, without what goes with it."""
        return question_of(self.content)


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens read and written; `estimated` where the model did not say and we counted."""

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.estimated or other.estimated,
        )


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
