"""Put a streamed chat completion together: text at once, tool calls when they are whole.

Servers leave out the index or the id of a call, repeat its name, or send it whole: all are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from agentkit.backends.base import new_call_id, parse_arguments
from agentkit.events import ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import ToolCall, Usage

StopReason = Literal["stop", "length", "tool_calls", "refused"]

_STOP_REASONS: dict[str, StopReason] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "refused",
}


@dataclass(slots=True)
class _Call:
    """A tool call on its way, or a piece of one."""

    index: int | None
    id: str
    name: str
    arguments: str

    def ends_before(self, piece: _Call) -> bool:
        """Whether a piece with the same index, or with none, begins another call."""
        if not piece.name:
            return False
        if self.name not in ("", piece.name):
            return True
        if piece.index is None and self.id and piece.id and self.id != piece.id:
            return True
        return self._is_whole() and bool(piece.arguments.strip())

    def _is_whole(self) -> bool:
        return bool(self.arguments) and not isinstance(parse_arguments(self.arguments), str)


class Reply:
    """Takes a stream's chunks. After the last, `calls`, `usage` and `stop_reason` hold the rest;
    `finished` and `seen` say whether the server said that it was done, or anything at all."""

    def __init__(self) -> None:
        self._slots: list[_Call] = []
        self._finish = ""
        self._refused = False
        self.usage: Usage | None = None
        self.seen = False

    @property
    def finished(self) -> bool:
        return bool(self._finish)

    @property
    def calls(self) -> list[ToolCall]:
        return [
            ToolCall(slot.id or new_call_id(), slot.name, parse_arguments(slot.arguments))
            for slot in self._slots
        ]

    @property
    def stop_reason(self) -> StopReason:
        """Some servers say "stop" where they call a tool."""
        if self._refused:
            return "refused"
        ended = _STOP_REASONS.get(self._finish, "stop")
        return "tool_calls" if self._slots and ended == "stop" else ended

    def feed(self, chunk: Any) -> Iterator[ModelPart]:
        """The text and the thinking in a chunk."""
        self._count(getattr(chunk, "usage", None))
        choices = getattr(chunk, "choices", None)
        if isinstance(choices, list) and choices:
            self.seen = True
            self._finish = getattr(choices[0], "finish_reason", None) or self._finish
            yield from self._delta(getattr(choices[0], "delta", None))

    def _count(self, usage: Any) -> None:
        if usage is not None:
            read = getattr(usage, "prompt_tokens", None) or 0
            self.usage = Usage(read, getattr(usage, "completion_tokens", None) or 0)

    def _delta(self, delta: Any) -> Iterator[ModelPart]:
        extra = getattr(delta, "model_extra", None) or {}
        thought = extra.get("reasoning_content") or extra.get("reasoning")
        if thought and isinstance(thought, str):
            yield ReasoningDelta(thought)
        for field in ("content", "refusal"):
            text = getattr(delta, field, None)
            if text and isinstance(text, str):
                self._refused = self._refused or field == "refusal"
                yield TextDelta(text)
        for call in getattr(delta, "tool_calls", None) or []:
            self._call(call)

    def _call(self, call: Any) -> None:
        piece = _piece(call)
        slot = self._slot_of(piece)
        if slot is None or slot.ends_before(piece):
            self._slots.append(piece)
            return
        slot.id = slot.id or piece.id
        slot.name = slot.name or piece.name
        slot.arguments += piece.arguments

    def _slot_of(self, piece: _Call) -> _Call | None:
        """The call that a piece may belong to: by index, else by id, else the last one."""
        for slot in reversed(self._slots):
            if piece.index is not None:
                if slot.index == piece.index:
                    return slot
            elif piece.id and slot.id == piece.id:
                return slot
        return self._slots[-1] if self._slots and piece.index is None else None


def _piece(call: Any) -> _Call:
    function = getattr(call, "function", None)
    arguments = getattr(function, "arguments", None) or ""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    name = getattr(function, "name", None) or ""
    return _Call(getattr(call, "index", None), getattr(call, "id", None) or "", name, arguments)
