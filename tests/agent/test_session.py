"""A session in memory: one run at a time, closed for good, and the same again from its JSON."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import pytest

from agentkit import (
    Agent,
    Chunk,
    ConfigError,
    ImagePart,
    Message,
    Passage,
    ScriptedModel,
    Session,
    SessionBusy,
    TextPart,
    Tool,
    ToolCall,
    pause,
    tool,
)
from agentkit.agent.approval import ALLOWED
from agentkit.backends.base import Options
from agentkit.events import ModelPart

CHUNK = Chunk("c1", "d1", "notes/a.md", "A", "A > B", "Sky is blue.", 3, 15, 2, "page 2")


class SlowModel(ScriptedModel):
    """Answers when it is let."""

    def __init__(self, script: Sequence[Any]) -> None:
        super().__init__(script)
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool[Any]] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        self.asked.set()
        await self.let.wait()
        async for part in super().stream(messages, tools, options):
            yield part


async def test_a_second_run_on_a_session_is_refused_while_the_first_goes_on() -> None:
    session, model = Session("talk"), SlowModel(["first", "second"])
    agent = Agent(model)
    running = asyncio.create_task(agent.run("one", session))
    await model.asked.wait()
    with pytest.raises(SessionBusy, match=r"talk.*wait=60"):
        await agent.run("two", session)
    model.let.set()
    assert (await running).text == "first"
    assert [m.text for m in session.messages] == ["one", "first"]
    assert (await agent.run("two", session)).text == "second"


async def test_runs_that_wait_follow_each_other_in_order_with_all_messages() -> None:
    session, model = Session(wait=30), SlowModel(["a", "b", "c"])
    agent = Agent(model)
    runs = [asyncio.create_task(agent.run(prompt, session)) for prompt in ("1", "2", "3")]
    await model.asked.wait()
    model.let.set()
    answers = [await run for run in runs]
    assert [answer.text for answer in answers] == ["a", "b", "c"]
    assert [m.text for m in session.messages] == ["1", "a", "2", "b", "3", "c"]
    assert [m.text for m in answers[2].messages] == ["3", "c"]


async def test_a_run_waits_no_longer_than_its_session_allows() -> None:
    session, model = Session(wait=0.02), SlowModel(["a", "b"])
    agent = Agent(model)
    running = asyncio.create_task(agent.run("one", session))
    await model.asked.wait()
    with pytest.raises(SessionBusy):
        await agent.run("two", session)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    model.let.set()
    assert (await agent.run("three", session)).text == "a"


async def test_runs_of_two_event_loops_take_turns() -> None:
    session, model = Session(wait=30), SlowModel(["a", "b"])
    running = asyncio.create_task(Agent(model).run("one", session))
    await model.asked.wait()
    late = Agent(ScriptedModel(["late"]))
    other = asyncio.create_task(asyncio.to_thread(lambda: late.run_sync("two", session)))
    model.let.set()
    assert ((await running).text, (await other).text) == ("a", "late")
    assert [m.text for m in session.messages] == ["one", "a", "two", "late"]


async def test_a_closed_session_says_that_it_is_closed() -> None:
    async with Session("talk") as session:
        await Agent(ScriptedModel(["hi"])).run("hello", session)
    with pytest.raises(ConfigError, match="session talk is closed"):
        await Agent(ScriptedModel(["hi"])).run("again", session)
    assert [m.text for m in session.messages] == ["hello", "hi"]


@tool(needs_approval=True)
def erase(name: str) -> str:
    """Erase."""
    return f"{name} is gone"


async def test_json_holds_the_whole_session() -> None:
    session = Session("talk")
    marker = session.sources.mark(CHUNK)
    session.add(
        [
            Message("user", (TextPart("look"), ImagePart(b"\x89PNG\0", "image/png"))),
            Message("assistant", "", (ToolCall("1", "add", {"a": [1, None]}),)),
            Message("tool", "失败", (), "1", (Passage(marker, CHUNK, 0.5),), failed=True),
        ]
    )
    session.compact([Message("system", "summary"), session.messages[-1]])
    agent = Agent(ScriptedModel([ToolCall("2", "erase", {"name": "a"})]), [erase], approve=pause)
    assert (await agent.run("erase a", session)).stop_reason == "paused"

    again = Session.from_json(session.to_json())
    assert again.record() == session.record()
    assert (again.id, again.messages, again.view) == ("talk", session.messages, session.view)
    assert again.sources.find("1") == CHUNK
    assert [call.id for call in again.waiting] == ["2"]
    resumed = await Agent(ScriptedModel(["done"]), [erase]).resume(again, {"2": ALLOWED})
    assert resumed.text == "done"
    assert again.messages[-2].text == "a is gone"


_CHUNK = {
    "id": "c",
    "document_id": "d",
    "source": "s",
    "title": "",
    "heading": "",
    "text": "four",
    "start": 0,
    "end": 4,
}
_RUN = {
    "id": "",
    "begun": 0,
    "output": "",
    "rejected": 0,
    "spent": {"usage": {}, "cost": None, "turns": 0, "tool_calls": 0, "seconds": 0.0},
}
_CALL = {"role": "assistant", "tool_calls": [{"name": "erase"}]}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{",
        "[" * 100_000,
        b"\xff\xfe\x00",
        "{}",
        '{"error": "not found"}',
        '{"version": 99}',
        '{"messages": {}}',
        '{"messages": [3]}',
        '{"messages": [{"content": "no role"}]}',
        '{"messages": [{"role": "root", "content": "x"}]}',
        '{"messages": [{"role": "user", "content": 3}]}',
        '{"messages": [{"role": "user", "content": [{"image": "é"}]}]}',
        '{"messages": [{"role": "user", "content": "\\ud800"}]}',
        '{"messages": [{"role": "assistant", "tool_calls": [{"name": 1}]}]}',
        '{"messages": [{"role": "assistant", "tool_calls": [{"name": "a", "arguments": [1]}]}]}',
        '{"view": [{"role": "user", "passages": [{}]}]}',
        json.dumps({"sources": {"2": _CHUNK}}),
        json.dumps({"sources": {"1": _CHUNK, "2": _CHUNK}}),
        json.dumps({"sources": {"one": _CHUNK}}),
        json.dumps({"sources": {"1": {**_CHUNK, "text": None}}}),
        '{"pending": {}}',
        json.dumps({"pending": {"message": _CALL, "outcomes": [None], "run": _RUN}}),
        json.dumps(
            {
                "messages": [{"role": "user", "content": "q"}],
                "pending": {"message": _CALL, "outcomes": [], "run": _RUN},
            }
        ),
        json.dumps(
            {
                "messages": [{"role": "user", "content": "q"}],
                "pending": {"message": _CALL, "outcomes": [None], "run": {**_RUN, "begun": 1}},
            }
        ),
    ],
)
def test_json_that_is_no_session_is_refused_with_the_fault(text: str | bytes) -> None:
    with pytest.raises(ConfigError, match=r"not a session that agentkit wrote|has format"):
        Session.from_json(text)


def test_the_fault_of_invalid_json_names_its_place() -> None:
    with pytest.raises(ConfigError, match=r"messages\.1\.content"):
        Session.from_json('{"messages": [{"role": "user"}, {"role": "user", "content": 3}]}')


def test_a_session_of_few_fields_is_a_session() -> None:
    record: Mapping[str, object] = {"messages": [{"role": "user", "content": "hi"}], "more": 1}
    session = Session.from_json(json.dumps(record))
    assert (session.id, session.view) == ("", [Message("user", "hi")])
