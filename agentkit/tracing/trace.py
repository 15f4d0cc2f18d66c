"""What happened in a run, as records: each request to the model, its reply, each tool, the end.

A request's record holds only the messages that the one before it had not, so that a long run's
trace grows with its length. Nothing leaves the machine: a sink decides where records go.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from agentkit.answers import Answer
from agentkit.backends.base import Capabilities, Model, Options
from agentkit.events import (
    Compacted,
    Done,
    Event,
    Finished,
    ModelPart,
    Nested,
    ReasoningDelta,
    Retried,
    TextDelta,
    ToolDenied,
    ToolFinished,
)
from agentkit.messages import (
    Message,
    Record,
    ToolCall,
    Usage,
    call_record,
    message_record,
    usage_record,
)
from agentkit.tools.tool import Tool


class Sink(Protocol):
    """Where the records of one run go, in order; `close` comes last, however the run ends."""

    def write(self, record: Record) -> None: ...

    def close(self) -> None: ...


OpenSink = Callable[[str], Sink]
"""A run's id in, its sink out."""


class Tracing:
    """Begins traces. Give it to an Agent."""

    def __init__(self, *sinks: OpenSink) -> None:
        self._sinks = sinks

    def begin(self, prompt: str, session: str, model: Model, tools: Sequence[Tool]) -> Trace:
        """The trace of a run that begins now."""
        run_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        trace = Trace([open_sink(run_id) for open_sink in self._sinks])
        trace.write(
            "run",
            id=run_id,
            session=session,
            prompt=prompt,
            model=model.name,
            tools=[tool.name for tool in tools],
        )
        return trace


class Trace:
    """The trace of one run."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks
        self._sent: tuple[Message, ...] = ()
        self._requests = 0

    def write(self, kind: str, **values: object) -> None:
        """One record, with the time."""
        record: Record = {"kind": kind, "at": datetime.now(UTC).isoformat(), **values}
        for sink in self._sinks:
            sink.write(record)

    def event(self, event: Event) -> None:
        """What an event says that requests and replies do not."""
        if not self._sinks:
            return
        match event:
            case ToolFinished(call, result, seconds, failed):
                told = {
                    "result": result.prompt_text,
                    "seconds": round(seconds, 6),
                    "failed": failed,
                }
                self.write("tool", **call_record(call), **told)
            case ToolDenied(call, reason):
                self.write("denied", **call_record(call), reason=reason)
            case Retried(reason, delay):
                self.write("retried", reason=reason, delay=delay)
            case Compacted(before, after):
                self.write("compacted", before=before, after=after)
            case Nested(call, ToolFinished() as inner):
                self.write("nested", call=call.id, tool=inner.call.name, failed=inner.failed)
            case Finished(answer):
                self._end(answer)

    def request(self, messages: Sequence[Message], tools: Sequence[Tool], options: Options) -> int:
        """A request to the model goes out. Gives its number."""
        self._requests += 1
        kept = _shared(self._sent, messages)
        self._sent = tuple(messages)
        self.write(
            "request",
            number=self._requests,
            kept=kept,
            messages=[message_record(message) for message in messages[kept:]],
            tools=[tool.name for tool in tools],
            options={name: value for name, value in asdict(options).items() if value},
        )
        return self._requests

    def close(self) -> None:
        """The run is over."""
        for sink in self._sinks:
            sink.close()

    def _end(self, answer: Answer) -> None:
        self.write(
            "end",
            text=answer.text,
            stop_reason=answer.stop_reason,
            usage=usage_record(answer.usage),
            cost=answer.cost,
            citations=[
                {"marker": c.marker, "place": c.place, "supported": c.supported}
                for c in answer.citations
            ],
        )


@dataclass
class Reply:
    """What a model answers, gathered."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[Record] = field(default_factory=list)
    usage: Record = field(default_factory=dict)
    stop_reason: str = ""
    model: str = ""
    first: float | None = None

    def note(self, part: ModelPart, seconds: float) -> None:
        """One more part."""
        if self.first is None:
            self.first = round(seconds, 6)
        match part:
            case TextDelta(text):
                self.text.append(text)
            case ReasoningDelta(text):
                self.reasoning.append(text)
            case ToolCall():
                self.calls.append(call_record(part))
            case Usage():
                self.usage = usage_record(part)
            case Done(stop_reason, model):
                self.stop_reason, self.model = stop_reason, model

    def record(self) -> Record:
        """Whole, as plain values."""
        whole = {"text": "".join(self.text), "reasoning": "".join(self.reasoning)}
        return {**asdict(self), **whole}


class TracedModel(Model):
    """A model whose requests and replies are written to a trace; else it is the model."""

    def __init__(self, model: Model, trace: Trace) -> None:
        self._model = model
        self._trace = trace

    @property
    def name(self) -> str:
        return self._model.name

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        number = self._trace.request(messages, tools, options)
        reply, began, error = Reply(), time.perf_counter(), ""
        try:
            async with aclosing(self._model.stream(messages, tools, options)) as parts:
                async for part in parts:
                    reply.note(part, time.perf_counter() - began)
                    yield part
        except Exception as fault:
            error = f"{type(fault).__name__}: {fault}"
            raise
        finally:
            seconds = round(time.perf_counter() - began, 6)
            self._trace.write(
                "reply", number=number, seconds=seconds, error=error, **reply.record()
            )

    async def context_window(self) -> int | None:
        return await self._model.context_window()

    def count_tokens(self, text: str) -> int:
        return self._model.count_tokens(text)

    async def capabilities(self) -> Capabilities:
        return await self._model.capabilities()

    async def close(self) -> None:
        await self._model.close()


def _shared(before: Sequence[Message], now: Sequence[Message]) -> int:
    """How many messages both begin with. They are mostly the very same objects."""
    at = 0
    for one, other in zip(before, now, strict=False):
        if one is not other and one != other:
            break
        at += 1
    return at
