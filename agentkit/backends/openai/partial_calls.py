"""Assemble the tool calls of a streamed completion from their pieces.

A piece belongs to the call with its id, else to the last call with its index, else to the last
call. Index and id are labels that servers leave out, repeat for other calls, or change within one:
the name and whether the arguments are complete decide where a call ends.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentkit.backends.base import parse_arguments

_KNOWN = ("index", "id", "type", "function", "name", "arguments", "parameters")


@dataclass(slots=True)
class PartialCall:
    """A tool call being received, or one piece of it. `extra` are the fields beside these."""

    index: int | None
    id: str
    name: str
    arguments: str
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def parsed_arguments(self) -> Mapping[str, Any] | str:
        """The arguments, as text where they are not a JSON object. An empty object before the
        arguments is a placeholder that some servers do not take back."""
        text = self.arguments
        if text.startswith("{}{"):
            text = text[2:]
        return {} if text.strip() in ("", "null") else parse_arguments(text)

    @property
    def is_complete(self) -> bool:
        return bool(self.arguments.strip()) and not isinstance(self.parsed_arguments, str)


class PartialCalls:
    """The calls of one completion. `names` are the tools that the model can call."""

    def __init__(self, names: Collection[str] = ()) -> None:
        self._names = names
        self._calls: list[PartialCall] = []

    def complete(self) -> list[PartialCall]:
        """The calls received, without placeholders."""
        return [call for call in self._calls if call.name or call.arguments.strip()]

    def feed(self, deltas: Sequence[Any]) -> None:
        """Take the pieces of one chunk."""
        seen: list[PartialCall] = []
        for delta in deltas:
            if not isinstance(delta, Mapping):
                continue
            piece = _read_piece(delta)
            call = self._find(piece)
            twice = bool(piece.name) and any(call is one for one in seen)
            if call is None or twice or self._begins_another(call, piece):
                self._calls.append(call := piece)
            else:
                self._extend(call, piece)
            seen.append(call)

    def _find(self, piece: PartialCall) -> PartialCall | None:
        """The call that a piece may belong to."""
        calls = self._calls[::-1]
        if piece.id:
            for call in calls:
                same_place = not piece.name or None in (piece.index, call.index)
                if call.id == piece.id and (same_place or call.index == piece.index):
                    return call
        if piece.index is not None:
            for call in calls:
                if call.index == piece.index:
                    return call
            if piece.name or not calls or (piece.id and calls[0].id):
                return None
        return calls[0] if calls else None

    def _begins_another(self, call: PartialCall, piece: PartialCall) -> bool:
        """Whether a piece with the same index, or with none, begins another call."""
        if not piece.name:
            return False
        if call.name not in ("", piece.name):
            return not self._continues_name(call, piece)
        if call.id and piece.id and call.id != piece.id:
            return call.is_complete or not call.arguments.strip()
        if call.id and call.id == piece.id and call.arguments == piece.arguments:
            return False
        is_cumulative = piece.arguments.startswith(call.arguments)
        return (
            call.is_complete and bool(piece.arguments.strip()) and not (call.id and is_cumulative)
        )

    def _continues_name(self, call: PartialCall, piece: PartialCall) -> bool:
        """Whether a name is the rest of a known tool's, or a longer beginning of one."""
        if call.name in self._names or call.arguments.strip():
            return False
        names = (call.name + piece.name, piece.name if piece.name.startswith(call.name) else "")
        return any(name and any(known.startswith(name) for known in self._names) for name in names)

    def _extend(self, call: PartialCall, piece: PartialCall) -> None:
        call.id = call.id or piece.id
        call.index = piece.index if call.index is None else call.index
        call.extra |= piece.extra
        if not call.name or piece.name.startswith(call.name):
            call.name = piece.name or call.name
        elif piece.name != call.name and piece.name:
            call.name += piece.name
        if len(call.arguments) > 1 and piece.arguments.startswith(call.arguments):
            call.arguments = piece.arguments  # Cumulative, or sent once more at the end.
        else:
            call.arguments += piece.arguments


def _read_piece(delta: Mapping[str, Any]) -> PartialCall:
    """Read a piece; some servers leave out `function` and put name and arguments beside the id."""
    function = delta.get("function")
    body = function if isinstance(function, Mapping) else delta
    arguments = next((body[key] for key in ("arguments", "parameters") if body.get(key)), "")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    name = body.get("name")
    index = delta.get("index")
    return PartialCall(
        index if isinstance(index, int) else None,
        str(delta.get("id") or ""),
        name if isinstance(name, str) else "",
        arguments,
        {key: value for key, value in delta.items() if key not in _KNOWN and value is not None},
    )
