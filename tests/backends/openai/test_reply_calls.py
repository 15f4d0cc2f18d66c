"""Tool calls in replies of OpenAI-compatible servers, from public bug reports."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentkit import Agent, tool
from agentkit.backends.base import Options
from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.openai.stream import CompletionStream
from agentkit.events import Done, ModelPart, Retried, TextDelta
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool
from tests.backends.conftest import collected
from tests.backends.openai.test_replies import HI, Json, chunk, data
from tests.servers.openai_server import OpenAIServer, Reply, call, calls, text

ROME, OSLO = '{"city": "Rome"}', '{"city": "Oslo"}'
ONE: dict[str, list[Json]] = {
    "a name in pieces": calls(
        call("", "get_", 0, "a"), call(None, "weather", 0), call(ROME, None, 0)),
    "a name in pieces with an id in each": calls(
        call("", "get_", 0, "a"), call(None, "weather", 0, "a"), call(ROME, None, 0, "a")),
    "a name that grows": calls(
        call("", "get_", 0, "a"), call("", "get_weather", 0, "a"), call(ROME, None, 0)),
    "a name that is null later": [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "get_weather",
                                                             "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "id": None, "function": {"name": None, "arguments": ROME}}]}],
    "empty ids and names later": calls(
        call("", "get_weather", 0, "a"), call(ROME[:5], "", 0, ""), call(ROME[5:], "", 0, "")),
    "an index in the first piece alone": calls(
        call("", "get_weather", 7, "a"), call(ROME[:5]), call(ROME[5:])),
    "an index from the second piece on": calls(
        call("", "get_weather", None, "a"), call(ROME[:5], None, 0), call(ROME[5:], None, 0)),
    "another index for the arguments": calls(
        call("", "get_weather", 0, "a"), call(ROME[:5], None, 1), call(ROME[5:], None, 1)),
    "arguments that grow": calls(
        call(ROME[:5], "get_weather", 0, "a"), call(ROME[:9], None, 0), call(ROME, None, 0)),
    "sent whole once more": calls(
        call(ROME, "get_weather", 0, "a"), call(ROME, "get_weather", 0, "a")),
    "a placeholder before the arguments": calls(
        call("{}", "get_weather", 0, "a"), call(ROME, None, 0)),
    "an empty call at the end": calls(
        call(ROME, "get_weather", 0, "a"), call("", "", 1, "")),
    "arguments as an object": calls(call(json.loads(ROME), "get_weather", 0, "a")),
    "arguments twice encoded": calls(call(json.dumps(ROME), "get_weather", 0, "a")),
    "not in a list": [{"tool_calls": {"id": "a", "function": {"name": "get_weather",
                                                              "arguments": ROME}}}],
    "no function": [{"tool_calls": [{"id": "a", "name": "get_weather", "arguments": ROME}]}],
    "parameters": [{"tool_calls": [{"id": "a", "name": "get_weather",
                                    "parameters": json.loads(ROME)}]}],
    "function_call": [{"function_call": {"name": "get_weather", "arguments": ROME[:5]}},
                      {"function_call": {"arguments": ROME[5:]}}],
    "a wild name": calls(call(ROME, "functions.get_weather:0", 0, "a")),
}  # fmt: skip
TWO: dict[str, list[Json]] = {
    "one index, other ids": calls(
        call(ROME, "get_weather", 0, "a"), call(OSLO, "get_weather", 0, "b")),
    "one index, other ids, in pieces": calls(
        call("", "get_weather", 0, "a"), call(ROME, None, 0, "a"),
        call("", "get_weather", 0, "b"), call(OSLO, None, 0, "b")),
    "one index, empty ids": calls(
        call(ROME, "get_weather", 0, ""), call(OSLO, "get_weather", 0, "")),
    "one index and one id": calls(
        call(ROME, "get_weather", 0, "a"), call(OSLO, "get_weather", 0, "a")),
    "other indexes, one id": calls(
        call(ROME, "get_weather", 0, "a"), call(OSLO, "get_weather", 1, "a")),
    "no index, one chunk": [{"tool_calls": [
        call(ROME, "get_weather", None, "a"), call(OSLO, "get_weather", None, "b")]}],
    "no index and no id, one chunk": [{"tool_calls": [
        call(ROME, "get_weather"), call(OSLO, "get_weather")]}],
    "index 0 in one chunk": [{"tool_calls": [
        call(ROME, "get_weather", 0, ""), call(OSLO, "get_weather", 0, "")]}],
    "the second head at the first index": calls(
        call("", "get_weather", 0, "a"), call(ROME, None, 0), call("", "get_weather", 0, "b"),
        call(OSLO, None, 1)),
    "indexes from one on": calls(
        call(ROME, "get_weather", 1, "a"), call(OSLO, "get_weather", 2, "b")),
    "pieces in turn": calls(
        call("", "get_weather", 0, "a"), call("", "get_weather", 1, "b"),
        call(ROME[:4], None, 0), call(OSLO[:4], None, 1), call(ROME[4:], None, 0),
        call(OSLO[4:], None, 1)),
}  # fmt: skip


@tool
def get_weather(city: str = "") -> str:
    """Weather of a city."""
    return f"sunny in {city}"


@tool
def now() -> str:
    """The time."""
    return "12:00"


async def tool_results(server: OpenAIServer, model: OpenAIModel, reply: Reply) -> list[str]:
    """The results of the calls in a reply."""
    server.replies(reply, Reply())
    answer = await Agent(model, [get_weather, now]).run("?")
    return sorted(message.text for message in answer.messages if message.role == "tool")


@pytest.mark.parametrize("deltas", ONE.values(), ids=ONE)
async def test_one_call_in_any_pieces_runs_once(
    openai_server: OpenAIServer, openai_model: OpenAIModel, deltas: list[Json]
) -> None:
    reply = Reply(deltas, finish="tool_calls")
    assert await tool_results(openai_server, openai_model, reply) == ["sunny in Rome"]
    [sent] = openai_server.requests[-1]["messages"][2]["tool_calls"]
    assert sent["function"]["name"] == "get_weather"
    assert sent["id"]


@pytest.mark.parametrize("deltas", TWO.values(), ids=TWO)
async def test_two_calls_are_kept_apart(
    openai_server: OpenAIServer, openai_model: OpenAIModel, deltas: list[Json]
) -> None:
    found = await tool_results(openai_server, openai_model, Reply(deltas, finish="tool_calls"))
    assert found == ["sunny in Oslo", "sunny in Rome"]
    ids = [one["id"] for one in openai_server.requests[-1]["messages"][2]["tool_calls"]]
    assert len(set(ids)) == 2


@pytest.mark.parametrize("arguments", ["", "null", "{}", "  ", None, {}, '""'], ids=repr)
@pytest.mark.parametrize("ids", [("a", "b"), ("", "")], ids=["ids", "no ids"])
async def test_calls_without_arguments_are_made(
    openai_server: OpenAIServer, openai_model: OpenAIModel, arguments: Any, ids: tuple[str, str]
) -> None:
    deltas = calls(call(arguments, "now", 0, ids[0]), call(ROME, "get_weather", 0, ids[1]))
    found = await tool_results(openai_server, openai_model, Reply(deltas, finish="tool_calls"))
    assert found == ["12:00", "sunny in Rome"]


MESSAGE: Json = {
    "role": "assistant",
    "content": None,
    "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "get_weather", "arguments": ROME}}
    ],
}
LATE = {
    "a message in the last chunk": [{"choices": [{"message": MESSAGE, "finish_reason": "stop"}]}],
    "deltas and the same message": [
        chunk({"tool_calls": [{"index": 0, **MESSAGE["tool_calls"][0]}]}),
        {"choices": [{"message": MESSAGE, "finish_reason": "tool_calls"}]}],
    "with the finish reason": [chunk(
        {"tool_calls": [{"index": 0, **MESSAGE["tool_calls"][0]}]}, "tool_calls")],
    "after the finish reason": [
        chunk(finish="tool_calls"), chunk({"tool_calls": MESSAGE["tool_calls"]})],
    "in a choice of their own": [{"choices": [
        {"message": {"content": "I look."}, "finish_reason": "stop"},
        {"message": MESSAGE, "finish_reason": "tool_calls"}]}],
}  # fmt: skip


@pytest.mark.parametrize("chunks", LATE.values(), ids=LATE)
async def test_calls_that_come_whole_at_the_end_are_made(
    openai_server: OpenAIServer, openai_model: OpenAIModel, chunks: list[Json]
) -> None:
    reply = Reply(raw=data(*chunks))
    assert await tool_results(openai_server, openai_model, reply) == ["sunny in Rome"]


FAILED = {"message": "Failed to call a function.", "code": "tool_use_failed"}
GENERATIONS = {
    "a name and JSON": f"get_weather{ROME}</function>",
    "a function tag": f"<function=get_weather>{ROME}</function>",
    "a tag that is not closed": f"<function=get_weather{ROME}</function>",
    "JSON": f'{{"name": "get_weather", "arguments": {ROME}}}',
    "a list": f'[{{"name": "get_weather", "parameters": {ROME}}}]',
    "a fence": f'```\n{{"tool_calls": [{{"name": "get_weather", "arguments": {ROME}}}]}}\n```',
    "Hermes": f'<tool_call>{{"name": "get_weather", "arguments": {ROME}}}</tool_call>',
    "words before": f"I look.\n\n<function=get_weather>{ROME}</function>",
}  # fmt: skip


@pytest.mark.parametrize("is_event", [False, True], ids=["status", "event"])
@pytest.mark.parametrize("written", GENERATIONS.values(), ids=GENERATIONS)
async def test_a_call_that_the_server_could_not_read_is_read(
    openai_server: OpenAIServer, openai_model: OpenAIModel, written: str, is_event: bool
) -> None:
    failed = {**FAILED, "failed_generation": written}
    reply = Reply(raw=json.dumps({"error": failed}), status=400, content_type="application/json")
    if is_event:
        reply = Reply(raw=f"event: error\ndata: {json.dumps({'error': failed})}\n\n")
    assert await tool_results(openai_server, openai_model, reply) == ["sunny in Rome"]


@pytest.mark.parametrize(
    "failed",
    [
        FAILED,
        {**FAILED, "failed_generation": ""},
        {**FAILED, "code": None},
        {**FAILED, "failed_generation": "Tool use failed: JSON does not match the schema"},
        {**FAILED, "code": "output_parse_failed"},
    ],
    ids=str,
)
async def test_a_call_that_the_server_does_not_show_is_asked_again(
    openai_server: OpenAIServer, failed: Json
) -> None:
    openai_server.replies(
        Reply(raw=json.dumps({"error": failed}), status=400, content_type="application/json"),
        Reply(),
    )
    model = OpenAIModel("small", provider="test", base_url=openai_server.url, max_retries=1)
    assert (await Agent(model, [get_weather]).run("?")).text == "Hello"
    await model.close()


async def test_an_answer_that_the_server_took_for_a_call_is_an_answer(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    failed = {**FAILED, "failed_generation": "It is sunny in Rome."}
    openai_server.replies(Reply(raw=json.dumps({"error": failed}), status=400))
    answer = await Agent(openai_model, [get_weather]).run("?")
    assert answer.text == "It is sunny in Rome."


async def test_a_call_where_no_tools_are_offered_is_asked_again(
    openai_server: OpenAIServer,
) -> None:
    failed = {**FAILED, "failed_generation": f'{{"name": "get_weather", "arguments": {ROME}}}'}
    openai_server.replies(Reply(raw=json.dumps({"error": failed}), status=400), Reply())
    model = OpenAIModel("small", provider="test", base_url=openai_server.url, max_retries=1)
    parts = await collected(model.stream(HI, options=Options()))
    await model.close()
    assert isinstance(parts[0], Retried)


def test_names_tell_pieces_from_calls() -> None:
    """Without the names of the tools a second name begins a second call."""
    for names, made in ((["get_weather"], ["get_weather"]), ([], ["get_", "weather"])):
        stream = CompletionStream(names)
        for piece in (call("", "get_", 0, "a"), call("{}", "weather", 0)):
            assert not list(stream.feed(chunk({"tool_calls": [piece]})))
        assert [one.name for one in stream.calls] == made


def test_what_goes_back_to_the_provider_is_joined() -> None:
    stream = CompletionStream([], "here")
    sign = {"extra_content": {"google": {"thought_signature": "x"}}}
    for delta in (
        {"reasoning_content": "h"},
        {"reasoning_content": "m"},
        {"tool_calls": [{**call(ROME, "get_weather", 0, "a"), **sign}]},
    ):
        for _ in stream.feed(chunk(delta)):
            pass
    assert stream.provider_data == {"here": {"reasoning_content": "hm"}}
    assert stream.calls[0].provider_data == {"here": sign}


def tool_calls(parts: list[ModelPart]) -> list[ToolCall]:
    return [part for part in parts if isinstance(part, ToolCall)]


async def test_text_and_calls_of_one_reply_are_both_kept(
    openai_server: OpenAIServer, openai_model: OpenAIModel, lookup: Tool
) -> None:
    openai_server.replies(
        Reply([*text("I look."), *calls(call(ROME, "lookup", 0, "a"))], finish="stop")
    )
    parts = await collected(openai_model.stream(HI, [lookup]))
    assert parts[0] == TextDelta("I look.")
    assert [one.name for one in tool_calls(parts)] == ["lookup"]
    assert parts[-1] == Done("tool_calls", "test:small")
