"""Messages, tool calls, tool results and token usage: what a model reads and writes.

`message_record` and its relatives turn them into plain JSON and back, for sessions and traces.
"""

from __future__ import annotations

import html
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from agentkit.documents import Chunk, Passage
from agentkit.tags import neutralize_tags

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

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        """How pydantic reads an image of a record."""
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(_read_image)


_IMAGE_STARTS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}


def image_part(data: bytes) -> ImagePart | None:
    """The image that a file is, by its first bytes; None for a file that models cannot see."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ImagePart(data, "image/webp")
    kind = next((kind for start, kind in _IMAGE_STARTS.items() if data.startswith(start)), "")
    return ImagePart(data, kind) if kind else None


Content = str | tuple[TextPart | ImagePart, ...]


def text_of(content: Content) -> str:
    """The text of a content, without images."""
    if isinstance(content, str):
        return content
    return "".join(part.text for part in content if isinstance(part, TextPart))


def render_passages(passages: Iterable[Passage]) -> str:
    """Passages as a model reads them, each in a `<passage>` tag that names its marker, place and
    relevance; one that stands above already is a reference. What a passage says cannot end its
    tag."""
    return "\n".join(map(_render_passage, passages))


def _render_passage(passage: Passage) -> str:
    chunk = passage.chunk
    if passage.above:
        is_same = passage.above == passage.marker
        text = f"[{passage.above}] shown above: {chunk.place}"
        text = text if is_same else f"[{passage.marker}] is part of {text}"
        return f'<passage id="{passage.marker}">{_contained(text)}</passage>'
    attributes = {"id": passage.marker, "source": chunk.source, "heading": chunk.heading}
    if chunk.page is not None and not chunk.part:
        attributes["page"] = str(chunk.page)
    attributes |= {"part": chunk.part, "context": chunk.context}
    if passage.relevance is not None:
        attributes["relevance"] = f"{passage.relevance:.2f}"
    written = " ".join(
        f'{name}="{html.escape(value.replace(_NEWLINE, " "))}"'
        for name, value in attributes.items()
        if value or name in ("id", "source")
    )
    return f"<passage {written}>\n{neutralize_tags(chunk.text, _TAG)}\n</passage>"


def _contained(text: str) -> str:
    """A line that cannot end its tag."""
    return neutralize_tags(text.replace(_NEWLINE, " "), _TAG)


_NEWLINE = "\n"
_TAG = "passage"


def _with_passages(content: Content, passages: Sequence[Passage]) -> Content:
    """A content followed by passages as text."""
    if not passages:
        return content
    rendered = render_passages(passages)
    if isinstance(content, str):
        return f"{content}\n{rendered}" if content else rendered
    return (*content, TextPart(f"\n{rendered}"))


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returns: content and passages for the model, which an answer can cite, and
    `structured`, the same for programs: a pydantic model, or the JSON object of an MCP server."""

    content: Content = ""
    passages: tuple[Passage, ...] = ()
    structured: Any = None

    @property
    def text(self) -> str:
        """The text of the content, without images and passages."""
        return text_of(self.content)

    @property
    def prompt_content(self) -> Content:
        """The content as a model reads it: followed by the passages."""
        return _with_passages(self.content, self.passages)

    @property
    def prompt_text(self) -> str:
        """The text of `prompt_content`."""
        return text_of(self.prompt_content)


ProviderData = Mapping[str, Mapping[str, Any]]
"""Fields of a reply that its provider wants back unchanged, such as its reasoning or a signature,
by provider. They go back to that provider alone."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool call of a model. `arguments` is a mapping, or the model's text if that is not a JSON
    object. `agents` is the path of a call that waits inside sub-agents: the names of their tools,
    the outermost first. `provider_data` is what the model's provider wants back with the call, as
    in a message."""

    id: str
    name: str
    arguments: Mapping[str, Any] | str
    agents: tuple[str, ...] = ()
    provider_data: ProviderData | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation. A tool's message has the id of the call that it answers.
    `passages` are what an answer can cite: those a tool found, or a user attached. `failed` marks
    the message of a call that failed, was denied or did not run. `provider_data` is what the
    provider of an assistant's message wants back with it. `marker` is that of a tool's result that
    an answer can cite as a whole, such as "t1"."""

    role: Role
    content: Content = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    passages: tuple[Passage, ...] = ()
    failed: bool = False
    provider_data: ProviderData | None = None
    marker: str = ""

    @property
    def text(self) -> str:
        """The text of the content, without images and passages."""
        return text_of(self.content)

    @property
    def prompt_content(self) -> Content:
        """The content as a model reads it: behind its marker, followed by the passages."""
        content = _with_passages(self.content, self.passages)
        if not self.marker:
            return content
        marker = f"[{self.marker}] "
        return f"{marker}{content}" if isinstance(content, str) else (TextPart(marker), *content)

    @property
    def prompt_text(self) -> str:
        """The text of `prompt_content`."""
        return text_of(self.prompt_content)


@dataclass(frozen=True, slots=True)
class Usage:
    """Input and output tokens; `estimated` where the server did not report them. In the usage of a
    run, `requests` to models and `tool_calls` that ran, those of sub-agents included."""

    input_tokens: int = 0
    output_tokens: int = 0
    estimated: bool = False
    requests: int = 0
    tool_calls: int = 0

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.estimated or other.estimated,
            self.requests + other.requests,
            self.tool_calls + other.tool_calls,
        )

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.input_tokens - other.input_tokens,
            self.output_tokens - other.output_tokens,
            self.estimated,
            self.requests - other.requests,
            self.tool_calls - other.tool_calls,
        )


Record = dict[str, Any]


def message_record(message: Message) -> Record:
    """A message as JSON, images as base64; empty fields are omitted."""
    record: Record = {"role": message.role, "content": content_record(message.content)}
    if message.tool_calls:
        record["tool_calls"] = [call_record(call) for call in message.tool_calls]
    if message.tool_call_id:
        record["tool_call_id"] = message.tool_call_id
    if message.passages:
        record["passages"] = [asdict(passage) for passage in message.passages]
    if message.failed:
        record["failed"] = True
    if message.marker:
        record["marker"] = message.marker
    if message.provider_data:
        record["provider_data"] = dict(message.provider_data)
    return record


def read_message(record: Mapping[str, Any]) -> Message:
    """Read a message. Raises KeyError or TypeError for an invalid record."""
    return Message(
        record["role"],
        read_content(record.get("content") or ""),
        tuple(read_call(call) for call in record.get("tool_calls", ())),
        record.get("tool_call_id", ""),
        tuple(_read_passage(passage) for passage in record.get("passages", ())),
        record.get("failed", False),
        record.get("provider_data"),
        record.get("marker", ""),
    )


def _read_passage(record: Mapping[str, Any]) -> Passage:
    chunk, relevance = read_chunk(record["chunk"]), record.get("relevance")
    return Passage(record["marker"], chunk, relevance, record.get("above", ""))


def call_record(call: ToolCall) -> Record:
    """A tool call as JSON; arguments that are not an object stay text."""
    given = call.arguments
    record: Record = {
        "id": call.id,
        "name": call.name,
        "arguments": given if isinstance(given, str) else dict(given),
    }
    return record | ({"provider_data": dict(call.provider_data)} if call.provider_data else {})


def read_call(record: Mapping[str, Any]) -> ToolCall:
    """Read a tool call."""
    return ToolCall(
        record.get("id", ""),
        record["name"],
        record.get("arguments") or {},
        provider_data=record.get("provider_data"),
    )


def read_chunk(record: Mapping[str, Any]) -> Chunk:
    """Read a chunk; unknown fields are ignored."""
    known = {field.name for field in fields(Chunk)}
    return Chunk(**{name: value for name, value in record.items() if name in known})


def content_record(content: Content) -> Any:
    """Content as JSON: text, or a list of parts with images as base64."""
    if isinstance(content, str):
        return content
    return [
        {"text": part.text}
        if isinstance(part, TextPart)
        else {"image": b64encode(part.data).decode(), "media_type": part.media_type}
        for part in content
    ]


def read_content(content: Any) -> Content:
    """Read content."""
    if isinstance(content, str):
        return content
    return tuple(
        _read_image(part) if "image" in part else TextPart(part.get("text", "")) for part in content
    )


def _read_image(part: Any) -> ImagePart:
    """Read an image. Raises ValueError for what is none."""
    if isinstance(part, ImagePart):
        return part
    if not isinstance(part, Mapping) or not isinstance(part.get("image"), str):
        raise ValueError("not an image")
    return ImagePart(b64decode(part["image"]), str(part.get("media_type", "image/png")))
