"""What the agent's tests share: calls, runs, and what a message list must be to be sent again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from agentkit import Agent, Session
from agentkit.answers import Answer
from agentkit.backends.scripted import ScriptedModel
from agentkit.events import Event, Finished
from agentkit.messages import Message, ToolCall


def call(tool: str, call_id: str = "1", /, **arguments: Any) -> ToolCall:
    return ToolCall(call_id, tool, arguments)


async def events_of(agent: Agent, prompt: str = "?", session: Session | None = None) -> list[Event]:
    return [event async for event in agent.stream(prompt, session)]


def answer_of(events: Sequence[Event]) -> Answer:
    """The answer that ends a run."""
    last = events[-1]
    assert isinstance(last, Finished)
    return last.answer


def results(model: ScriptedModel) -> list[str]:
    """What the tools gave, as the model's last request has it."""
    return [m.text for m in model.requests[-1] if m.role == "tool"]


def assert_valid(messages: Sequence[Message]) -> None:
    """Every call has exactly one result, right behind it and in order, ids are distinct within a
    turn, nothing is a result of no call, and all of it can be sent."""
    at = 0
    while at < len(messages):
        message, at = messages[at], at + 1
        assert message.role != "tool", f"a result without a call: {message}"
        ids = [made.id for made in message.tool_calls]
        assert len(set(ids)) == len(ids)
        assert all(ids)
        answered = messages[at : at + len(ids)]
        assert [m.role for m in answered] == ["tool"] * len(ids)
        assert [m.tool_call_id for m in answered] == ids
        assert message.text or ids or message.role == "user", f"an empty message: {message}"
        at += len(ids)
    json.dumps([str(message) for message in messages], ensure_ascii=False).encode()


def other_tasks() -> set[asyncio.Task[Any]]:
    """The tasks of this loop beside the test's own."""
    return asyncio.all_tasks() - {asyncio.current_task()}
