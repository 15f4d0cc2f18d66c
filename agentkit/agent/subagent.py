"""An agent as a tool of another."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from agentkit.answers import Answer
from agentkit.errors import ToolError
from agentkit.events import Event, Finished
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool, tool


class Answering(Protocol):
    """What of an Agent is needed."""

    def stream(self, prompt: str) -> AsyncGenerator[Event, None]: ...


def agent_tool(agent: Answering, name: str, description: str) -> Tool:
    """A tool that asks the agent. Passages it cites get numbers of the asking run."""

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
        context.spend(answer.usage)
        return _renumbered(answer, context)

    return replace(ask, description=description)


def _renumbered(answer: Answer, context: ToolContext) -> str:
    numbers = {c.marker: context.cite(c.chunk) for c in answer.citations}
    pattern = re.compile(r"\[(\d+)\]")
    return pattern.sub(lambda m: f"[{numbers.get(m[1], m[1])}]", answer.text)
