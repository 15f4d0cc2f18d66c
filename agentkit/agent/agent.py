"""A model, its tools and its documents, as one thing that answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from agentkit.agent.approval import Approve, deny
from agentkit.agent.limits import Limits
from agentkit.agent.loop import Loop
from agentkit.agent.prompts import system_prompt
from agentkit.agent.session import Session
from agentkit.agent.structured import Attempt, structured
from agentkit.answers import Answer
from agentkit.backends.base import Model, Options
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

    `model` is a Model or a string such as "ollama:qwen3:8b", "openai:gpt-5-mini" or "auto"; of
    several strings each stands in for those before it. `tools` are Tools or plain functions.
    `approve` is asked before a tool that needs approval runs; without it such a tool is denied.
    `results` is how many passages a search gives. Raises ConfigError.
    """

    def __init__(
        self,
        model: Model | str | Sequence[str] = "auto",
        tools: Sequence[Tool | Callable[..., Any]] = (),
        knowledge: KnowledgeBase | None = None,
        instructions: str = "",
        limits: Limits = Limits(),
        approve: Approve = deny,
        results: int = 5,
        options: Options = Options(),
    ) -> None:
        similarity = knowledge.similarity if knowledge else None
        if isinstance(model, (str, Sequence)):
            model = get_model(model, similarity=similarity)
        self.model: Model = model
        self.knowledge = knowledge
        self.tools = _distinct(
            [*(knowledge_tools(knowledge, results) if knowledge else ()), *map(as_tool, tools)]
        )
        self.instructions = instructions
        self.limits = limits
        self.approve = approve
        self.options = options

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
        loop = Loop(
            self.model, self.tools, self.limits, session.sources, self.approve, self.options
        )
        try:
            async with aclosing(loop.run([system, *session.messages, asked])) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        event = await self._finished(event.answer, session)
                    yield event
        finally:
            session.messages += [asked, *loop.transcript, *loop.partial()]

    async def run(
        self,
        prompt: str,
        session: Session | None = None,
        *,
        output: type[BaseModel] | None = None,
    ) -> Answer:
        """Answer a prompt; `output` is what `Answer.output` shall be one of. Raises ModelError."""
        session = session or Session()
        if output is None:
            return await self._run(prompt, session)

        async def ask(attempt: Attempt) -> Answer:
            return await self._changed(attempt)._run(attempt.prompt, session)

        able = await self.model.capabilities()
        return await structured(
            ask,
            prompt,
            output,
            self.limits,
            native=able.json_schema,
            has_tools=bool(self.tools),
        )

    def run_sync(
        self,
        prompt: str,
        session: Session | None = None,
        *,
        output: type[BaseModel] | None = None,
    ) -> Answer:
        """`run`, for synchronous code."""
        return run_sync(self.run(prompt, session, output=output))

    async def _run(self, prompt: str, session: Session) -> Answer:
        async with aclosing(self.stream(prompt, session)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.answer
        raise AssertionError("every run ends with Finished")

    def _changed(self, attempt: Attempt) -> Agent:
        """A copy of this agent for one attempt at an object."""
        agent = copy(self)
        agent.instructions = f"{self.instructions}\n\n{attempt.instructions}".strip()
        agent.options = replace(self.options, schema=attempt.schema or self.options.schema)
        agent.limits = attempt.limits
        agent.tools = self.tools if attempt.offers_tools else ()
        return agent

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
