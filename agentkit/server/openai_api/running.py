"""Run the agent for a request: its tools, options and events, the same for both kinds of API."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from agentkit.agent.setup import Overrides
from agentkit.answers import Answer
from agentkit.backends.base import Options
from agentkit.events import Event, Finished, ReasoningDelta, TextDelta
from agentkit.messages import Message, ToolCall
from agentkit.server.auth import Identity
from agentkit.server.openai_api.conversation import read_conversation, split_instructions
from agentkit.server.openai_api.models import Chosen
from agentkit.server.openai_api.wire import Function
from agentkit.server.service import Service
from agentkit.server.sse import EventResponse, while_connected
from agentkit.tools.tool import Tool

PATIENCE = 3.0
"""Seconds in which a failure is still answered by its status; after them by an event."""

FINISH_REASONS = {"length": "length", "limit": "length", "paused": "tool_calls"}
"""OpenAI's finish reason for each stop reason; "stop" for the others."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to an agent. System messages are added to `instructions`. `choice` is "auto",
    "none", "required" or the name of a client's tool. Without `parallel` the client gets one call
    of its tools at a time."""

    chosen: Chosen
    messages: Sequence[Message]
    instructions: str = ""
    functions: Sequence[Function] = ()
    choice: str = "auto"
    options: Options = field(default_factory=Options)
    output: Mapping[str, Any] | None = None
    parallel: bool = True


class Running:
    """One run of a request. The names of a client's tools that the agent has itself are changed
    while it runs."""

    def __init__(self, server: Service, identity: Identity, ask: Ask) -> None:
        self._server, self._identity, self._ask = server, identity, ask
        self._agent = ask.chosen.agent
        own = {tool.name for tool in self._agent.offered_tools}
        functions = () if ask.choice == "none" else ask.functions
        names = [function.name for function in functions]
        self._aliases = {name: _unused(name, own | set(names)) for name in names if name in own}
        self._originals = {alias: name for name, alias in self._aliases.items()}
        self._tools = [each.as_tool(self._aliases.get(each.name, each.name)) for each in functions]
        self._who = json.dumps([identity.name, ask.chosen.id])
        self._thoughts: list[str] = []
        self._system, messages = split_instructions(ask.messages)
        self._messages = [self._renamed(message) for message in messages]
        self._conversation = read_conversation(
            self._messages, self._who, server.paused, cites=self._agent.knowledge is not None
        )

    def _renamed(self, message: Message) -> Message:
        if not (self._aliases and message.tool_calls):
            return message
        calls = (replace(c, name=self._aliases.get(c.name, c.name)) for c in message.tool_calls)
        return replace(message, tool_calls=tuple(calls))

    async def events(self) -> AsyncGenerator[Event[Any], None]:
        """The events of the run, counted; admitted when their turn comes. Raises ApiError and what
        the agent raises."""
        metrics, began, is_first = self._server.metrics, time.perf_counter(), True
        async with (
            self._server.admission.slot(self._identity.name),
            aclosing(self._server.counted(self._start())) as events,
        ):
            async for event in events:
                if is_first and isinstance(event, TextDelta):
                    metrics.first_token.observe(time.perf_counter() - began)
                    is_first = False
                if isinstance(event, ReasoningDelta):
                    self._thoughts.append(event.text)
                if isinstance(event, Finished) and event.answer.waiting:
                    ids = [call.id for call, *_ in self.calls(event.answer)]
                    session = self._conversation.session
                    self._server.paused.keep(self._who, self._messages, ids, session)
                yield event

    async def answer(self) -> Answer[Any]:
        """The answer of the run."""
        answer: Answer[Any] | None = None
        async with aclosing(self.events()) as events:
            async for event in events:
                if isinstance(event, Finished):
                    answer = event.answer
        assert answer is not None
        return answer

    def _start(self) -> AsyncGenerator[Event[Any], None]:
        ask, agent, conversation = self._ask, self._agent, self._conversation
        choice = self._aliases.get(ask.choice, ask.choice)
        own = agent.instructions if isinstance(agent.instructions, str) else ""
        overrides: Overrides = {
            **ask.chosen.overrides,
            "options": _with_choice(ask.options, choice, self._tools),
        }
        if self._tools:
            overrides["tools"] = [*agent.tools, *self._tools]
        texts = [text for text in (own, ask.instructions, self._system) if text]
        if ask.instructions or self._system:
            overrides["instructions"] = "\n\n".join(texts)
        output: Any = {} if ask.output is None else {"output": ask.output}
        if conversation.prompt is None:
            return agent.stream_resume(
                conversation.session, conversation.verdicts, **output, **overrides
            )
        return agent.stream(conversation.prompt, conversation.session, **output, **overrides)

    def calls(self, answer: Answer[Any]) -> list[tuple[ToolCall, str, str]]:
        """The calls that the client is to make: each with its name there and its arguments."""
        return [
            (call, self._originals.get(call.name, call.name), _arguments(call))
            for call in answer.waiting[: None if self._ask.parallel else 1]
        ]

    @property
    def reasoning(self) -> str:
        """What the model has thought so far, where its server shows it."""
        return "".join(self._thoughts)

    def text(self, answer: Answer[Any]) -> str:
        """The text of an answer; JSON for structured output."""
        if self._ask.output is None or answer.waiting:
            return answer.text
        return json.dumps(answer.output, ensure_ascii=False)

    @property
    def is_structured(self) -> bool:
        """Whether text is sent only when it is complete and valid."""
        return self._ask.output is not None


class PrimedEvents:
    """The events of a run, the first of which have come before a response begins: what fails until
    then is raised by `prime`, and the response can have its status."""

    def __init__(self, events: AsyncGenerator[Event[Any], None]) -> None:
        self._events = events
        self._held: deque[Event[Any]] = deque()
        self._upcoming: asyncio.Future[Event[Any] | None] | None = None

    async def prime(self, seconds: float = PATIENCE) -> PrimedEvents:
        """Wait until the first text has come or some seconds have passed. Raises what the run
        raises."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            while True:
                self._upcoming = asyncio.ensure_future(anext(self._events, None))
                left = max(0.0, deadline - loop.time())
                done, _ = await asyncio.wait({self._upcoming}, timeout=left)
                if not done:
                    return self
                event, self._upcoming = self._upcoming.result(), None
                if event is not None:
                    self._held.append(event)
                if event is None or isinstance(event, TextDelta | ReasoningDelta | Finished):
                    return self
        except BaseException:
            await self.aclose()
            raise

    async def __aiter__(self) -> AsyncIterator[Event[Any]]:
        while self._held:
            yield self._held.popleft()
        if self._upcoming is not None:
            event, self._upcoming = await self._upcoming, None
            if event is None:
                return
            yield event
        async for event in self._events:
            yield event

    async def aclose(self) -> None:
        """Stop the run, if it has not ended."""
        if self._upcoming is not None:
            self._upcoming.cancel()
            await asyncio.wait({self._upcoming})
        await self._events.aclose()


def _with_choice(options: Options, choice: str, tools: Sequence[Tool]) -> Options:
    """The options with the client's choice of a tool, where it has tools."""
    if not tools or choice in ("auto", "none"):
        return options
    only = tools[0].name if choice == "required" and len(tools) == 1 else choice
    return replace(options, tool_choice=only)


def _unused(name: str, taken: set[str]) -> str:
    alias = f"client_{name}"[:64]
    number = 2
    while alias in taken:
        alias, number = f"client{number}_{name}"[:64], number + 1
    return alias


def _arguments(call: ToolCall) -> str:
    given = call.arguments
    return given if isinstance(given, str) else json.dumps(dict(given), ensure_ascii=False)


class Reply(Protocol):
    """The form of an answer in one of the APIs."""

    def whole(self, answer: Answer[Any]) -> dict[str, Any]: ...

    def stream(self, events: PrimedEvents) -> AsyncGenerator[bytes, None]: ...


async def respond(request: Request, running: Running, reply: Reply, *, stream: bool) -> Response:
    """The answer of a run, whole or as server-sent events."""
    if stream:
        events = await PrimedEvents(running.events()).prime()
        return EventResponse(reply.stream(events), on_end=events.aclose)
    return JSONResponse(reply.whole(await while_connected(request, running.answer())))
