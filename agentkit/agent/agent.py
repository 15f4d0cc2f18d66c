"""A model, its tools and its documents, as one thing that answers.

How an agent uses its documents.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from agentkit._sync import run_sync
from agentkit.agent.approval import Approve, Policy, Verdict, deny
from agentkit.agent.finalize import Ending
from agentkit.agent.hooks import Hooks
from agentkit.agent.limits import Bill, Limits
from agentkit.agent.loop import Loop
from agentkit.agent.prompts import SUMMARY_HEADING, system_prompt
from agentkit.agent.query_rewriting import Expansion, Queries
from agentkit.agent.session import Session
from agentkit.agent.structured import Attempt, Output, shape_of, structured
from agentkit.agent.subagent import agent_tool
from agentkit.agent.tool_runner import Caller, Surroundings
from agentkit.answering.extractive import ExtractiveModel
from agentkit.answers import Answer
from agentkit.backends.base import Model, Options
from agentkit.backends.registry import get_model
from agentkit.errors import ConfigError, ModelError
from agentkit.events import Compacted, Event, Finished, TextDelta
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.tools import SEARCH, knowledge_tools
from agentkit.messages import Content, Message, ToolCall, question_of, text_of
from agentkit.tools.repair import sound
from agentkit.tools.tool import Tool, as_tool
from agentkit.tracing.trace import Trace, TracedModel, Tracing


@dataclass(frozen=True, slots=True)
class Retrieval:
    """`mode` "always" searches before the model is asked, "auto" leaves it to the model, "never"
    keeps the documents out of the run. `results` is how many passages a search gives, `expand`
    how a question is searched for. `strict` leaves out what no passage or tool supports, and
    refuses where nothing remains. `sources` are sources or globs that the run keeps to."""

    mode: Literal["always", "auto", "never"] = "always"
    results: int = 5
    expand: Expansion = "none"
    strict: bool = False
    sources: tuple[str, ...] = ()


class Agent:
    """Answers questions with a model, tools and a knowledge base.

    `model` is a Model or a string such as "ollama:qwen3:8b", "openai:gpt-5-mini" or "auto"; of
    several strings each stands in for those before it. `tools` are Tools or plain functions.
    `approve` is asked before a tool runs that `policy` or its own mark says to ask for; without
    it such a call is denied. `hooks` see and change what passes. Raises ConfigError.
    """

    def __init__(
        self,
        model: Model | str | Sequence[str] = "auto",
        tools: Sequence[Tool | Callable[..., Any]] = (),
        knowledge: KnowledgeBase | None = None,
        instructions: str = "",
        limits: Limits = Limits(),
        approve: Approve = deny,
        *,
        policy: Policy = Policy(),
        retrieval: Retrieval = Retrieval(),
        options: Options = Options(),
        hooks: Hooks = Hooks(),
        tracing: Tracing | None = None,
        folder: Path | None = None,
    ) -> None:
        similarity = knowledge.similarity if knowledge else None
        if isinstance(model, (str, Sequence)):
            model = get_model(model, extractive=lambda: ExtractiveModel(similarity))
        self.model: Model = model
        self.knowledge = knowledge
        searches = knowledge is not None and retrieval.mode != "never"
        offered = (
            knowledge_tools(knowledge, retrieval.results, retrieval.sources)
            if knowledge and searches
            else ()
        )
        self.tools = _distinct([*offered, *map(as_tool, tools)])
        self.instructions = instructions
        self.limits = limits
        self.approve = approve
        self.policy = policy
        self.retrieval = retrieval
        self.options = options
        self.hooks = hooks
        self.tracing = tracing
        self.folder = folder

    async def stream(
        self, prompt: Content, session: Session | None = None
    ) -> AsyncGenerator[Event, None]:
        """Answer a prompt, event by event; the last one is Finished. Raises ModelError.

        The session holds each turn as soon as it is whole. However the run ends, it keeps the
        turns that were made and the text that was being written.
        """
        session = session or Session()
        prompt = sound(prompt) if isinstance(prompt, str) else prompt
        if session.pending:
            raise ConfigError("A call of this session waits for a decision: use Agent.resume.")
        if self.hooks.guard_input and (said := await self.hooks.guard_input(text_of(prompt))):
            yield TextDelta(said)
            yield Finished(Answer(said, stop_reason="refused", model=self.model.name))
            return
        with self._traced(text_of(prompt), session) as (trace, model):
            bill = Bill(self.limits)
            loop = self._loop(session, model, bill)
            queries = Queries(model, bill)
            opening = await self._opening(question_of(prompt), session, queries, loop.start())
            session.add([Message("user", prompt)])
            events = loop.run(self._messages(session), opening)
            async with aclosing(self._followed(events, loop, session, trace)) as events:
                async for event in events:
                    yield event

    async def resume(
        self, session: Session, verdicts: Mapping[str, Verdict]
    ) -> AsyncGenerator[Event, None]:
        """Go on with a run that was paused, with the user's word on its open calls by their ids.
        A call without a verdict is asked for again. Raises ConfigError where none waits."""
        pending = session.pending
        if pending is None:
            raise ConfigError("No call of this session waits for a decision.")
        with self._traced("", session) as (trace, model):
            loop = self._loop(session, model, Bill(self.limits))
            events = loop.run(self._messages(session), resumed=(pending, verdicts))
            async with aclosing(self._followed(events, loop, session, trace)) as events:
                async for event in events:
                    yield event

    async def run(
        self,
        prompt: Content,
        session: Session | None = None,
        *,
        output: Output | None = None,
    ) -> Answer:
        """Answer a prompt; `output` is the pydantic model or JSON Schema that `Answer.output` shall
        fit. Raises ModelError, and ConfigError for a schema that is none."""
        session = session or Session()
        if output is None:
            return await self._run(prompt, session)

        async def ask(attempt: Attempt) -> Answer:
            return await self._changed(attempt)._run(attempt.prompt, session)

        shape, able = shape_of(output), await self.model.capabilities()
        if not able.instructions:
            raise ModelError(
                f"{self.model.name} only quotes and cannot fill a {shape.name}. "
                "Choose another model, such as ollama:qwen3:8b.",
                self.model.name,
            )
        return await structured(
            ask,
            prompt,
            shape,
            self.limits,
            native=able.json_schema,
            has_tools=bool(self.tools),
        )

    def run_sync(
        self,
        prompt: Content,
        session: Session | None = None,
        *,
        output: Output | None = None,
    ) -> Answer:
        """`run`, for synchronous code."""
        return run_sync(self.run(prompt, session, output=output))

    def as_tool(self, name: str, description: str) -> Tool:
        """This agent as a tool of another: it answers a question within its own limits, its events
        are nested in the other's, and its tokens count towards the other's."""
        return agent_tool(self, name, description)

    async def _run(self, prompt: Content, session: Session) -> Answer:
        async with aclosing(self.stream(prompt, session)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    return event.answer
        raise AssertionError("every run ends with Finished")

    async def _followed(
        self,
        events: AsyncGenerator[Event, None],
        loop: Loop,
        session: Session,
        trace: Trace,
    ) -> AsyncGenerator[Event, None]:
        """Pass a loop's events on, and write down in the session what they bring."""
        kept = 0
        ending = Ending(session.sources, self.knowledge, self.hooks, self.retrieval.strict)
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Finished):
                        answer = await ending.finished(event.answer, _asked(session))
                        _written_down(answer.messages[kept:], session)
                        kept = len(loop.transcript)
                        session.wait(loop.pending)
                        if ending.holds_text or answer.text != event.answer.text:
                            yield TextDelta(answer.text)
                        event = Finished(answer)
                    kept += _written_down(loop.transcript[kept:], session)
                    if isinstance(event, Compacted):
                        session.compact(loop.view)
                    held = ending.holds_text and isinstance(event, TextDelta)
                    if isinstance(event, TextDelta) and not held:
                        session.draft(event.text)
                    trace.event(event)
                    if not held:
                        yield event
        finally:
            _written_down([*loop.transcript[kept:], *loop.partial()], session)

    async def _opening(
        self, prompt: str, session: Session, queries: Queries, deadline: float | None
    ) -> list[ToolCall]:
        """The searches that are made before the model is asked."""
        knowledge, mode = self.knowledge, self.retrieval.mode
        offered = any(tool.name == SEARCH for tool in self.tools)
        if mode != "always" or not offered or not prompt.strip():
            return []
        if knowledge is None or not knowledge.chunk_count:
            return []
        wanted = [prompt]
        with suppress(TimeoutError):
            async with asyncio.timeout_at(deadline):
                query = await queries.standing_alone(prompt, session.messages)
                wanted = await queries.expanded(query, self.retrieval.expand)
        number = len(session.messages)
        return [
            ToolCall(f"search-{number}-{at}", SEARCH, {"query": text[:2000]})
            for at, text in enumerate(wanted)
        ]

    def _messages(self, session: Session) -> list[Message]:
        """What a run begins with: the system message, with the summary of any earlier turns."""
        searches = any(tool.name == SEARCH for tool in self.tools)
        said = system_prompt(self.instructions, searches)
        view = session.view
        if view and view[0].role == "system":
            _, heading, summary = view[0].text.partition(SUMMARY_HEADING)
            said, view = f"{said}\n\n{heading}{summary}".strip(), view[1:]
        return [Message("system", said), *view]

    @contextmanager
    def _traced(self, prompt: str, session: Session) -> Iterator[tuple[Trace, Model]]:
        """The run's trace, which goes nowhere where none is kept, and the model it watches."""
        if self.tracing is None:
            yield Trace(()), self.model
            return
        trace = self.tracing.begin(prompt, session.id, self.model, self.tools)
        try:
            yield trace, TracedModel(self.model, trace)
        finally:
            trace.close()

    def _loop(self, session: Session, model: Model, bill: Bill) -> Loop:
        around = Surroundings(
            session.sources,
            self.approve,
            self.policy,
            self.hooks,
            self.limits.parallel_calls,
            session.id,
            self.folder,
            bill,
        )
        caller = Caller(self.tools, around)
        return Loop(model, caller, self.limits, self.options, self.hooks)

    def _changed(self, attempt: Attempt) -> Agent:
        """A copy of this agent for one attempt at an object."""
        agent = copy(self)
        agent.instructions = f"{self.instructions}\n\n{attempt.instructions}".strip()
        agent.options = replace(self.options, schema=attempt.schema or self.options.schema)
        agent.limits = attempt.limits
        agent.tools = self.tools if attempt.offers_tools else ()
        return agent


def _written_down(new: Sequence[Message], session: Session) -> int:
    """What a run said into its session; then a turn that waited waits no longer."""
    if new and session.pending:
        session.wait(None)
    session.add(new)
    return len(new)


def _asked(session: Session) -> str:
    """The question that is being answered."""
    return next((m.question for m in reversed(session.messages) if m.role == "user"), "")


def _distinct(tools: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tools, if no two have one name. Raises ConfigError."""
    seen: set[str] = set()
    for tool in tools:
        if tool.name in seen:
            raise ConfigError(f"Two tools are called {tool.name!r}: rename one.")
        seen.add(tool.name)
    return tuple(tools)
