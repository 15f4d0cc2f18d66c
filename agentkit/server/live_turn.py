"""The turn that a run is answering: built up from the run's events, which become those of the page.

The state is the whole turn so far, so that a page that is reloaded gets all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from agentkit.agent.approval import Verdict
from agentkit.agent.tool_runner import NOT_ALLOWED
from agentkit.events import (
    ApprovalRequested,
    Event,
    Nested,
    ReasoningDelta,
    Retried,
    TextDelta,
    ToolDenied,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.messages import Record, ToolCall
from agentkit.server.turns import (
    CallRecord,
    SourcePassage,
    Turn,
    call_record,
    record_of,
    shortened,
)

MOST_TEXT = 2_000_000
"""Characters of one answer; a model that never ends is stopped there."""

MOST_REASONING = 100_000
"""Characters of a model's reasoning that are kept with the turn."""

PageEvent = tuple[str, Record]
"""The kind of an event of the page, and its data."""

SchemaOf = Callable[[str], Mapping[str, Any] | None]
"""The JSON Schema of a tool's arguments by the tool's name, None for an unknown tool."""


class EndlessAnswer(Exception):
    """An answer that is longer than MOST_TEXT."""


class LiveTurn:
    """A turn that grows by the events of its run. `before` is the turn where a paused run goes on,
    or the question alone."""

    def __init__(self, before: Turn, schema_of: SchemaOf) -> None:
        self._turn = before
        self._schema_of = schema_of
        self._text = [before.text] if before.text else []
        self._reasoning = [before.reasoning] if before.reasoning else []
        self._size = len(before.text)
        self._reasoning_size = len(before.reasoning)
        self.calls: dict[str, CallRecord] = {}
        self._undecided: dict[str, CallRecord] = {}
        self._passages: dict[str, SourcePassage] = {p.marker: p for p in before.passages}
        for call in before.tools:
            self._store(call)

    @property
    def index(self) -> int:
        return self._turn.index

    @property
    def reasoning(self) -> str:
        return "".join(self._reasoning)

    def turn(self) -> Turn:
        """The turn so far."""
        return self._turn.model_copy(
            update={
                "text": "".join(self._text),
                "reasoning": self.reasoning,
                "tools": list(self.calls.values()),
                "passages": list(self._passages.values()),
            }
        )

    def record(self) -> Record:
        """The turn so far as JSON values."""
        return self.turn().record()

    def apply(self, event: Event) -> Iterator[PageEvent]:
        """Take an event of the run, and give those for the page. Raises EndlessAnswer."""
        match event:
            case TextDelta(text):
                yield from self._add_text(text)
            case ReasoningDelta(text):
                yield from self._add_reasoning(text)
            case Retried() if self._text:
                self._text.clear()
                yield "turn", self.record()
            case _:
                yield from self._apply_to_call(event, "")

    def decided(self, call_id: str, verdict: Verdict) -> PageEvent:
        """Show the decision on a call that waits."""
        self._undecided[call_id] = self.calls[call_id]
        changes: Record = (
            {"state": "running"} if verdict.allowed else {"state": "denied", "ok": False}
        )
        if verdict.arguments is not None:
            changes["arguments"] = dict(verdict.arguments)
        return self._update(call_id, **changes)

    def ask_again(self) -> None:
        """Have the calls wait again whose decisions could not be taken."""
        self.calls |= self._undecided

    def _add_text(self, text: str) -> Iterator[PageEvent]:
        self._size += len(text)
        if self._size > MOST_TEXT:
            raise EndlessAnswer
        self._text.append(text)
        yield "text", {"delta": text}

    def _add_reasoning(self, text: str) -> Iterator[PageEvent]:
        if self._reasoning_size <= MOST_REASONING:
            self._reasoning_size += len(text)
            self._reasoning.append(text)
            yield "reasoning", {"delta": text}

    def _apply_to_call(self, event: Event, outer: str) -> Iterator[PageEvent]:
        """Events of a call, and of the calls of sub-agents, whose ids begin with the outer ones."""
        match event:
            case Nested(call, inner):
                yield from self._apply_to_call(inner, f"{outer}{call.id}/")
            case ApprovalRequested(call):
                yield self._begin(
                    call, outer, state="waiting", parameters=self._schema(call, outer)
                )
            case ToolStarted(call):
                yield self._begin(call, outer, state="running")
            case ToolProgress(call, message, fraction):
                share = "" if fraction is None else f" ({fraction:.0%})"
                yield self._update(outer + call.id, progress=f"{message}{share}".strip())
            case ToolDenied(call, reason):
                yield self._begin(call, outer, state="denied", ok=False, result=_reason(reason))
            case ToolFinished():
                yield from self._finish(event, outer)

    def _finish(self, event: ToolFinished, outer: str) -> Iterator[PageEvent]:
        found = event.result.passages if not outer else ()
        yield self._begin(
            event.call,
            outer,
            state="failed" if event.failed else "done",
            ok=not event.failed,
            result=shortened(event.result.text),
            seconds=round(event.seconds, 3),
            passages=[passage.marker for passage in found],
            progress="",
        )
        new = [record_of(p) for p in found if p.marker not in self._passages]
        if new:
            yield from self._show(new)

    def _show(self, new: Iterable[SourcePassage]) -> Iterator[PageEvent]:
        self._passages |= {passage.marker: passage for passage in new}
        yield "passages", {"passages": [passage.model_dump(mode="json") for passage in new]}

    def _schema(self, call: ToolCall, outer: str) -> dict[str, Any] | None:
        schema = None if outer else self._schema_of(call.name)
        return None if schema is None else dict(schema)

    def _begin(self, call: ToolCall, outer: str, **changes: Any) -> PageEvent:
        """Take the call, whose arguments may have been changed since, and its new state."""
        record = call_record(call)
        key = outer + call.id
        known = self.calls.get(key, record.model_copy(update={"id": key}))
        self.calls[key] = known.model_copy(update={"arguments": record.arguments})
        return self._update(key, **changes)

    def _update(self, key: str, **changes: Any) -> PageEvent:
        if changes.get("state", "waiting") != "waiting":
            changes.setdefault("parameters", None)
        if key in self.calls:
            self.calls[key] = self.calls[key].model_copy(update=changes)
            return "tool", self.calls[key].model_dump(mode="json", by_alias=True)
        return "tool", {"id": key, **changes}

    def _store(self, call: CallRecord) -> None:
        if call.state == "waiting" and "/" not in call.id:
            schema = self._schema_of(call.name)
            call = call.model_copy(update={"parameters": schema and dict(schema)})
        self.calls[call.id] = call


def _reason(reason: str) -> str:
    """Why a call was denied, for people: what is written for the model is left out."""
    return reason.removeprefix(NOT_ALLOWED).removeprefix(" Reason:").strip() or "Denied."
