"""Tools that take too much of the window are found by a search; each keeps its own approval."""

import json
from dataclasses import replace
from typing import Any

import pytest

from agentkit import Agent, tool
from agentkit.agent.approval import DENIED, Policy, Verdict, pause
from agentkit.agent.session import Session
from agentkit.agent.tool_search import (
    CALL_TOOL,
    MAX_OFFERED,
    SEARCH_TOOLS,
    offered_tools,
)
from agentkit.backends.base import estimated_tokens, tool_tokens
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.events import ToolStarted
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool
from tests.agent.scripts import call, events_of, results


class Sized(ScriptedModel):
    """A scripted model with a window."""

    def __init__(self, script: list[Turn], window: int | None = 8192) -> None:
        super().__init__(script)
        self._window = window

    async def context_window(self) -> int | None:
        return self._window


@tool
def first(a: int) -> str:
    """Do the first thing."""
    return f"first {a}"


@tool
def weather(city: str, days: int = 1) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city} for {days}"


def _many(count: int, words: int = 100) -> list[Tool]:
    return [replace(first, name=f"tool_{n}", description="word " * words) for n in range(count)]


def test_all_tools_are_offered_where_they_fit() -> None:
    tools = [first, weather]
    assert offered_tools(tools, 8192, estimated_tokens) == (first, weather)
    assert offered_tools(_many(MAX_OFFERED), None, estimated_tokens)[-1].name == "tool_39"


@pytest.mark.parametrize("window", [8192, 4096, 32768])
def test_the_tools_take_at_most_a_third_of_the_window(window: int) -> None:
    tools = [first, *_many(80), weather]
    offered = offered_tools(tools, window, estimated_tokens)
    assert tool_tokens(offered, estimated_tokens) <= window // 3
    assert [t.name for t in offered][-2:] == [SEARCH_TOOLS, CALL_TOOL]
    assert offered[0] is first
    assert len(offered) <= MAX_OFFERED


def test_many_tools_are_searched_where_the_window_is_unknown() -> None:
    offered = offered_tools(_many(60), None, estimated_tokens)
    assert len(offered) == MAX_OFFERED
    assert "tool_59" in offered[-2].description


def test_an_own_tool_of_that_name_is_left_alone() -> None:
    tools = [replace(first, name=CALL_TOOL), *_many(60)]
    assert offered_tools(tools, 100, estimated_tokens) == tuple(tools)


async def test_a_hidden_tool_is_found_and_called_by_its_own_name() -> None:
    model = Sized(
        [
            call(SEARCH_TOOLS, query="weather in a town"),
            call(CALL_TOOL, "2", name="weather", arguments={"city": "Rome"}),
            "Sunny.",
        ]
    )
    agent = Agent(model, [*_many(30), weather])
    events = await events_of(agent)
    found, called = results(model)
    assert json.loads(found.splitlines()[0])["name"] == "weather"
    assert called == "sunny in Rome for 1"
    assert [e.call.name for e in events if isinstance(e, ToolStarted)] == [SEARCH_TOOLS, "weather"]
    assert len(set(model.tools_offered)) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "weather", "arguments": {"city": "Rome", "days": 2}},
        {"name": "weather", "arguments": '{"city": "Rome", "days": 2}'},
        {"name": "weather", "city": "Rome", "days": "2"},
        '{"name": "weather", "arguments": {"city": "Rome", "days": 2}',
    ],
    ids=["object", "text", "beside the name", "cut"],
)
async def test_arguments_are_read_however_they_are_given(arguments: Any) -> None:
    model = Sized([ToolCall("1", CALL_TOOL, arguments), "done"])
    await Agent(model, [*_many(30), weather]).run("?")
    assert results(model) == ["sunny in Rome for 2"]


async def test_an_unknown_tool_is_named_with_those_that_are_near() -> None:
    model = Sized([call(CALL_TOOL, name="wether", arguments={}), "done"])
    await Agent(model, [*_many(30), weather]).run("?")
    assert "there is no tool 'wether'. There is: weather" in results(model)[0]


async def test_a_hidden_tool_needs_its_own_approval() -> None:
    asked: list[str] = []

    async def approve(tool: Tool, call: ToolCall) -> Verdict:
        asked.append(f"{tool.name} {call.name}")
        return DENIED

    model = Sized([call(CALL_TOOL, name="weather", arguments={"city": "Rome"}), "done"])
    policy = Policy(ask=("weather",), allow=("*",))
    await Agent(model, [*_many(30), weather], policy=policy, approve=approve).run("?")
    assert asked == ["weather weather"]
    assert "did not allow" in results(model)[0]


async def test_a_hidden_tool_that_waits_for_approval_is_shown_by_its_own_name() -> None:
    model = Sized([call(CALL_TOOL, name="weather", arguments={"city": "Rome"}), "done"])
    session = Session()
    policy = Policy(ask=("weather",))
    agent = Agent(model, [*_many(30), weather], policy=policy, approve=pause)
    await agent.run("?", session)
    assert [c.name for c in session.waiting] == ["weather"]
    answer = await agent.resume(session, {"1": Verdict(True)})
    assert answer.text == "done"
    assert results(model) == ["sunny in Rome for 1"]


async def test_a_tool_that_the_policy_denies_is_not_found() -> None:
    model = Sized(
        [
            call(SEARCH_TOOLS, query="weather"),
            call(CALL_TOOL, "2", name="weather", arguments={"city": "Rome"}),
            "done",
        ]
    )
    await Agent(model, [*_many(30), weather], policy=Policy(deny=("weather",))).run("?")
    found, called = results(model)
    assert "weather" not in found
    assert "forbid" in called
