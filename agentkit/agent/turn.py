"""One turn of a model: its reply as it is gathered, and whether it repeats earlier calls."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from agentkit.agent.explain import Exchange
from agentkit.events import Done
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.repair import join_surrogates


@dataclass
class Turn:
    """What one request to the model gave."""

    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    usage: Usage = Usage()
    done: Done | None = None

    @property
    def message(self) -> Message:
        return Message("assistant", join_surrogates("".join(self.text)), tuple(self.calls))

    def call(self, call: ToolCall) -> None:
        """One more call, its id its own: verdicts and results are given by id."""
        taken = {earlier.id for earlier in self.calls}
        number, id_ = len(self.calls) + 1, call.id
        while not id_ or id_ in taken:
            id_, number = f"{call.id or 'call'}-{number}", number + 1
        self.calls.append(call if id_ == call.id else replace(call, id=id_))

    @property
    def is_cut(self) -> bool:
        """Whether the last call's arguments end where the model's tokens did."""
        if not self.calls or not self.done or self.done.stop_reason != "length":
            return False
        return isinstance(self.calls[-1].arguments, str)

    def exchange(self, model: str) -> Exchange:
        """What came of the request, to be explained."""
        return Exchange(
            model=self.done.model if self.done else model,
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            calls=tuple(self.calls),
            usage=self.usage,
            stop_reason=self.done.stop_reason if self.done else "",
        )


REPEATED = (
    "\n(The same call gave the same result before. Do not repeat it: answer, or try another.)"
)
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
            key = (_written(call), result.prompt_text)
            repeated.append(self._seen[key] > 0)
            self._seen[key] += 1
        self._idle_turns = self._idle_turns + 1 if repeated and all(repeated) else 0
        return repeated


def _written(call: ToolCall) -> str:
    if isinstance(call.arguments, str):
        return f"{call.name} {call.arguments}"
    return f"{call.name} {_ENCODER.encode(dict(call.arguments))}"
