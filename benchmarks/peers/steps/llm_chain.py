"""llm's chain of responses with our Model; nothing is logged to its database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import llm

from peers.steps.tool import DONE, PROMPT, add


class _Counting(llm.Model):
    model_id = "counting"
    supports_tools = True

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._at = 0

    def execute(self, prompt: Any, stream: bool, response: Any, conversation: Any) -> Iterator[str]:
        self._at += 1
        if self._at > self._steps:
            yield DONE
            return
        call = llm.ToolCall(
            name="add", arguments={"a": self._at, "b": 1}, tool_call_id=str(self._at)
        )
        response.add_tool_call(call)


def prepare(steps: int) -> Callable[[], str]:
    talk = _Counting(steps).conversation(tools=[add], chain_limit=steps + 5)
    return lambda: talk.chain(PROMPT).text()
