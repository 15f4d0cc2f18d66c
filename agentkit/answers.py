"""What an agent gives back: an answer, and the citations that prove it. Values only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from agentkit.documents import Chunk
from agentkit.messages import Message, Usage

StopReason = Literal["stop", "length", "limit", "refused", "paused", "cancelled"]
"""Why an answer ended: finished, cut by the model's length, a limit of the run, no source that
supports an answer, a call that waits for the user's word, or the user."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A marker of an answer, resolved. `quote` is a substring of the chunk, or None where no
    sentence of it supports what is said; `supported` says whether one does; `offset` is where
    the quote starts in the chunk, for one that stands there more than once. `page` and `part` are
    the quote's own, None and "" where they are not known apart from the chunk's."""

    marker: str
    chunk: Chunk
    quote: str | None
    supported: bool
    offset: int | None = None
    page: int | None = None
    part: str = ""

    @property
    def place(self) -> str:
        """Where the quote (else the chunk) stands, for people."""
        return (
            replace(self.chunk, page=self.page, part=self.part).place
            if self.part
            else (self.chunk.place)
        )

    @property
    def start(self) -> int:
        """Where the quote (else the chunk) starts in the document, in characters."""
        if not self.quote:
            return self.chunk.start
        at = self.chunk.text.index(self.quote) if self.offset is None else self.offset
        return self.chunk.start + at

    @property
    def end(self) -> int:
        """Where the quote (else the chunk) ends in the document, exclusive."""
        return self.start + len(self.quote if self.quote else self.chunk.text)


@dataclass(frozen=True, slots=True)
class Supported:
    """A sentence of an answer that claims something: `answer.text[start:end] == text`.

    `markers` are the numbers it was judged by, its own or those that close its paragraph.
    `score` is from 0 to 1; `reason` says what is wrong, or where a sentence without a marker has
    its support.
    """

    text: str
    start: int
    end: int
    markers: tuple[str, ...]
    supported: bool
    score: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """The end of a run. `messages` are the ones that the run added to its session; `sentences`
    the claims of the text, judged, where there were passages to judge them by; `output` is the
    object that was asked for, if one was; `report` says why an answer cannot be used."""

    text: str
    citations: tuple[Citation, ...] = ()
    messages: tuple[Message, ...] = ()
    usage: Usage = Usage()
    stop_reason: StopReason = "stop"
    model: str = ""
    output: Any = None
    cost: float | None = None
    sentences: tuple[Supported, ...] = ()
    report: str = ""

    @property
    def unsupported(self) -> tuple[Supported, ...]:
        """The sentences that nothing supports."""
        return tuple(sentence for sentence in self.sentences if not sentence.supported)

    def runs(self) -> Iterator[tuple[str, bool]]:
        """The text in pieces, each with whether nothing supports it; joined they are the text."""
        reached = 0
        for sentence in self.unsupported:
            if reached < sentence.start:
                yield self.text[reached : sentence.start], False
            yield self.text[sentence.start : sentence.end], True
            reached = sentence.end
        if reached < len(self.text):
            yield self.text[reached:], False

    @property
    def tool_calls(self) -> tuple[str, ...]:
        """The names of the tools that the run called, in order."""
        return tuple(call.name for message in self.messages for call in message.tool_calls)

    def __str__(self) -> str:
        return self.text
