"""What one run replaces of its agent, and the life of an agent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

from agentkit import Agent, Retrieval, RunContext, Session, ToolContext, pause, tool
from agentkit.agent.limits import Limits
from agentkit.answers import Answer
from agentkit.backends.base import Options
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError
from agentkit.events import TextDelta
from agentkit.messages import Message, ToolCall
from tests.agent.scripts import answer_of, call, results


@dataclass
class Shop:
    name: str


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@tool
def stock(context: ToolContext[Shop]) -> str:
    """Name the shop."""
    return context.deps.name


async def _run(agent: Agent[Any], **overrides: Any) -> Answer:
    answer: Answer = await agent.run("?", **overrides)
    return answer


async def _run_sync(agent: Agent[Any], **overrides: Any) -> Answer:
    def ask() -> Answer:
        answer: Answer = agent.run_sync("?", **overrides)
        return answer

    return await asyncio.to_thread(ask)


async def _stream(agent: Agent[Any], **overrides: Any) -> Answer:
    return answer_of([event async for event in agent.stream("?", **overrides)])


async def _override(agent: Agent[Any], **overrides: Any) -> Answer:
    with agent.override(**overrides):
        return await agent.run("?")


ENTRIES = pytest.mark.parametrize("ask", [_run, _run_sync, _stream, _override])


@ENTRIES
async def test_a_model_is_replaced_for_one_run(ask: Callable[..., Any]) -> None:
    agent = Agent(ScriptedModel(["own"] * 2))
    assert (await ask(agent, model=ScriptedModel(["other"]))).text == "other"
    assert (await agent.run("?")).text == "own"


@ENTRIES
async def test_tools_instructions_limits_and_options_are_replaced(ask: Callable[..., Any]) -> None:
    model = ScriptedModel([call("add", a=1, b=2), "3", "own"])
    agent = Agent(model, instructions="Be kind.", limits=Limits(turns=1))
    changed = {
        "tools": [add],
        "instructions": "Be brief.",
        "limits": Limits(turns=5),
        "options": Options(seed=7),
    }
    assert (await ask(agent, **changed)).text == "3"
    assert model.tools_offered == [("add",), ("add",)]
    assert model.requests[0][0].text.endswith("Be brief.")
    await agent.run("?")
    assert model.tools_offered[2] == ()
    assert model.requests[2][0].text.endswith("Be kind.")


@ENTRIES
async def test_tools_get_the_deps_of_the_run(ask: Callable[..., Any]) -> None:
    model = ScriptedModel([call("stock"), "done"])
    await ask(Agent[Shop](model, [stock]), deps=Shop("north"))
    assert results(model) == ["north"]


async def test_runs_side_by_side_have_their_own_deps() -> None:
    model = ScriptedModel([call("stock")] * 3 + ["done"] * 3)
    agent = Agent[Shop](model, [stock])
    await asyncio.gather(*(agent.run("?", deps=Shop(name)) for name in "abc"))
    assert sorted(request[-1].text for request in model.requests[3:]) == ["a", "b", "c"]


async def test_a_run_without_the_deps_of_its_tools_is_refused_before_it_begins() -> None:
    model, session = ScriptedModel(["never"]), Session()
    with pytest.raises(ConfigError, match=r"'stock' uses the deps .* deps="):
        await Agent(model, [stock]).run("?", session)
    assert model.requests == []
    assert session.messages == []


@pytest.mark.parametrize("hint", [ToolContext, "ToolContext[Shop | None]", "ToolContext[object]"])
async def test_a_tool_that_can_do_without_deps_gets_none(hint: Any) -> None:
    seen: list[object] = []

    def look(context: ToolContext[Any]) -> str:
        """Look."""
        seen.append(context.deps)
        return "seen"

    look.__annotations__["context"] = hint
    await Agent(ScriptedModel([call("look"), "done"]), [look]).run("?")
    assert seen == [None]


async def test_a_tool_knows_its_call_its_run_and_what_it_has_used() -> None:
    @tool
    def look(context: ToolContext) -> str:
        """Look."""
        roles = [message.role for message in context.messages]
        return f"{context.call.id} {context.prompt} {roles} {context.usage.requests}"

    model = ScriptedModel([call("look", "one"), call("look", "two"), "done"])
    await Agent(model, [look]).run("Why?")
    assert results(model) == [
        "one Why? ['user'] 1",
        "two Why? ['user', 'assistant', 'tool'] 2",
    ]


def _brief(context: RunContext[Shop]) -> str:
    return f"You work at {context.deps.name}; {context.prompt} {len(context.messages)}"


async def _later(context: RunContext[Shop]) -> str:
    await asyncio.sleep(0)
    return _brief(context)


@pytest.mark.parametrize("instructions", [_brief, _later])
async def test_instructions_are_written_for_each_run(instructions: Any) -> None:
    model = ScriptedModel(["one", "two"])
    agent, session = Agent[Shop](model, instructions=instructions), Session()
    await agent.run("First?", session, deps=Shop("north"))
    await agent.run("Second?", session, deps=Shop("south"))
    written = [request[0].text.splitlines()[-1] for request in model.requests]
    assert written == ["You work at north; First? 1", "You work at south; Second? 3"]


async def test_instructions_that_fail_leave_the_session_as_it_was() -> None:
    def fail(context: RunContext) -> str:
        raise LookupError(context.prompt)

    session = Session()
    with pytest.raises(LookupError):
        await Agent(ScriptedModel([]), instructions=fail).run("?", session)
    assert session.messages == []


@pytest.mark.parametrize(
    ("preamble", "system"),
    [("Answer in rhyme.", "Answer in rhyme.\n\nBe brief."), ("", "Be brief.")],
)
async def test_the_preamble_can_be_replaced(preamble: str, system: str) -> None:
    model = ScriptedModel(["Yes."])
    await Agent(model, instructions="Be brief.", preamble=preamble).run("?")
    assert model.requests[0][0] == Message("system", system)


async def test_without_preamble_and_instructions_there_is_no_system_message() -> None:
    model = ScriptedModel(["Yes."])
    await Agent(model, preamble="").run("?")
    assert [message.role for message in model.requests[0]] == ["user"]


async def test_an_override_comes_before_the_keywords_of_a_run_and_ends_with_its_block() -> None:
    agent = Agent(ScriptedModel(["own"]))
    with agent.override(model=ScriptedModel(["test"]), instructions="Outer."):
        inner = ScriptedModel(["inner"])
        with agent.override(model=inner):
            assert (await agent.run("?", model="openai:gpt-5")).text == "inner"
        assert inner.requests[0][0].text.endswith("Outer.")
        assert (await agent.run("?")).text == "test"
    assert (await agent.run("?")).text == "own"


async def test_an_override_holds_in_its_own_task_only() -> None:
    agent = Agent(ScriptedModel(["own"] * 3))
    entered, done = asyncio.Event(), asyncio.Event()

    async def overriding() -> str:
        with agent.override(model=ScriptedModel(["test"])):
            entered.set()
            await done.wait()
            return (await agent.run("?")).text

    task = asyncio.create_task(overriding())
    await entered.wait()
    assert (await agent.run("?")).text == "own"
    done.set()
    assert await task == "test"


async def test_an_override_reaches_a_sub_agent() -> None:
    inner = Agent(ScriptedModel([]))
    outer = Agent(
        ScriptedModel([call("ask", question="?"), "done"]), [inner.as_tool("ask", "Ask.")]
    )
    with inner.override(model=ScriptedModel(["from the test"])):
        answer = await outer.run("?")
    assert "from the test" in [message.text for message in answer.messages]


@pytest.mark.parametrize("path", ["/async", "/sync", "/stream"])
def test_an_override_reaches_the_handlers_of_a_web_application(path: str) -> None:
    agent, app = Agent("openai:gpt-5"), FastAPI()

    @app.get("/async")
    async def answer() -> str:
        return (await agent.run("?")).text

    @app.get("/sync")
    def answer_sync() -> str:
        return agent.run_sync("?").text

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        events = agent.stream("?")
        return StreamingResponse(e.text async for e in events if isinstance(e, TextDelta))

    with TestClient(app) as client, agent.override(model=ScriptedModel(["Yes."])):
        assert "Yes." in client.get(path).text


@ENTRIES
async def test_an_unknown_keyword_is_an_error_as_in_any_function(ask: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="modle"):
        await ask(Agent(ScriptedModel(["Yes."])), modle="x")


async def test_an_agent_needs_a_key_only_when_it_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    agent = Agent("openai:gpt-5")
    with agent.override(model=ScriptedModel(["Yes."])):
        assert (await agent.run("?")).text == "Yes."
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        await agent.run("?")


class _Closing(ScriptedModel):
    closed = False

    async def close(self) -> None:
        self.closed = True


@ENTRIES
async def test_a_closed_agent_says_so_and_leaves_the_models_of_others_open(
    ask: Callable[..., Any],
) -> None:
    model = _Closing(["Yes."])
    async with Agent(model) as agent:
        await ask(agent)
    with pytest.raises(ConfigError, match="This agent is closed"):
        await ask(agent)
    assert not model.closed


def test_an_agent_is_a_synchronous_context_manager_too() -> None:
    with Agent("extractive") as agent:
        assert agent.run_sync("?").stop_reason == "refused"
    with pytest.raises(ConfigError, match="This agent is closed"), agent:
        pass


_MISTAKES: Mapping[str, tuple[type[Exception], str, Callable[[Agent], Any]]] = {
    "an id for a session": (
        TypeError,
        "Session, not a value of type str",
        lambda agent: agent.run_sync("?", cast(Any, "user-7")),
    ),
    "a misspelt keyword": (
        TypeError,
        "no keyword modle. It has output, approve, deps, .*model",
        lambda agent: agent.run_sync("?", **cast(Any, {"modle": "x"})),
    ),
    "an unknown retrieval mode": (
        ConfigError,
        "'alway' is unknown: choose always",
        lambda agent: agent.run_sync("?", retrieval=Retrieval(cast(Any, "alway"))),
    ),
    "an unknown choice for failures of tools": (
        ConfigError,
        "'ignore': choose 'tell'",
        lambda agent: Agent(agent.model, on_tool_error=cast(Any, "ignore")),
    ),
}


@pytest.mark.parametrize("mistake", _MISTAKES)
def test_a_mistake_is_answered_with_what_is_expected(mistake: str) -> None:
    kind, message, make = _MISTAKES[mistake]
    with pytest.raises(kind, match=message):
        make(Agent(ScriptedModel([])))


async def test_a_run_can_have_its_own_approval() -> None:
    @tool(needs_approval=True)
    def send(to: str) -> str:
        """Send."""
        return f"sent to {to}"

    model = ScriptedModel([ToolCall("1", "send", {"to": "a"}), ToolCall("2", "send", {"to": "b"})])
    agent = Agent(model, tools=[send])
    answer = await agent.run("Send it.", approve=pause)
    assert [call.arguments for call in answer.waiting] == [{"to": "a"}]
