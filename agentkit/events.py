"""What happens in a run, as facts. Rendering, sessions, traces and pages all read this stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from agentkit.answers import Answer
from agentkit.messages import ToolCall, ToolResult, Usage


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of what a model thinks before it answers; never part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end of one model request: why it stopped, and which model gave it."""

    stop_reason: Literal["stop", "length", "tool_calls", "refused"]
    model: str


@dataclass(frozen=True, slots=True)
class Retried:
    """A request failed and is sent again after `delay` seconds."""

    reason: str
    delay: float


ModelPart = TextDelta | ReasoningDelta | ToolCall | Usage | Retried | Done
"""What a backend's stream yields: any Retried first, at most one Usage, exactly one Done, last."""


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool is about to run."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """A running tool says how far it is; `fraction` from 0 to 1 where it knows."""

    call: ToolCall
    message: str
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool gave its result, or failed: then its content is the error's text."""

    call: ToolCall
    result: ToolResult
    seconds: float
    failed: bool = False


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """A tool that needs approval waits for the user's word."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolDenied:
    """The user said no; the model is told."""

    call: ToolCall
    reason: str


@dataclass(frozen=True, slots=True)
class Compacted:
    """Old turns were shortened to fit the model's window."""

    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True)
class Nested:
    """What happens in another agent's run, inside a call."""

    call: ToolCall
    event: Event


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every run."""

    answer: Answer


Event = (
    TextDelta
    | ReasoningDelta
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | ApprovalRequested
    | ToolDenied
    | Retried
    | Compacted
    | Nested
    | Finished
)
