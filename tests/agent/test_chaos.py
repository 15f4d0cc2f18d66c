"""Sessions under random interleavings of results, failures, timeouts, approvals and cancellations.

AGENTKIT_CHAOS_SEEDS sets how many seeds run; a failing one is named by its test.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal

import pytest

from agentkit import Agent, Session, tool
from agentkit.agent.approval import ALLOWED, LATER, Verdict
from agentkit.agent.limits import Limits
from agentkit.agent.pending import PausedAgent
from agentkit.backends.base import Options
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.errors import ModelError
from agentkit.events import Done, Event, Finished, ModelPart, TextDelta, ToolFinished, ToolStarted
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from tests.agent.scripts import assert_valid, other_tasks

pytestmark = pytest.mark.slow

SEEDS = int(os.environ.get("AGENTKIT_CHAOS_SEEDS", "10"))
PROMPTS = 8


class Chaos:
    """One seed's world: what tools, users and the model do next."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.done: dict[str, str] = {}

    async def pause(self) -> None:
        for _ in range(self.random.choice((0, 0, 1, 3))):
            await asyncio.sleep(0)

    def tools(self) -> list[Tool]:
        @tool
        async def work(mark: str) -> str:
            """Work."""
            await self.pause()
            if self.random.random() < 0.2:
                raise ValueError(f"failed {mark}")
            self.done[mark] = f"worked {mark}"
            return self.done[mark]

        @tool
        def threaded(mark: str) -> str:
            """Work in a thread."""
            return f"threaded {mark}"

        @tool(timeout=0.002)
        async def late(mark: str) -> str:
            """Come too late, or not."""
            await asyncio.sleep(self.random.choice((0, 0.05)))
            return f"late {mark}"

        @tool(needs_approval=True)
        async def guarded(mark: str) -> str:
            """Work where allowed."""
            await self.pause()
            return f"guarded {mark}"

        tools = [work, threaded, late, guarded]
        helper = Agent(Jumpy(self), tools, approve=self.hesitate, limits=Limits(turns=3))
        return [*tools, helper.as_tool("helper", "Help.")]

    async def approve(self, tool: Tool, call: ToolCall) -> Verdict:
        await self.pause()
        assert isinstance(call.arguments, dict)
        return self.verdict(call.arguments.get("mark", ""))

    async def hesitate(self, tool: Tool, call: ToolCall) -> Verdict:
        await self.pause()
        return LATER if self.random.random() < 0.7 else ALLOWED

    def verdict(self, mark: str) -> Verdict:
        edited = Verdict(True, {"mark": f"{mark}!"})
        denied = Verdict(False, reason=f"no {mark}")
        return self.random.choice((ALLOWED, ALLOWED, denied, LATER, edited))

    def call(self) -> ToolCall:
        mark = f"m{self.random.randrange(10**9)}"
        names = ("work", "Work", "threaded", "late", "guarded", "guarded", "nothing", "helper")
        name = self.random.choice(names)
        key = "question" if name == "helper" else "mark"
        written = self.random.choice(({key: mark}, f"{{'{key}': '{mark}',}}", "no object"))
        identity = self.random.choice((mark, "same", ""))
        return ToolCall(identity, name, written)

    def turn(self, messages: Sequence[Message]) -> Turn:
        fate = self.random.random()
        if fate < 0.07:
            return ModelError("the server is gone")
        if fate < 0.5:
            calls = [self.call() for _ in range(self.random.randrange(1, 5))]
            text = [TextDelta("a word ")] if self.random.random() < 0.3 else []
            reason: Literal["length", "tool_calls"] = (
                "length" if self.random.random() < 0.1 else "tool_calls"
            )  # noqa: E501, RUF100
            return [*text, *calls, Usage(5, 5), Done(reason, "m")]
        if fate < 0.55:
            return [TextDelta("half"), Done("length", "m")]
        return self.random.choice(("", "an answer", '{"name": "work", "arguments": {}}'))


class Jumpy(ScriptedModel):
    """Waits now and then, and refuses any request that is no valid conversation."""

    def __init__(self, chaos: Chaos) -> None:
        super().__init__(chaos.turn)
        self._chaos = chaos
        self.open = 0

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), options: Options = Options()
    ) -> AsyncGenerator[ModelPart, None]:
        assert_valid([m for m in messages if m.role != "system"])
        self.open += 1
        try:
            async for part in super().stream(messages, tools, options):
                await self._chaos.pause()
                yield part
        finally:
            self.open -= 1


async def _one_run(
    chaos: Chaos, agent: Agent, session: Session, prompt: str
) -> tuple[list[Event], asyncio.Task[None]]:  # noqa: E501, RUF100
    """A prompt, or the word on what waits; its events."""
    pending = Session.from_json(session.to_json()).pending
    if pending is None:
        run = agent.stream(prompt, session)
    else:
        session.pause(pending)
        given = {
            c.id: chaos.verdict("later") for c in session.waiting if chaos.random.random() < 0.8
        }
        run = agent.stream_resume(session, given)
    events: list[Event] = []

    async def follow() -> None:
        async for event in run:
            events.append(event)

    task = asyncio.create_task(follow())
    if chaos.random.random() < 0.4:
        for _ in range(chaos.random.randrange(60)):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await run.aclose()
    failure = None if task.cancelled() else task.exception()
    assert failure is None or isinstance(failure, ModelError)
    return events, task


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_nothing_is_lost_and_nothing_stays_behind(seed: int) -> None:
    chaos = Chaos(seed)
    model, session = Jumpy(chaos), Session()
    limits = Limits(turns=5, tool_calls=9, parallel_calls=chaos.random.choice((1, 2, 8)))
    agent = Agent(model, chaos.tools(), approve=chaos.approve, limits=limits)
    for number in range(PROMPTS):
        events, task = await _one_run(chaos, agent, session, f"prompt {number}")
        for messages in (session.messages, session.view):
            assert_valid(messages)
        assert not other_tasks()
        assert model.open == 0
        if not task.cancelled() and task.exception() is None:
            assert isinstance(events[-1], Finished)
            started = [e.call.id for e in events if isinstance(e, ToolStarted)]
            ended = [e.call.id for e in events if isinstance(e, ToolFinished)]
            waiting = _waiting_in_agents(session)
            assert all(started.count(i) <= ended.count(i) for i in started if i not in waiting)
        _assert_events_match(events, session)


def _waiting_in_agents(session: Session) -> set[str]:
    """The ids of the calls in which a sub-agent waits."""
    if session.pending is None:
        return set()
    turn = zip(session.pending.message.tool_calls, session.pending.outcomes, strict=True)
    return {call.id for call, outcome in turn if isinstance(outcome, PausedAgent)}


def _assert_events_match(events: Any, session: Session) -> None:
    """Every result that was seen stands in the conversation, or in the turn that waits."""
    kept = [m.text for m in session.messages if m.role == "tool"]
    if session.pending:
        kept += [o.text for o in session.pending.outcomes if isinstance(o, Message)]
    for event in events:
        if isinstance(event, ToolFinished):
            assert any(event.result.text in text for text in kept), event
