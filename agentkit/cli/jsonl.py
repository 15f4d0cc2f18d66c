"""Events as JSON Lines, for programs: one object a line, its kind first, and `finished` or `error`
last."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import IO, Any

from agentkit.answers import Answer
from agentkit.cli.output import answer_as_json
from agentkit.events import (
    ApprovalRequested,
    Compacted,
    Event,
    Finished,
    Nested,
    ReasoningDelta,
    Retried,
    TextDelta,
    ToolDenied,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.messages import ToolCall

Record = dict[str, Any]
CallEvent = ToolStarted | ToolProgress | ToolFinished | ToolDenied | ApprovalRequested | Nested


async def print_events(events: AsyncGenerator[Event, None], file: IO[str]) -> Answer:
    """Print a run as it happens, and return its answer."""
    async with aclosing(events) as stream:
        async for event in stream:
            print_record(event_record(event), file)
            if isinstance(event, Finished):
                return event.answer
    raise AssertionError("every run ends with Finished")


def print_record(record: Record, file: IO[str]) -> None:
    """One line, at once."""
    print(json.dumps(record, ensure_ascii=False, default=str), file=file, flush=True)


def event_record(event: Event) -> Record:
    """An event as plain values."""
    match event:
        case TextDelta(text):
            return {"event": "text", "text": text}
        case ReasoningDelta(text):
            return {"event": "reasoning", "text": text}
        case Retried(reason, delay):
            return {"event": "retried", "reason": reason, "delay": delay}
        case Compacted(before, after):
            return {"event": "compacted", "tokens_before": before, "tokens_after": after}
        case Finished(answer):
            return {"event": "finished", **answer_as_json(answer)}
        case _:
            return _call_record(event)


def _call_record(event: CallEvent) -> Record:
    match event:
        case ToolStarted(call):
            return _about("tool_started", call)
        case ToolProgress(call, message, fraction):
            return _about("tool_progress", call, message=message, fraction=fraction)
        case ToolFinished(call, result, seconds, failed):
            return _about(
                "tool_finished", call, result=result.prompt_text, seconds=seconds, failed=failed
            )
        case ToolDenied(call, reason):
            return _about("tool_denied", call, reason=reason)
        case ApprovalRequested(call):
            return _about("approval_requested", call)
        case Nested(call, inner):
            return _about("nested", call, inner=event_record(inner))


def _about(kind: str, call: ToolCall, **more: Any) -> Record:
    given = call.arguments
    arguments = given if isinstance(given, str) else dict(given)
    return {"event": kind, "id": call.id, "tool": call.name, "arguments": arguments, **more}
