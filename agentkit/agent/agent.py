"""A model, its tools and its documents, as one thing that answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from agentkit.agent.approval import Approve, deny
from agentkit.agent.limits import Limits
from agentkit.agent.loop import Loop
from agentkit.agent.prompts import system_prompt
from agentkit.agent.session import Session
from agentkit.answers import Answer
from agentkit.backends.base import Model
from agentkit.backends.registry import get_model
from agentkit.errors import ConfigError
from agentkit.events import Event, Finished
from agentkit.knowledge.citations import cite
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.search_tool import knowledge_tools
from agentkit.messages import Message
from agentkit.sync import run_sync
from agentkit.tools.tool import Tool, as_tool


class Agent:
    """Answers questions with a model, tools and a knowledge base.

    `model` is a Model or a string such as "ollama:qwen3:8b", "openai:gpt-5-mini" or "auto".
    `tools` are Tools or plain functions. `approve` is asked before a tool that needs approval
    runs; without it such a tool is denied. `results` is how many passages a search gives. Raises
    ConfigError.
    """

    def __init__(
        self,
        model: Model | str = "auto",
        tools: Sequence[Tool | Callable[..., Any]] = (),
        knowledge: KnowledgeBase | None = None,
        instructions: str = "",
        limits: Limits = Limits(),
        approve: Approve = deny,
        results: int = 5,
    ) -> None:
        similarity = knowledge.similarity if knowledge else None
        self.model = get_model(model, similarity=similarity) if isinstance(model, str) else model
        self.knowledge = knowledge
        self.tools = _distinct(
            [*(knowledge_tools(knowledge, results) if knowledge else ()), *map(as_tool, tools)]
        )
        self.instructions = instructions
        self.limits = limits
        self.approve = approve

    async def stream(
        self, prompt: str, session: Session | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer a prompt, event by event; the last one is Finished. Raises ModelError.

        What the run added to the session stays there however it ends: a stopped run leaves the
        whole turns it had made and the text it was writing.
        """
        session = session or Session()
        asked = Message("user", prompt)
        system = Message("system", system_prompt(self.instructions, self.knowledge is not None))
        loop = Loop(self.model, self.tools, self.limits, session.sources, self.approve)
        try:
            async with aclosing(loop.run([system, *session.messages, asked])) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        event = await self._finished(event.answer, session)
                    yield event
        finally:
            session.messages += [asked, *loop.transcript, *loop.partial()]

    async def run(self, prompt: str, session: Session | None = None) -> Answer:
        """Answer a prompt. Raises ModelError."""
        async with aclosing(self.stream(prompt, session)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.answer
        raise AssertionError("every run ends with Finished")

    def run_sync(self, prompt: str, session: Session | None = None) -> Answer:
        """`run`, for synchronous code."""
        return run_sync(self.run(prompt, session))

    async def _finished(self, answer: Answer, session: Session) -> Finished:
        similarity = self.knowledge.similarity if self.knowledge else None
        citations = await cite(answer.text, session.sources, similarity)
        return Finished(replace(answer, citations=citations))


def _distinct(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools, if no two have one name. Raises ConfigError."""
    seen: set[str] = set()
    for tool in tools:
        if tool.name in seen:
            raise ConfigError(f"Two tools are called {tool.name!r}: rename one.")
        seen.add(tool.name)
    return tuple(tools)
