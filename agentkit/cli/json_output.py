"""Write hits, answers and events as JSON and JSON Lines, for programs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, fields
from typing import IO, Any

from agentkit.answers import Answer, Citation
from agentkit.documents import Hit
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
from agentkit.messages import ToolResult
from agentkit.text.hidden import escape_json

Record = dict[str, Any]


def hits_record(hits: Sequence[Hit]) -> list[Record]:
    return [
        {
            "source": hit.chunk.source,
            "title": hit.chunk.title,
            "heading": hit.chunk.heading,
            "page": hit.chunk.page,
            "part": hit.chunk.part,
            "start": hit.chunk.start,
            "end": hit.chunk.end,
            "score": hit.score,
            "text": hit.chunk.text,
        }
        for hit in hits
    ]


def answer_record(answer: Answer) -> Record:
    return {
        "answer": answer.text,
        "citations": [_citation_record(citation) for citation in answer.citations],
        "sentences": [asdict(sentence) for sentence in answer.sentences],
        "unresolved_markers": list(answer.unresolved_markers),
        "left_out": [asdict(sentence) for sentence in answer.left_out],
        "model": answer.model,
        "tool_calls": list(answer.tool_calls),
        "usage": {
            "input_tokens": answer.usage.input_tokens,
            "output_tokens": answer.usage.output_tokens,
            "estimated": answer.usage.estimated,
        },
        "cost": answer.cost,
        "stop_reason": answer.stop_reason,
    }


def _citation_record(citation: Citation) -> Record:
    return {
        "marker": citation.marker,
        "source": citation.chunk.source,
        "heading": citation.chunk.heading,
        "page": citation.page if citation.part else citation.chunk.page,
        "part": citation.part or citation.chunk.part,
        "start": citation.start,
        "end": citation.end,
        "quote": citation.quote,
        "supported": citation.supported,
    }


async def print_events(events: AsyncGenerator[Event, None], file: IO[str]) -> Answer:
    """Print a run as JSON Lines as it happens, and return its answer. Each line has its kind
    first; `finished` or `error` is the last."""
    async with aclosing(events) as stream:
        async for event in stream:
            print_record(event_record(event), file)
            if isinstance(event, Finished):
                return event.answer
    raise AssertionError("every run ends with Finished")


def print_record(record: Record, file: IO[str]) -> None:
    """Print one line and flush it."""
    line = escape_json(json.dumps(record, ensure_ascii=False, default=str))
    print(line, file=file, flush=True)


def event_record(event: Event) -> Record:
    """An event's kind and fields; those of its call instead of the call."""
    record: Record = {"event": _KINDS[type(event)]}
    if isinstance(event, Finished):
        return record | answer_record(event.answer)
    for field in fields(event):
        value = getattr(event, field.name)
        if field.name == "error":  # The result has its text.
            continue
        if field.name == "call":
            arguments = value.arguments
            arguments = arguments if isinstance(arguments, str) else dict(arguments)
            record |= {"id": value.id, "tool": value.name, "arguments": arguments}
        elif isinstance(event, Nested):
            record["inner"] = event_record(value)
        else:
            record[field.name] = value.prompt_text if isinstance(value, ToolResult) else value
    return record


_KINDS: dict[type[Event], str] = {
    TextDelta: "text",
    ReasoningDelta: "reasoning",
    Retried: "retried",
    Compacted: "compacted",
    Finished: "finished",
    ToolStarted: "tool_started",
    ToolProgress: "tool_progress",
    ToolFinished: "tool_finished",
    ToolDenied: "tool_denied",
    ApprovalRequested: "approval_requested",
    Nested: "nested",
}
