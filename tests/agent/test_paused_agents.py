"""A pause in a sub-agent pauses the agent that asked it; both go on, here or in another process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, Session, ToolError, tool
from agentkit.agent.approval import ALLOWED, DENIED, pause
from agentkit.agent.session_store import SessionStore
from agentkit.agent.tool_runner import NOT_ALLOWED
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import AlreadyDecided
from agentkit.events import ApprovalRequested, Nested, TextDelta, ToolFinished, ToolStarted
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.messages import Usage
from tests.agent.scripts import assert_valid, call, events_of, results
from tests.agent.test_approval import RAN, TOOLS, _nothing_ran, read  # noqa: F401

QUESTION = {"question": "?"}


def _inner(*turns: Any, **options: Any) -> Agent:
    return Agent(ScriptedModel([*turns]), TOOLS, approve=pause, **options)


def _outer(*turns: Any, **agents: Agent) -> Agent:
    tools = [agent.as_tool(name, "Ask.") for name, agent in agents.items()]
    return Agent(ScriptedModel([*turns]), [*tools, read])


async def test_a_call_that_waits_in_a_sub_agent_pauses_the_outer_run() -> None:
    agent = _outer(
        call("files", "out", **QUESTION), "all done", files=_inner(call("erase", path="a"), "gone")
    )
    session = Session()
    answer = await agent.run("Clean up.", session)
    assert answer.stop_reason == "paused"
    assert answer.waiting == session.waiting
    [waiting] = answer.waiting
    assert (waiting.name, waiting.arguments, waiting.agents) == ("erase", {"path": "a"}, ("files",))
    assert RAN == []
    answer = await agent.resume(session, {waiting.id: ALLOWED})
    assert (answer.text, answer.waiting, RAN) == ("all done", (), ["a"])
    assert_valid(session.messages)
    assert [m.text for m in session.messages if m.role == "tool"] == ["gone"]


async def test_a_denial_is_reported_to_the_sub_agent() -> None:
    inner = _inner(call("erase", path="a"), "not erased")
    agent = _outer(call("files", "out", **QUESTION), "sorry", files=inner)
    session = Session()
    [waiting] = (await agent.run("?", session)).waiting
    assert (await agent.resume(session, {waiting.id: DENIED})).text == "sorry"
    assert RAN == []
    assert isinstance(inner.model, ScriptedModel)
    assert results(inner.model) == [NOT_ALLOWED]


async def test_a_sub_agent_of_a_sub_agent_goes_on_from_the_file_in_another_process(
    tmp_path: Path,
) -> None:
    def make(top: list[Any], middle: list[Any], lowest: list[Any]) -> Agent:
        files = _inner(*lowest)
        return _outer(*top, manager=_outer(*middle, files=files))

    first = make(
        [call("manager", "m", **QUESTION)],
        [call("files", "f", **QUESTION)],
        [call("erase", "e", path="a")],
    )
    store = SessionStore(tmp_path / "sessions.sqlite")
    session = store.create("cleaning")
    answer = await first.run("Clean up.", session)
    session.close()
    store.close()

    store = SessionStore(tmp_path / "sessions.sqlite")
    session = store.open("cleaning")
    assert session.waiting == answer.waiting
    [waiting] = session.waiting
    assert (waiting.name, waiting.agents) == ("erase", ("manager", "files"))
    second = make(["all clean"], ["they did it"], ["erased it"])
    answer = await second.resume(session, {waiting.id: ALLOWED})
    assert (answer.text, RAN) == ("all clean", ["a"])
    assert [m.text for m in session.messages] == ["Clean up.", "", "they did it", "all clean"]
    session.close()
    store.close()


async def test_sub_agents_that_wait_side_by_side_are_decided_one_by_one() -> None:
    agents = {n: _inner(call("erase", "1", path=n), f"{n} is gone") for n in ("a", "b")}
    calls = [call("a", "1", **QUESTION), call("read", "2"), call("b", "3", **QUESTION)]
    agent, session = _outer(calls, "done", **agents), Session()
    answer = await agent.run("?", session)
    first, second = answer.waiting
    assert (first.agents, second.agents, RAN) == (("a",), ("b",), ["x"])
    answer = await agent.resume(session, {second.id: ALLOWED})
    assert (answer.stop_reason, answer.waiting, RAN) == ("paused", (first,), ["x", "b"])
    answer = await agent.resume(session, {first.id: ALLOWED})
    assert (answer.text, RAN) == ("done", ["x", "b", "a"])
    assert isinstance(agent.model, ScriptedModel)
    assert results(agent.model) == ["a is gone", "read x", "b is gone"]


async def test_a_sub_agent_that_waits_twice_pauses_twice() -> None:
    inner = _inner(call("erase", "1", path="a"), call("erase", "2", path="b"), "both")
    agent, session = _outer(call("files", "o", **QUESTION), "done", files=inner), Session()
    [first] = (await agent.run("?", session)).waiting
    [second] = (await agent.resume(session, {first.id: ALLOWED})).waiting
    with pytest.raises(AlreadyDecided):
        await agent.resume(session, {first.id: ALLOWED})
    assert (await agent.resume(session, {second.id: ALLOWED})).text == "done"
    assert RAN == ["a", "b"]


async def test_usage_of_a_sub_agent_is_counted_once_over_its_pause() -> None:
    inner = _inner([call("erase", path="a"), Usage(100, 10)], [TextDelta("gone"), Usage(200, 20)])
    agent = _outer(
        [call("files", "o", **QUESTION), Usage(1, 1)], [TextDelta("done"), Usage(2, 2)], files=inner
    )
    session = Session()
    answer = await agent.run("?", session)
    assert answer.usage == Usage(101, 11, requests=2, tool_calls=1)
    answer = await agent.resume(session, {answer.waiting[0].id: ALLOWED})
    assert answer.usage == Usage(303, 33, requests=4, tool_calls=2)


async def test_events_of_a_sub_agent_that_goes_on_are_nested_in_its_call() -> None:
    inner = _inner(call("erase", "e", path="a"), "gone")
    agent, session = _outer(call("files", "o", **QUESTION), "done", files=inner), Session()
    events = await events_of(agent, "?", session)
    assert any(isinstance(e, Nested) and isinstance(e.event, ApprovalRequested) for e in events)
    assert not any(isinstance(e, ToolFinished) for e in events)
    verdicts = {call.id: ALLOWED for call in session.waiting}
    events = [e async for e in agent.stream_resume(session, verdicts)]
    assert isinstance(events[0], ToolStarted)
    nested = [e.event for e in events if isinstance(e, Nested)]
    assert [type(e) for e in nested] == [ToolStarted, ToolFinished, TextDelta]
    assert [e.result.text for e in events if isinstance(e, ToolFinished)] == ["gone"]


async def test_passages_that_a_sub_agent_found_before_its_pause_are_cited_after_it(
    tmp_path: Path, embedder: Any
) -> None:
    from agentkit.documents import Document

    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    await knowledge.add([Document("b.md", "Dogs bark at 90 dB.", "Dogs")])
    turns: list[Any] = [call("erase", "e", path="a"), "Dogs bark at 90 dB [1]."]
    inner = Agent(ScriptedModel(turns), TOOLS, knowledge, approve=pause)
    agent = _outer(call("dogs", "o", **QUESTION), "Dogs bark at 90 dB [1].", dogs=inner)
    store = SessionStore(tmp_path / "sessions.sqlite")
    session = store.create("dogs")
    await agent.run("How loud are dogs?", session)
    session.close()
    session = store.open("dogs")
    answer = await agent.resume(session, {call.id: ALLOWED for call in session.waiting})
    assert [c.chunk.source for c in answer.citations] == ["b.md"]
    session.close()
    store.close()
    knowledge.close()


async def test_a_sub_agent_that_nobody_can_resume_says_so() -> None:
    ask = _inner(call("erase", path="a")).as_tool("ask", "Ask.")
    with pytest.raises(ToolError, match="waits for approval"):
        await ask.run(QUESTION)
    assert RAN == []


async def test_a_run_that_ends_while_a_sub_agent_waits_keeps_a_valid_session() -> None:
    @tool
    async def fail() -> str:
        """Fail."""
        raise KeyError("x")

    inner = _inner(call("erase", path="a"))
    ask = inner.as_tool("ask", "Ask.")
    model = ScriptedModel([[call("ask", "1", **QUESTION), call("fail", "2")], "next"])
    agent, session = Agent(model, [ask, fail], on_tool_error="raise"), Session()
    with pytest.raises(ToolError):
        await agent.run("?", session)
    assert_valid(session.messages)
    assert session.waiting == ()
    assert (await agent.run("?", session)).text == "next"


async def test_no_id_of_a_call_reads_like_that_of_a_call_in_a_sub_agent() -> None:
    ask = _inner(call("erase", "y", path="in")).as_tool("ask", "Ask.")
    calls = [call("ask", "x", **QUESTION), call("erase", "x/y", path="out")]
    session = Session()
    agent = Agent(ScriptedModel([calls, "done"]), [ask, *TOOLS], approve=pause)
    first, second = (await agent.run("?", session)).waiting
    assert first.id != second.id
    await agent.resume(session, {second.id: ALLOWED})
    assert RAN == ["out"]
