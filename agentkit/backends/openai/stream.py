"""Assemble a streamed chat completion: text at once, tool calls when they are complete.

Servers leave out the index or the id of a call, repeat its name, or send it whole: all are read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from agentkit.backends.base import new_call_id, parse_arguments
from agentkit.events import ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import ProviderData, ToolCall, Usage

_SENT_BACK = (
    "reasoning_content",
    "reasoning",
    "reasoning_details",
    "thinking_blocks",
    "extra_content",
)
"""Fields of a message that some provider wants back with it."""

StopReason = Literal["stop", "length", "tool_calls", "refused"]

_STOP_REASONS: dict[str, StopReason] = {
    "length": "length",
    "max_tokens": "length",
    "content_filter": "refused",
}


@dataclass(slots=True)
class _PartialCall:
    """A tool call being received, or one piece of it."""

    index: int | None
    id: str
    name: str
    arguments: str
    extra: dict[str, Any] = field(default_factory=dict)

    def ends_before(self, piece: _PartialCall) -> bool:
        """Whether a piece with the same index, or with none, begins another call."""
        if not piece.name:
            return False
        if self.name not in ("", piece.name):
            return True
        if piece.index is None and self.id and piece.id and self.id != piece.id:
            return True
        return self._is_complete() and bool(piece.arguments.strip())

    def _is_complete(self) -> bool:
        return bool(self.arguments) and not isinstance(parse_arguments(self.arguments), str)


class CompletionStream:
    """Takes the chunks of one completion. After the last, `calls`, `usage` and `stop_reason` hold
    what was not yielded; `is_finished` tells whether the server sent a finish reason, and
    `has_choices` whether it sent any choice. What goes back to the `provider` is in
    `provider_data`, and in that of each call."""

    def __init__(self, provider: str = "") -> None:
        self._provider = provider
        self._fields: dict[str, Any] = {}
        self._calls: list[_PartialCall] = []
        self._finish_reason = ""
        self._is_refused = False
        self._bytes = 0
        self.usage: Usage | None = None
        self.has_choices = False

    @property
    def is_finished(self) -> bool:
        return bool(self._finish_reason)

    @property
    def estimated_tokens(self) -> int:
        """An estimate of the tokens of text and thinking, for servers that count none."""
        return (self._bytes + 2) // 3

    @property
    def calls(self) -> list[ToolCall]:
        return [
            ToolCall(
                call.id or new_call_id(),
                call.name,
                parse_arguments(call.arguments),
                provider_data={self._provider: call.extra} if call.extra else None,
            )
            for call in self._calls
        ]

    @property
    def provider_data(self) -> ProviderData | None:
        return {self._provider: self._fields} if self._fields else None

    def keep(self, name: str, value: Any) -> None:
        """Keep a piece of a field that goes back to the provider."""
        self._fields[name] = _joined(self._fields.get(name), value)

    @property
    def stop_reason(self) -> StopReason:
        """Some servers send "stop" together with tool calls."""
        if self._is_refused:
            return "refused"
        reason = _STOP_REASONS.get(self._finish_reason, "stop")
        return "tool_calls" if self._calls and reason == "stop" else reason

    def feed(self, chunk: Any) -> Iterator[ModelPart]:
        """Yield the text and the thinking in a chunk."""
        if (usage := getattr(chunk, "usage", None)) is not None:
            read = getattr(usage, "prompt_tokens", None) or 0
            self.usage = Usage(read, getattr(usage, "completion_tokens", None) or 0)
        choices = getattr(chunk, "choices", None)
        if isinstance(choices, list) and choices:
            self.has_choices = True
            self._finish_reason = getattr(choices[0], "finish_reason", None) or self._finish_reason
            for part in self._feed_delta(getattr(choices[0], "delta", None)):
                self._bytes += len(part.text.encode("utf-8", "replace"))
                yield part

    def _feed_delta(self, delta: Any) -> Iterator[TextDelta | ReasoningDelta]:
        extra = getattr(delta, "model_extra", None) or {}
        for name in _SENT_BACK:
            if value := extra.get(name):
                self.keep(name, value)
        reasoning = extra.get("reasoning_content") or extra.get("reasoning")
        if reasoning and isinstance(reasoning, str):
            yield ReasoningDelta(reasoning)
        for name in ("content", "refusal"):
            text = getattr(delta, name, None)
            if text and isinstance(text, str):
                self._is_refused = self._is_refused or name == "refusal"
                yield TextDelta(text)
        for call in getattr(delta, "tool_calls", None) or []:
            self._feed_call(_read_piece(call))

    def _feed_call(self, piece: _PartialCall) -> None:
        call = self._find_call(piece)
        if call is None or call.ends_before(piece):
            self._calls.append(piece)
            return
        call.id = call.id or piece.id
        call.name = call.name or piece.name
        call.arguments += piece.arguments
        call.extra |= piece.extra

    def _find_call(self, piece: _PartialCall) -> _PartialCall | None:
        """Find the call that a piece may belong to: by index, else by id, else the last one."""
        for call in reversed(self._calls):
            if piece.index is not None:
                if call.index == piece.index:
                    return call
            elif piece.id and call.id == piece.id:
                return call
        return self._calls[-1] if self._calls and piece.index is None else None


def _read_piece(call: Any) -> _PartialCall:
    function = getattr(call, "function", None)
    arguments = getattr(function, "arguments", None) or ""
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments)
    name = getattr(function, "name", None) or ""
    call_id = getattr(call, "id", None) or ""
    extra = getattr(call, "model_extra", None) or {}
    extra = {key: value for key, value in extra.items() if value is not None}
    return _PartialCall(getattr(call, "index", None), call_id, name, arguments, extra)


def _joined(kept: Any, piece: Any) -> Any:
    """Join two pieces of a field: texts are appended, objects with one index merged."""
    if isinstance(kept, str) and isinstance(piece, str):
        return kept + piece
    if isinstance(kept, list) and isinstance(piece, list):
        return _joined_items(kept, piece)
    return piece


def _joined_items(kept: list[Any], piece: list[Any]) -> list[Any]:
    items = list(kept)
    for item in piece:
        if items and _continues(items[-1], item):
            items[-1] = _joined_item(items[-1], item)
        else:
            items.append(item)
    return items


def _joined_item(last: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    joined = {**last, **{key: value for key, value in item.items() if value is not None}}
    for key in ("text", "summary", "thinking"):
        if isinstance(text := last.get(key), str):
            joined[key] = text + (item.get(key) or "")
    return joined


def _continues(last: Any, item: Any) -> bool:
    """Whether an item of a stream is a further piece of the last one."""
    if not isinstance(last, dict) or not isinstance(item, dict) or last.get("signature"):
        return False
    kind = item.get("type") or last.get("type") or ""
    is_whole = "encrypted" in kind or "redacted" in kind
    is_same = (last.get("type") or kind) == kind and last.get("index") == item.get("index")
    return is_same and not is_whole
