"""The events of a run, and the parts of a model's reply."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Generic, Literal, TypeAlias

from pydantic import InstanceOf, PlainSerializer
from typing_extensions import TypeVar

from agentkit.answers import Answer, Output
from agentkit.messages import ProviderData, ToolCall, ToolResult, Usage


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of the model's reasoning, which is not part of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a model's reply: the stop reason, the model's name, and what the provider wants
    back with the message."""

    stop_reason: Literal["stop", "length", "tool_calls", "refused"]
    model: str
    provider_data: ProviderData | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Retried:
    """A request failed and is retried after `delay` seconds."""

    reason: str
    delay: float


ModelPart = TextDelta | ReasoningDelta | ToolCall | Usage | Retried | Done
"""What a backend's stream yields: any Retried first, at most one Usage, and one Done at the end."""


_ERROR_TEXT = PlainSerializer(lambda error: f"{type(error).__name__}: {error}", return_type=str)
"""Writes an exception as text where events are dumped as JSON."""


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool is about to run."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolProgress:
    """Progress of a running tool; `fraction` from 0 to 1 where it is known."""

    call: ToolCall
    message: str
    fraction: float | None = None


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool gave its result, or failed: then its content is the error's text, and `error` the
    exception that it raised, or a ToolError where it did not run or was stopped."""

    call: ToolCall
    result: ToolResult
    seconds: float
    failed: bool = False
    error: Annotated[BaseException, InstanceOf, _ERROR_TEXT] | None = None


@dataclass(frozen=True, slots=True)
class ApprovalRequested:
    """A tool call waits for approval."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolDenied:
    """A tool call was denied; the model gets the reason."""

    call: ToolCall
    reason: str


@dataclass(frozen=True, slots=True)
class Compacted:
    """Old turns were shortened to fit the model's context window."""

    tokens_before: int
    tokens_after: int


@dataclass(frozen=True, slots=True)
class Nested:
    """An event of a sub-agent's run, inside a call."""

    call: ToolCall
    event: Event


@dataclass(frozen=True, slots=True)
class Finished(Generic[Output]):
    """The last event of every run."""

    answer: Answer[Output]


AnyOutput = TypeVar("AnyOutput", default=object)

Event: TypeAlias = (
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
    | Finished[AnyOutput]
)
"""What `Agent.stream` yields; the last one is Finished. `TypeAdapter(Event).dump_json(event)`
writes one as JSON, without the name of its type."""
