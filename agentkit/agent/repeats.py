"""Notice a model that makes the same call again and again and learns nothing from it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from agentkit.messages import Message, ToolCall

TOLD = "\n(The same call gave the same result before. Do not repeat it: answer, or try another.)"
_ENCODER = json.JSONEncoder(sort_keys=True, default=str)
_MOST = 3
"""Turns of nothing but repeated calls, after which no more tools are offered."""


class Repeats:
    """The calls of one run and what they gave."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str]] = Counter()
        self._idle_turns = 0

    @property
    def is_stuck(self) -> bool:
        """Whether the run turns in circles."""
        return self._idle_turns >= _MOST

    def note(self, calls: Sequence[ToolCall], results: Sequence[Message]) -> list[bool]:
        """Write down a turn; for each call whether it gave the same before."""
        repeated = []
        for call, result in zip(calls, results, strict=True):
            key = (_written(call), result.text)
            repeated.append(self._seen[key] > 0)
            self._seen[key] += 1
        self._idle_turns = self._idle_turns + 1 if repeated and all(repeated) else 0
        return repeated


def _written(call: ToolCall) -> str:
    if isinstance(call.arguments, str):
        return f"{call.name} {call.arguments}"
    return f"{call.name} {_ENCODER.encode(dict(call.arguments))}"
