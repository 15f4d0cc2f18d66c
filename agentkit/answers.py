"""What an agent gives back: an answer, and the citations that prove it. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from agentkit.documents import Chunk
from agentkit.messages import Message, Usage

StopReason = Literal["stop", "length", "limit", "refused", "paused", "cancelled"]
"""Why an answer ended: finished, cut by the model's length, a limit of the run, no source that
supports an answer, a call that waits for the user's word, or the user."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A marker of an answer, resolved. `quote` is a substring of the chunk, or None where no
    sentence of it supports what is said; `supported` says whether one does."""

    marker: str
    chunk: Chunk
    quote: str | None
    supported: bool

    @property
    def start(self) -> int:
        """Where the quote (else the chunk) starts in the document, in characters."""
        return self.chunk.start + (self.chunk.text.index(self.quote) if self.quote else 0)

    @property
    def end(self) -> int:
        """Where the quote (else the chunk) ends in the document, exclusive."""
        return self.start + len(self.quote if self.quote else self.chunk.text)


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a run. `messages` are the ones that the run added to its session; `output` is
    the object that was asked for, if one was."""

    text: str
    citations: tuple[Citation, ...] = ()
    messages: tuple[Message, ...] = ()
    usage: Usage = Usage()
    stop_reason: StopReason = "stop"
    model: str = ""
    output: Any = None
    cost: float | None = None

    @property
    def tool_calls(self) -> tuple[str, ...]:
        """The names of the tools that the run called, in order."""
        return tuple(call.name for message in self.messages for call in message.tool_calls)

    def __str__(self) -> str:
        return self.text
