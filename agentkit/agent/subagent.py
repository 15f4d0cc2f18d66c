"""An agent as a tool of another."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from agentkit.answers import Answer
from agentkit.errors import ToolError
from agentkit.events import Event, Finished
from agentkit.knowledge.citations.markers import markers, numbers_in
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool, tool

_INCOMPLETE = {
    "limit": "\n(A limit of this agent was reached: its answer may be incomplete.)",
    "length": "\n(This answer was cut off at its greatest length.)",
}


class _StreamingAgent(Protocol):
    """The part of an Agent that a sub-agent tool uses."""

    def stream(self, prompt: str) -> AsyncGenerator[Event, None]: ...


def agent_tool(agent: _StreamingAgent, name: str, description: str) -> Tool:
    """A tool that asks the agent. Passages that it cites get markers of the calling run."""

    @tool(name=name)
    async def ask(question: str, context: ToolContext) -> str:
        """Ask.

        Args:
            question: What to find out, with all that is needed to understand it.
        """
        answer: Answer | None = None
        async with aclosing(agent.stream(question)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    answer = event.answer
                else:
                    context.nest(event)
        if answer is None:
            raise ToolError("The agent gave no answer.", name)
        context.spend(answer.usage, answer.cost)
        if answer.stop_reason == "paused":
            raise ToolError(f"{name} needs approval, which a sub-agent cannot wait for.", name)
        return _with_markers_of(answer, context) + _INCOMPLETE.get(answer.stop_reason, "")

    return replace(ask, description=description)


def _with_markers_of(answer: Answer, context: ToolContext) -> str:
    """The text with the markers of the calling run; markers without a passage are removed."""
    numbers = {c.marker: context.cite(c.chunk) for c in answer.citations}
    pieces, reached = [], 0
    for group in markers(answer.text, [c.chunk.text for c in answer.citations]):
        known = [numbers[n] for n in numbers_in(group[0]) if n in numbers]
        pieces += [answer.text[reached : group.start()], *(f"[{number}]" for number in known)]
        reached = group.end()
    return "".join([*pieces, answer.text[reached:]])
