"""agentkit without a stored session or traces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

from agentkit import Agent, Limits
from agentkit.backends.base import Model, Options
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from peers.steps.tool import DONE, PROMPT, add


class Counting(Model):
    """Calls the tool so many times, then answers."""

    name = "counting"

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._at = 0

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        self._at += 1
        if self._at <= self._steps:
            yield ToolCall(str(self._at), "add", {"a": self._at, "b": 1})
            yield Usage(10, 5)
            yield Done("tool_calls", self.name)
        else:
            yield TextDelta(DONE)
            yield Done("stop", self.name)


def limits(steps: int) -> Limits:
    """Enough for so many steps."""
    return Limits(turns=steps + 5, tool_calls=steps + 5)


def prepare(steps: int) -> Callable[[], str]:
    agent = Agent(Counting(steps), [add], limits=limits(steps))
    return lambda: agent.run_sync(PROMPT).text
