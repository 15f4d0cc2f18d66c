"""The whole way over an OpenAI-format server: its quirks and faults, and what the run makes of
them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest

from agentkit import Agent, Limits, Session, tool
from agentkit.backends.openai.model import OpenAIModel
from agentkit.errors import ModelError
from agentkit.events import Compacted, ReasoningDelta, Retried, TextDelta
from agentkit.messages import Usage
from tests.agent.scripts import answer_of, assert_valid, events_of
from tests.agent.test_written_calls import WRITTEN
from tests.servers.openai_server import OpenAIServer, Reply, call, calls, error, text


@tool
def lookup(city: str, days: int = 1) -> str:
    """Look the weather of a city up."""
    return f"{city} {days}"


ROME = '{"city": "Rome"}'
OSLO = '{"city": "Oslo"}'
DONE = Reply(text("do", "ne"))


@pytest.fixture
async def model(openai_server: OpenAIServer) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel("small", provider="test", base_url=openai_server.url, max_retries=1)
    yield model
    await model.close()


async def _tool_results(
    server: Any, model: OpenAIModel, first: Reply, limits: Limits = Limits()
) -> list[Any]:  # noqa: E501, RUF100
    """What the tools gave in a run whose first answer is this one."""
    server.replies(*(first if isinstance(first, list) else [first]), DONE)
    session = Session()
    answer = await Agent(model, [lookup], limits=limits).run("?", session)
    assert answer.text == "done"
    assert_valid(session.messages)
    sent = server.requests[-1]["messages"]
    ids = [c["id"] for m in sent for c in m.get("tool_calls", ())]
    assert ids == [m["tool_call_id"] for m in sent if m["role"] == "tool"]
    return [m["content"] for m in sent if m["role"] == "tool"]


def _reply_with_call(*pieces: Any, finish: str = "tool_calls", **more: Any) -> Reply:
    return Reply(calls(*pieces), finish, **more)


ANSWERS = {
    "a whole call": (_reply_with_call(call(ROME, "lookup", 0, "a")), ["Rome 1"]),
    "a call in pieces": (
        _reply_with_call(
            call("", "lookup", 0, "a"), call('{"ci', None, 0), call('ty": "Rome"}', None, 0)
        ),
        ["Rome 1"],
    ),
    "no id": (_reply_with_call(call(ROME, "lookup", 0)), ["Rome 1"]),
    "no index": (_reply_with_call(call(ROME, "lookup", id="a")), ["Rome 1"]),
    "no index and no id": (_reply_with_call(call(ROME, "lookup")), ["Rome 1"]),
    "two calls in one delta": (
        Reply(
            [{"tool_calls": [call(ROME, "lookup", 0, "a"), call(OSLO, "lookup", 1, "b")]}],
            "tool_calls",
        ),
        ["Rome 1", "Oslo 1"],
    ),
    "two calls of one id": (
        _reply_with_call(call(ROME, "lookup", 0, "same"), call(OSLO, "lookup", 1, "same")),
        ["Rome 1", "Oslo 1"],
    ),
    "two calls of one index": (
        _reply_with_call(call(ROME, "lookup", 0, "a"), call(OSLO, "lookup", 0, "b")),
        ["Rome 1", "Oslo 1"],
    ),
    "two calls without ids": (
        _reply_with_call(call(ROME, "lookup", 0), call(OSLO, "lookup", 1)),
        ["Rome 1", "Oslo 1"],
    ),
    "stop with a call": (_reply_with_call(call(ROME, "lookup", 0, "a"), finish="stop"), ["Rome 1"]),
    "a trailing comma": (_reply_with_call(call('{"city": "Rome",}', "lookup", 0, "a")), ["Rome 1"]),
    "single quotes": (_reply_with_call(call("{'city': 'Rome'}", "lookup", 0, "a")), ["Rome 1"]),
    "JSON in a JSON string": (
        _reply_with_call(call(json.dumps(ROME), "lookup", 0, "a")),
        ["Rome 1"],
    ),
    "arguments as an object": (
        _reply_with_call(call({"city": "Rome"}, "lookup", 0, "a")),
        ["Rome 1"],
    ),
    "a number as text": (
        _reply_with_call(call('{"city": "Rome", "days": "3"}', "lookup", 0, "a")),
        ["Rome 3"],
    ),
    "a name in capitals": (_reply_with_call(call(ROME, "LOOKUP", 0, "a")), ["Rome 1"]),
    "usage left out": (_reply_with_call(call(ROME, "lookup", 0, "a"), usage=None), ["Rome 1"]),
    "no done mark": (_reply_with_call(call(ROME, "lookup", 0, "a"), done=False), ["Rome 1"]),
    "thinking first": (
        Reply([{"reasoning_content": "hm"}, *calls(call(ROME, "lookup", 0, "a"))], "tool_calls"),
        ["Rome 1"],
    ),
}


@pytest.mark.parametrize(("reply", "expected"), ANSWERS.values(), ids=ANSWERS)
async def test_a_call_is_made_however_the_server_writes_it(
    openai_server: OpenAIServer, model: OpenAIModel, reply: Any, expected: Any
) -> None:
    assert await _tool_results(openai_server, model, reply) == expected


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
async def test_a_call_that_the_server_left_in_the_text_is_made(
    openai_server: OpenAIServer, model: OpenAIModel, written: Any
) -> None:
    pieces = [written[at : at + 5] for at in range(0, len(written), 5)]
    assert await _tool_results(openai_server, model, Reply(text(*pieces))) == ["Rome 1"]


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("lookup", "Rome, please", "not a JSON object"),
        ("lookup", "{}", "city: Field required"),
        ("lookop", ROME, "There is: lookup"),
        ("weather", ROME, "There is: lookup"),
    ],
)
async def test_a_call_that_cannot_be_made_goes_back(
    openai_server: OpenAIServer, model: OpenAIModel, name: str, arguments: str, expected: str
) -> None:
    reply = _reply_with_call(call(arguments, name, 0, "a"))
    [reported] = await _tool_results(openai_server, model, reply)
    assert expected in reported


async def test_arguments_cut_off_at_the_token_limit_go_back(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    reply = _reply_with_call(call('{"city": "Ro', "lookup", 0, "a"), finish="length")
    [reported] = await _tool_results(openai_server, model, reply)
    assert "cut off" in reported


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
async def test_a_server_that_fails_once_is_asked_again(
    openai_server: OpenAIServer, model: OpenAIModel, status: int
) -> None:
    busy = Reply(status=status, raw=error("busy"), headers={"retry-after": "0"})
    openai_server.replies(busy, _reply_with_call(call(ROME, "lookup", 0, "a")), DONE)
    events = await events_of(Agent(model, [lookup]))
    assert [type(e) for e in events].count(Retried) == 1
    assert answer_of(events).text == "done"


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
async def test_a_server_that_keeps_failing_ends_the_run_with_one_line(
    openai_server: OpenAIServer, model: OpenAIModel, status: int
) -> None:
    refused = Reply(status=status, raw=error("no"), headers={"retry-after": "0"})
    openai_server.replies(refused)
    session = Session()
    with pytest.raises(ModelError) as caught:
        await Agent(model, [lookup]).run("?", session)
    assert "\n" not in str(caught.value)
    assert [m.role for m in session.messages] == ["user"]


async def test_a_failure_in_the_second_turn_keeps_the_first(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    gone = Reply(status=400, raw=error("no"))
    openai_server.replies(_reply_with_call(call(ROME, "lookup", 0, "a")), gone, DONE)
    session, agent = Session(), Agent(model, [lookup])
    with pytest.raises(ModelError):
        await agent.run("?", session)
    assert [m.text for m in session.messages] == ["?", "", "Rome 1"]
    assert_valid(session.messages)
    assert (await agent.run("go on", session)).text == "done"


@pytest.mark.parametrize("how", ["reset", "truncated", "done"])
async def test_a_server_that_dies_in_the_text_leaves_what_it_stated(
    openai_server: OpenAIServer, model: OpenAIModel, how: str
) -> None:
    broken: dict[str, dict[str, Any]] = {
        "reset": {"reset": True},
        "truncated": {"truncated": True},
        "done": {"done": False},
    }  # noqa: E501, RUF100
    openai_server.replies(Reply(text("half an", " answer"), finish=None, usage=None, **broken[how]))
    session = Session()
    with pytest.raises(ModelError):
        await Agent(model, [lookup]).run("?", session)
    assert session.messages[-1].text.startswith("half an")
    assert_valid(session.messages)


async def test_a_server_that_dies_in_a_call_runs_nothing(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    openai_server.replies(Reply(calls(call(ROME, "lookup", 0, "a")), None, reset=True))
    session = Session()
    with pytest.raises(ModelError):
        await Agent(model, [lookup]).run("?", session)
    assert [m.role for m in session.messages] == ["user"]


async def test_an_error_in_the_stream_is_the_runs_error(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    openai_server.replies(Reply(text("so"), None, error={"message": "out of memory"}))
    with pytest.raises(ModelError, match="out of memory"):
        await Agent(model, [lookup]).run("?")


async def test_a_prompt_that_the_server_calls_too_long_is_shortened_and_sent_again(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    long = Reply(status=400, raw=error("too many tokens", code="context_length_exceeded"))
    openai_server.replies(DONE, long, Reply(text("A summary.")), DONE)
    agent, session = Agent(model, [lookup]), Session()
    await agent.run("first " * 200, session)
    events = await events_of(agent, "second", session)
    assert any(isinstance(e, Compacted) for e in events)
    assert answer_of(events).text == "done"
    assert "A summary." in openai_server.requests[-1]["messages"][0]["content"]


async def test_a_prompt_that_stays_too_long_says_what_to_do(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    long = Reply(status=400, raw=error("too many tokens", code="context_length_exceeded"))
    openai_server.replies(long)
    with pytest.raises(ModelError) as caught:
        await Agent(model, [lookup]).run("?" * 4000)
    assert caught.value.kind == "too_long"
    assert "context" in str(caught.value)


async def test_an_empty_answer_is_asked_for_again(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    openai_server.replies(Reply([]), Reply(text("blue")))
    session = Session()
    answer = await Agent(model, [lookup]).run("?", session)
    assert (answer.text, answer.stop_reason) == ("blue", "stop")
    assert [m.role for m in session.messages] == ["user", "assistant"]
    assert_valid(session.messages)


async def test_thinking_alone_is_an_error_with_the_next_step(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    thinking = Reply([{"reasoning_content": "hm"}], "length")
    openai_server.replies(thinking, thinking)
    with pytest.raises(ModelError, match=r"empty answer.*still thinking.*Raise max_tokens"):
        await Agent(model, [lookup]).run("?")


async def test_an_answer_that_the_content_filter_withholds_is_an_error(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    openai_server.replies(Reply([], "content_filter"))
    with pytest.raises(ModelError, match=r"content filter.*other words"):
        await Agent(model, [lookup]).run("?")


async def test_thinking_without_its_opening_tag_is_not_part_of_the_answer(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    openai_server.replies(Reply(text("They ask for ", "a colour.\n</think>\n\n", "blue")))
    session = Session()
    events = await events_of(Agent(model, [lookup]), session=session)
    assert answer_of(events).text == "blue"
    assert session.messages[-1].text == "blue"
    retried = next(at for at, event in enumerate(events) if isinstance(event, Retried))
    assert [e.text for e in events[retried:] if isinstance(e, TextDelta)] == ["blue"]


async def test_after_one_such_reply_thinking_is_held_back_while_it_is_streamed(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    thinking = Reply(text("They ask ", "again.", "</think>", "\n\n", "bl", "ue"))
    openai_server.replies(thinking, thinking, Reply(text("plain ", "text")))
    agent = Agent(model, [lookup])
    await agent.run("?")
    events = await events_of(agent)
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["bl", "ue"]
    assert [e.text for e in events if isinstance(e, ReasoningDelta)] == ["They ask again."]
    events = await events_of(agent)
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "plain text"


@pytest.mark.parametrize("name", ["deepseek-r1:7b", "QwQ-32B", "qwen3-4b-thinking-2507"])
async def test_a_model_that_thinks_by_its_name_is_held_back_at_once(
    openai_server: OpenAIServer, name: str
) -> None:
    openai_server.replies(Reply(text("hm", "\n</think>\n", "blue")))
    model = OpenAIModel(name, provider="test", base_url=openai_server.url)
    events = await events_of(Agent(model))
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["blue"]
    await model.close()


async def test_thinking_in_tags_is_distinguished(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    openai_server.replies(Reply(text("<thi", "nk>hm</th", "ink>", "\n\nblue")))
    events = await events_of(Agent(model, [lookup]))
    assert [e.text for e in events if isinstance(e, TextDelta)] == ["blue"]
    assert answer_of(events).text == "blue"


async def test_tokens_are_the_servers_own(openai_server: OpenAIServer, model: OpenAIModel) -> None:
    openai_server.replies(_reply_with_call(call(ROME, "lookup", 0, "a")), DONE)
    answer = await Agent(model, [lookup]).run("?")
    assert answer.usage == Usage(14, 6, requests=2, tool_calls=1)


async def test_the_last_turn_offers_no_tools(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    limits = Limits(turns=2)
    await _tool_results(
        openai_server, model, _reply_with_call(call(ROME, "lookup", 0, "a")), limits
    )
    assert "tools" in openai_server.requests[0]
    assert "tools" not in openai_server.requests[1]


async def test_between_compactions_each_request_extends_the_last_ones_bytes(
    openai_server: OpenAIServer, model: OpenAIModel
) -> None:
    def answer(body: Any) -> Reply:
        asked = len(body["messages"])
        if asked > 14 and body["messages"][-1]["role"] == "tool":
            return DONE
        return _reply_with_call(call(json.dumps({"city": f"c{asked}"}), "lookup", 0, f"id{asked}"))

    openai_server.answer = answer
    agent, session = Agent(model, [lookup], limits=Limits(turns=40)), Session()
    await agent.run("first", session)
    openai_server.answer = lambda body: DONE
    await agent.run("second", session)
    sent = [json.dumps(r["messages"])[:-1] for r in openai_server.requests]
    assert len(sent) > 6
    assert all(b.startswith(a) for a, b in pairwise(sent))
    tools = [json.dumps(r["tools"]) for r in openai_server.requests]
    assert len(set(tools)) == 1
