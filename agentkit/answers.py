"""The answer of a run, its citations and its verified sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Generic, Literal

from typing_extensions import TypeVar

from agentkit.documents import Chunk
from agentkit.messages import Message, ToolCall, Usage

Output = TypeVar("Output", covariant=True, default=object)
"""The type of an answer's output. Without it any answer fits, and `output` is an `object`."""

StopReason = Literal["stop", "length", "limit", "refused", "paused", "cancelled"]
"""Why an answer ended: complete, cut at the model's output limit, a limit of the run, no source
that supports an answer, a call that waits for approval, or the user."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A resolved marker of an answer.

    `quote` is a substring of the chunk that supports the claim, None where none does (then
    `supported` is False). `offset` is the quote's start in the chunk, for one that occurs more than
    once. `page` and `part` are the quote's own, None and "" where only the chunk's are known."""

    marker: str
    chunk: Chunk
    quote: str | None
    supported: bool
    offset: int | None = None
    page: int | None = None
    part: str = ""

    @property
    def place(self) -> str:
        """The place of the quote (else the chunk), for people."""
        return (
            replace(self.chunk, page=self.page, part=self.part).place
            if self.part
            else self.chunk.place
        )

    @property
    def start(self) -> int:
        """Start of the quote (else the chunk) in the document, in characters."""
        if not self.quote:
            return self.chunk.start
        at = self.chunk.text.index(self.quote) if self.offset is None else self.offset
        return self.chunk.start + at

    @property
    def end(self) -> int:
        """End of the quote (else the chunk) in the document, exclusive."""
        return self.start + len(self.quote if self.quote else self.chunk.text)


@dataclass(frozen=True, slots=True)
class Supported:
    """A verified claim of an answer: `answer.text[start:end] == text`.

    `markers` are its own, or those at the end of its paragraph where they support it. `score` is
    from 0 to 1; `reason` says why it is unsupported, which passage supports a sentence without a
    marker, and which of its markers refer to no passage.
    """

    text: str
    start: int
    end: int
    markers: tuple[str, ...]
    supported: bool
    score: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer(Generic[Output]):
    """The result of a run.

    `messages` are those that the run added to its session, `sentences` the verified claims of the
    text (none without passages), `report` why an answer cannot be used, `limit` the limit that
    ended the run, `waiting` the calls on which a paused run waits for decisions. `output` is the
    structured output that the run was asked for; None where it was not, and while the run is
    paused. `unresolved_markers` are the numbers of markers that refer to no passage, `left_out` the
    unsupported sentences that strict mode removed, at their places in the draft."""

    text: str
    citations: tuple[Citation, ...] = ()
    messages: tuple[Message, ...] = ()
    usage: Usage = Usage()
    stop_reason: StopReason = "stop"
    model: str = ""
    output: Output = None  # type: ignore[assignment]
    cost: float | None = None
    sentences: tuple[Supported, ...] = ()
    report: str = ""
    limit: str = ""
    waiting: tuple[ToolCall, ...] = ()
    unresolved_markers: tuple[str, ...] = ()
    left_out: tuple[Supported, ...] = ()

    @property
    def unsupported(self) -> tuple[Supported, ...]:
        """The unsupported claims."""
        return tuple(sentence for sentence in self.sentences if not sentence.supported)

    def runs(self) -> Iterator[tuple[str, bool]]:
        """The text in pieces, each with whether it is unsupported."""
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
