"""What a model reads and writes: messages, tool calls, token counts. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
