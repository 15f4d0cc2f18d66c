"""Replies of OpenAI-compatible servers as they come over the wire, from public bug reports."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentkit import Agent, tool
from agentkit.backends.base import Options
from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.openai.sse import decode
from agentkit.backends.openai.stream import CompletionStream, stop_reason
from agentkit.backends.retry import TransientError
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, Retried, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from tests.backends.conftest import collected
from tests.servers.openai_server import OpenAIServer, Reply, call, calls, error, text

HI = [Message("user", "hi")]
Json = dict[str, Any]


def chunk(delta: Json | None = None, finish: str | None = None, **more: Any) -> Json:
    return {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more}


def data(*chunks: Json, end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {json.dumps(one)}\n\n" for one in chunks) + end


HELLO = data(chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk(finish="stop"))
WHOLE: Json = {
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"},
                 "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 3},
}  # fmt: skip

STREAMS = {
    "as it should be": HELLO,
    "no space after data": HELLO.replace("data: ", "data:"),
    "CRLF": HELLO.replace("\n", "\r\n"),
    "CR alone": HELLO.replace("\n", "\r"),
    "a byte order mark": f"\ufeff{HELLO}",
    "one line break between events": HELLO.replace("\n\n", "\n"),
    "no line break at the end": HELLO.rstrip("\n"),
    "no end mark": HELLO.removesuffix("data: [DONE]\n\n"),
    "comments": f": OPENROUTER PROCESSING\n\n{HELLO.replace('data', ': ping' + chr(10) + 'data')}",
    "names, ids and delays": HELLO.replace("data:", "event: message\nid: 1\nretry: 9\ndata:"),
    "empty data": f"data:\n\ndata: \n\n{HELLO}",
    "words that keep the connection": f"data: ping\n\n{HELLO}",
    "an event that keeps the connection": f'event: ping\ndata: {{"type": "ping"}}\n\n{HELLO}',
    "empty choices": f'data: {{"choices": []}}\n\n{HELLO}',
    "choices that are null": f'data: {{"choices": null}}\n\n{HELLO}',
    "a delta that is null": f'data: {{"choices": [{{"delta": null}}]}}\n\n{HELLO}',
    "content that is null": data(chunk({"role": "assistant", "content": None}), end="") + HELLO,
    "an error that is null": data(chunk({}, error=None), end="") + HELLO,
    "filters of Azure": f'data: {{"choices": [], "prompt_filter_results": [{{}}]}}\n\n{HELLO}',
    "text after the end": f"{HELLO}data: garbage\n\n",
    "JSON on several data lines": "".join(
        f"data: {line}\n" for line in json.dumps(WHOLE, indent=1).splitlines()) + "\n",
    "one event with a message": data(WHOLE),
    "JSON lines": "\n".join(json.dumps(c) for c in (
        chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk(finish="stop"))),
    "whole JSON as a stream": json.dumps(WHOLE),
    "whole JSON on several lines": json.dumps(WHOLE, indent=2),
    "deltas, then the whole message": data(
        chunk({"content": "Hel"}), chunk({"content": "lo"}), WHOLE),
    "text instead of a delta": data({"choices": [{"text": "Hello", "finish_reason": "stop"}]}),
}  # fmt: skip


@pytest.mark.parametrize("raw", STREAMS.values(), ids=STREAMS)
async def test_a_stream_is_read_as_servers_send_it(
    openai_server: OpenAIServer, openai_model: OpenAIModel, raw: str
) -> None:
    openai_server.replies(Reply(raw=raw))
    parts = await collected(openai_model.stream(HI))
    assert "".join(part.text for part in parts if isinstance(part, TextDelta)) == "Hello"
    assert parts[-1] == Done("stop", "test:small")


@pytest.mark.parametrize("raw", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("size", [1, 3, 17])
async def test_a_stream_may_be_cut_anywhere(raw: str, size: int) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        body = raw.encode()
        for at in range(0, len(body), size):
            yield body[at : at + size]

    stream = CompletionStream()
    parts = [part async for one in decode(pieces()) for part in stream.feed(one)]
    assert "".join(part.text for part in parts if isinstance(part, TextDelta)) == "Hello"
    assert stream.stop_reason == "stop"


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream"])
@pytest.mark.parametrize("body", [WHOLE, HELLO], ids=["JSON", "events"])
async def test_the_content_type_does_not_decide(
    openai_server: OpenAIServer, openai_model: OpenAIModel, kind: str, body: Any
) -> None:
    raw = body if isinstance(body, str) else json.dumps(body)
    openai_server.replies(Reply(raw=raw, content_type=kind))
    parts = await collected(openai_model.stream(HI))
    assert "".join(part.text for part in parts if isinstance(part, TextDelta)) == "Hello"


def thinking(written: str) -> Json:
    return {"type": "thinking", "thinking": [{"type": "text", "text": written}]}


def part(written: str) -> Json:
    return {"type": "text", "text": written}


THOUGHT: dict[str, list[Json]] = {
    "reasoning_content": [{"reasoning_content": "hm"}, {"content": "Yes"}],
    "reasoning": [{"reasoning": "hm"}, {"content": "Yes"}],
    "both": [{"reasoning": "hm", "reasoning_content": "hm"}, {"content": "Yes"}],
    "reasoning as an object": [{"reasoning": {"content": "hm"}}, {"content": "Yes"}],
    "reasoning_details": [{"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
                          {"content": "Yes"}],
    "reasoning_details with a summary": [
        {"reasoning_details": [{"type": "reasoning.summary", "summary": "hm"}]},
        {"content": "Yes"}],
    "reasoning and its details": [
        {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
        {"content": "Yes"}],
    "thinking": [{"thinking": "hm"}, {"content": "Yes"}],
    "thinking in a list": [{"content": [thinking("hm")]}, {"content": "Yes"}],
    "thinking as text in a list": [{"content": [{"type": "thinking", "thinking": "hm"}]},
                                   {"content": [part("Yes")]}],
    "thinking and text in one list": [{"content": [thinking("h"), thinking("m"), part("Yes")]}],
    "a part of reasoning": [{"content": [{"type": "reasoning", "text": "hm"}, part("Yes")]}],
    "a part of summaries": [{"content": [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "output_text", "text": "Yes"}]}],
    "references": [{"reasoning_content": "hm"}, {"content": [
        part("Ye"), {"type": "reference", "reference_ids": [1]}, part("s")]}],
    "texts in a list": [{"reasoning_content": "hm"}, {"content": ["Ye", "s"]}],
    "an object": [{"reasoning_content": "hm"}, {"content": part("Yes")}],
    "content and reasoning at once": [{"reasoning_content": "hm", "content": "Yes"}],
    "tags in the text": [{"content": "<think>hm</think>"}, {"content": "Yes"}],
    "marks of Mistral in the text": [{"content": "[THINK]hm[/THINK]Yes"}],
}  # fmt: skip


@pytest.mark.parametrize("deltas", THOUGHT.values(), ids=THOUGHT)
async def test_thinking_and_text_are_told_apart_wherever_they_stand(
    openai_server: OpenAIServer, openai_model: OpenAIModel, deltas: list[Json]
) -> None:
    openai_server.replies(Reply(deltas))
    parts = await collected(openai_model.stream(HI))
    assert "".join(p.text for p in parts if isinstance(p, ReasoningDelta)) == "hm"
    assert "".join(p.text for p in parts if isinstance(p, TextDelta)) == "Yes"


@pytest.mark.parametrize(
    "delta",
    [
        {"refusal": "No."},
        {"content": [{"type": "refusal", "refusal": "No."}]},
        {"content": None, "refusal": "No."},
    ],
    ids=str,
)
async def test_a_refusal_is_text_that_refuses(
    openai_server: OpenAIServer, openai_model: OpenAIModel, delta: Json
) -> None:
    openai_server.replies(Reply([delta]))
    parts = await collected(openai_model.stream(HI))
    assert parts[0] == TextDelta("No.")
    assert parts[-1] == Done("refused", "test:small")


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


async def ran(server: OpenAIServer, model: OpenAIModel, reply: Reply) -> list[str]:
    """The results of the calls in a reply."""
    server.replies(reply, Reply())
    answer = await Agent(model, [get_weather, now]).run("?")
    return sorted(message.text for message in answer.messages if message.role == "tool")


@pytest.mark.parametrize("deltas", ONE.values(), ids=ONE)
async def test_one_call_in_any_pieces_runs_once(
    openai_server: OpenAIServer, openai_model: OpenAIModel, deltas: list[Json]
) -> None:
    reply = Reply(deltas, finish="tool_calls")
    assert await ran(openai_server, openai_model, reply) == ["sunny in Rome"]
    [sent] = openai_server.requests[-1]["messages"][2]["tool_calls"]
    assert sent["function"]["name"] == "get_weather"
    assert sent["id"]


@pytest.mark.parametrize("deltas", TWO.values(), ids=TWO)
async def test_two_calls_are_kept_apart(
    openai_server: OpenAIServer, openai_model: OpenAIModel, deltas: list[Json]
) -> None:
    found = await ran(openai_server, openai_model, Reply(deltas, finish="tool_calls"))
    assert found == ["sunny in Oslo", "sunny in Rome"]
    ids = [one["id"] for one in openai_server.requests[-1]["messages"][2]["tool_calls"]]
    assert len(set(ids)) == 2


@pytest.mark.parametrize("arguments", ["", "null", "{}", "  ", None, {}, '""'], ids=repr)
@pytest.mark.parametrize("ids", [("a", "b"), ("", "")], ids=["ids", "no ids"])
async def test_calls_without_arguments_are_made(
    openai_server: OpenAIServer, openai_model: OpenAIModel, arguments: Any, ids: tuple[str, str]
) -> None:
    deltas = calls(call(arguments, "now", 0, ids[0]), call(ROME, "get_weather", 0, ids[1]))
    found = await ran(openai_server, openai_model, Reply(deltas, finish="tool_calls"))
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
    assert await ran(openai_server, openai_model, reply) == ["sunny in Rome"]


FINISH = {
    "stop": ("stop", "eos", "eos_token", "EOS_TOKEN", "end_turn", "stop_sequence", "STOP", "end",
             "COMPLETE", "stop_token", "FINISH_REASON_STOP"),
    "length": ("length", "max_tokens", "MAX_TOKENS", "model_length", "max_output_tokens",
               "max_new_tokens", "max_length", "model_context_window_exceeded", "token_limit",
               "context_length_exceeded"),
    "tool_calls": ("tool_calls", "tool_call", "function_call", "tool_use", "TOOL_CALL",
                   "function_calls"),
    "refused": ("content_filter", "content-filter", "SAFETY", "RECITATION", "sensitive", "refusal",
                "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "guardrail_intervened", "IMAGE_SAFETY",
                "content_filtered", "blacklist"),
    "broken": ("error", "abort", "aborted", "cancelled", "network_error", "server_error",
               "insufficient_system_resource", "repetition", "MALFORMED_FUNCTION_CALL",
               "function_call_filter: MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER",
               "repetition_truncation", "TOO_MANY_TOOL_CALLS", "unknown", "timeout", "x"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "meaning"), [(one, name) for name, known in FINISH.items() for one in known]
)
def test_a_finish_reason_is_named_and_never_stop_by_accident(reason: str, meaning: str) -> None:
    assert stop_reason(reason) == meaning


async def test_an_answer_that_the_server_broke_off_is_an_error_with_its_reason(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.replies(Reply(finish="insufficient_system_resource"))
    with pytest.raises(ModelError, match="broke off .*'insufficient_system_resource'"):
        await collected(openai_model.stream(HI))


@pytest.mark.parametrize("reason", ["abort", "MALFORMED_FUNCTION_CALL"])
async def test_what_was_broken_off_before_its_first_part_is_asked_again(
    openai_server: OpenAIServer, reason: str
) -> None:
    openai_server.replies(Reply([], finish=reason), Reply())
    model = OpenAIModel("small", provider="test", base_url=openai_server.url, max_retries=1)
    parts = await collected(model.stream(HI))
    await model.close()
    assert isinstance(parts[0], Retried)
    assert parts[-1] == Done("stop", "test:small")


USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
USAGES: dict[str, list[Json]] = {
    "in the last chunk": [chunk({"content": "a"}), chunk(finish="stop"),
                          {"choices": [], "usage": USAGE}],
    "in each chunk": [
        chunk({"content": "a"}, usage={**USAGE, "completion_tokens": 1}),
        chunk({"content": "b"}, usage={**USAGE, "completion_tokens": 2}),
        chunk(finish="stop", usage=USAGE)],
    "null in each but the last": [
        chunk({"content": "a"}, usage=None), chunk(finish="stop", usage=USAGE)],
    "zero in each but the last": [
        chunk({"content": "a"}, usage={"prompt_tokens": 0, "completion_tokens": 0}),
        chunk(finish="stop", usage=USAGE)],
    "in x_groq": [chunk({"content": "a"}), chunk(finish="stop", x_groq={"usage": USAGE})],
    "in the choice": [chunk({"content": "a"}), {"choices": [
        {"delta": {}, "finish_reason": "stop", "usage": USAGE}]}],
    "under other names": [chunk({"content": "a"}), chunk(
        finish="stop", usage={"input_tokens": 7, "output_tokens": 3})],
}  # fmt: skip


@pytest.mark.parametrize("chunks", USAGES.values(), ids=USAGES)
async def test_usage_is_found_where_servers_report_it(
    openai_server: OpenAIServer, openai_model: OpenAIModel, chunks: list[Json]
) -> None:
    openai_server.replies(Reply(raw=data(*chunks)))
    parts = await collected(openai_model.stream(HI))
    assert [part for part in parts if isinstance(part, Usage)] == [Usage(7, 3)]


EVENTS = {
    "an error": 'data: {"error": {"message": "out of memory"}}\n\n',
    "text": 'data: {"error": "out of memory"}\n\n',
    "a code and a message": 'data: {"code": 500, "message": "out of memory"}\n\n',
    "an object of kind error": 'data: {"object": "error", "message": "out of memory"}\n\n',
    "an event of kind error": 'event: error\ndata: {"message": "out of memory"}\n\n',
    "an event of kind error, text": "event: error\ndata: out of memory\n\n",
    "in a choice": 'data: {"choices": [{"delta": {"content": ""}, "finish_reason": "error", '
    '"error": {"message": "out of memory", "code": 502}}]}\n\n',
    "beside choices": 'data: {"choices": [{"delta": {}, "finish_reason": "error"}], '
    '"error": {"message": "out of memory"}}\n\n',
    "without data": '{"error": {"message": "out of memory"}}\n',
    "a list": 'data: [{"error": {"message": "out of memory"}}]\n\n',
}  # fmt: skip


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
@pytest.mark.parametrize("before", [data(chunk({"content": "Hel"}), end=""), ""],
                         ids=["after text", "at once"])  # fmt: skip
async def test_an_error_within_a_stream_is_raised_with_the_servers_message(
    openai_server: OpenAIServer, openai_model: OpenAIModel, event: str, before: str
) -> None:
    openai_server.replies(Reply(raw=before + event))
    with pytest.raises(ModelError, match="out of memory"):
        await collected(openai_model.stream(HI))


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"message": "Requested tokens (9) exceed context window of 8"}, "too_long"),
        ({"message": "busy", "code": 429}, "rate_limited"),
        ({"message": "busy", "type": "overloaded_error"}, "rate_limited"),
        ({"message": "busy", "code": "502"}, "down"),
        ({"message": "pay", "code": "insufficient_quota"}, "rate_limited"),
    ],
    ids=str,
)
async def test_an_error_within_a_stream_has_its_kind(
    openai_server: OpenAIServer, openai_model: OpenAIModel, event: Json, kind: str
) -> None:
    openai_server.replies(Reply(deltas=[], finish=None, usage=None, error=event))
    with pytest.raises(ModelError) as raised:
        await collected(openai_model.stream(HI))
    assert raised.value.kind == kind
    assert isinstance(raised.value, TransientError) == (event["message"] == "busy")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422, 429, 500, 503, 529])
@pytest.mark.parametrize(
    "body",
    [
        json.dumps([{"error": {"message": "the very reason"}}]),
        json.dumps({"detail": "the very reason"}),
        "the very reason",
    ],
    ids=["list", "detail", "text"],
)
async def test_every_error_has_the_servers_own_message(
    openai_server: OpenAIServer, openai_model: OpenAIModel, status: int, body: str
) -> None:
    openai_server.replies(Reply(raw=body, status=status, content_type="application/json"))
    with pytest.raises(ModelError, match="the very reason"):
        await collected(openai_model.stream(HI))


SECRETS = ["sk-proj-abcdefgh12345678", "gsk_abcdefgh12345678", "Bearer abcdefgh12345678",
           "https://x/v1?key=abcdefgh12345678"]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS)
async def test_what_looks_like_a_key_is_not_repeated(
    openai_server: OpenAIServer, openai_model: OpenAIModel, secret: str
) -> None:
    openai_server.replies(Reply(raw=error(f"refused {secret} today"), status=400))
    with pytest.raises(ModelError, match="refused .* today") as raised:
        await collected(openai_model.stream(HI))
    assert "12345678" not in str(raised.value)


async def test_a_quota_that_is_used_up_is_not_retried(openai_server: OpenAIServer) -> None:
    openai_server.replies(Reply(raw=error("pay", code="insufficient_quota"), status=429))
    model = OpenAIModel("small", provider="test", base_url=openai_server.url, max_retries=3)
    with pytest.raises(ModelError, match="no quota left"):
        await collected(model.stream(HI))
    await model.close()
    assert len(openai_server.requests) == 1


async def test_a_delay_in_the_message_is_waited(openai_server: OpenAIServer) -> None:
    busy = Reply(raw=error("Please try again in 1ms."), status=429)
    openai_server.replies(busy, Reply())
    model = OpenAIModel("small", provider="test", base_url=openai_server.url, max_retries=1)
    parts = await collected(model.stream(HI))
    await model.close()
    assert [part.delay for part in parts if isinstance(part, Retried)] == [0.001]


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
    assert await ran(openai_server, openai_model, reply) == ["sunny in Rome"]


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


async def test_an_endless_event_is_refused() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 2**20

    with pytest.raises(ValueError, match="too large"):
        async for _ in decode(pieces()):
            pass


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
