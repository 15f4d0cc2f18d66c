"""The OpenAI-compatible backend against a small server with every known deviation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from agentkit.backends.base import Options
from agentkit.backends.openai.model import OpenAIModel
from agentkit.events import Done, ReasoningDelta, TextDelta
from agentkit.messages import ImagePart, Message, TextPart, ToolCall, Usage
from agentkit.tools.tool import Tool
from tests.backends.conftest import collected
from tests.servers.openai_server import OpenAIServer, Reply, call, calls, text

HI = [Message("user", "hi")]
PARIS = {"city": "Paris"}
WHOLE = '{"city": "Paris"}'


def model_at(server: OpenAIServer, **more: Any) -> OpenAIModel:
    return OpenAIModel("small", provider="test", base_url=server.url, **more)


async def test_text_comes_in_pieces_then_usage_then_done(openai_model: OpenAIModel) -> None:
    assert await collected(openai_model.stream(HI)) == [
        TextDelta("Hel"),
        TextDelta("lo"),
        Usage(7, 3),
        Done("stop", "test:small"),
    ]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
async def test_thinking_is_not_text(
    openai_server: OpenAIServer, openai_model: OpenAIModel, field: str
) -> None:
    openai_server.replies(Reply([{field: "hm"}, *text("Yes")]))
    parts = await collected(openai_model.stream(HI))
    assert parts[:2] == [ReasoningDelta("hm"), TextDelta("Yes")]


async def test_thinking_sent_in_both_fields_is_yielded_once(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.replies(Reply([{"reasoning": "hm", "reasoning_content": "hm"}]))
    parts = await collected(openai_model.stream(HI))
    assert parts.count(ReasoningDelta("hm")) == 1


async def test_thinking_and_a_call_that_the_server_left_in_the_text_are_recognised(
    openai_server: OpenAIServer, openai_model: OpenAIModel, lookup: Tool
) -> None:
    written = f'<think>hm</think><tool_call>{{"name": "lookup", "arguments": {WHOLE}}}</tool_call>'
    openai_server.replies(Reply(text(*written)))
    parts = await collected(openai_model.stream(HI, [lookup]))
    assert "".join(p.text for p in parts if isinstance(p, ReasoningDelta)) == "hm"
    assert not any(isinstance(part, TextDelta) for part in parts)
    assert [(p.name, p.arguments) for p in parts if isinstance(p, ToolCall)] == [("lookup", PARIS)]
    assert parts[-1] == Done("tool_calls", "test:small")


ONE_CALL = {
    "proper": calls(
        call("", "lookup", 0, "a"), call('{"city":', index=0), call('"Paris"}', index=0)),
    "no index": calls(call("", "lookup", None, "a"), call('{"city":'), call('"Paris"}')),
    "no index and no id": calls(call('{"city":', "lookup"), call('"Paris"}')),
    "no id": calls(call("", "lookup", 0), call(WHOLE, index=0)),
    "name and id in every delta": calls(
        call("", "lookup", 0, "a"), call('{"city":', "lookup", 0, "a"),
        call('"Paris"}', "lookup", 0, "a"), call("", "lookup", 0, "a")),
    "name in every delta, no index": calls(
        call('{"city":', "lookup"), call('"Paris"}', "lookup"), call("", "lookup")),
    "an id of its own in every delta": calls(
        call("", "lookup", 0, "a"), call('{"city":', None, 0, "b"), call('"Paris"}', None, 0, "c")),
    "whole at once": calls(call(WHOLE, "lookup", 0, "a")),
    "arguments as an object": calls(call(PARIS, "lookup", 0, "a")),
}  # fmt: skip

TWO_CALLS = {
    "by index": calls(
        call("", "lookup", 0, "a"), call("", "lookup", 1, "b"), call(WHOLE, index=1),
        call(WHOLE, index=0)),
    "whole, all at index 0": calls(call(WHOLE, "lookup", 0, "a"), call(WHOLE, "lookup", 0, "b")),
    "whole, no index": calls(call(WHOLE, "lookup", None, "a"), call(WHOLE, "lookup", None, "b")),
    "whole, no index and no id": calls(call(WHOLE, "lookup"), call(WHOLE, "lookup")),
    "by id alone": calls(
        call("", "lookup", None, "a"), call("", "lookup", None, "b"), call(WHOLE, None, None, "b"),
        call(WHOLE, None, None, "a")),
    "both in one delta": [{"tool_calls": [call(WHOLE, "lookup", 0), call(WHOLE, "lookup", 1)]}],
}  # fmt: skip


@pytest.mark.parametrize("deltas", ONE_CALL.values(), ids=ONE_CALL)
async def test_a_call_is_assembled_from_pieces(
    openai_server: OpenAIServer, openai_model: OpenAIModel, deltas: list[dict[str, Any]]
) -> None:
    openai_server.replies(Reply(deltas, finish="tool_calls"))
    parts = await collected(openai_model.stream(HI))
    [made] = [part for part in parts if isinstance(part, ToolCall)]
    assert (made.name, made.arguments) == ("lookup", PARIS)
    assert made.id
    assert parts[-1] == Done("tool_calls", "test:small")


@pytest.mark.parametrize("deltas", TWO_CALLS.values(), ids=TWO_CALLS)
async def test_parallel_calls_are_kept_apart(
    openai_server: OpenAIServer, openai_model: OpenAIModel, deltas: list[dict[str, Any]]
) -> None:
    openai_server.replies(Reply(deltas, finish="tool_calls"))
    parts = await collected(openai_model.stream(HI))
    made = [part for part in parts if isinstance(part, ToolCall)]
    assert [(one.name, one.arguments) for one in made] == [("lookup", PARIS)] * 2
    assert len({one.id for one in made}) == 2


async def test_two_tools_without_arguments_are_two_calls(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.replies(Reply(calls(call("", "now"), call("", "here"))))
    parts = await collected(openai_model.stream(HI))
    made = [(part.name, part.arguments) for part in parts if isinstance(part, ToolCall)]
    assert made == [("now", {}), ("here", {})]


@pytest.mark.parametrize("written", ["{oops", '["a"]', "Paris"])
async def test_arguments_that_are_not_an_object_stay_unchanged(
    openai_server: OpenAIServer, openai_model: OpenAIModel, written: str
) -> None:
    openai_server.replies(Reply(calls(call(written, "lookup", 0, "a"))))
    parts = await collected(openai_model.stream(HI))
    assert ToolCall("a", "lookup", written) in parts


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "refused"), ("eos", "stop")],
)
async def test_finish_reasons_map_to_stop_reasons(
    openai_server: OpenAIServer, openai_model: OpenAIModel, finish: str, reason: str
) -> None:
    openai_server.replies(Reply(finish=finish))
    done = (await collected(openai_model.stream(HI)))[-1]
    assert isinstance(done, Done)
    assert done.stop_reason == reason


async def test_finish_reason_stop_after_a_call_is_tool_calls(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.replies(Reply(calls(call("{}", "lookup", 0, "a")), finish="stop"))
    assert (await collected(openai_model.stream(HI)))[-1] == Done("tool_calls", "test:small")


async def test_a_refusal_is_text_and_stops_as_refused(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.replies(Reply([{"refusal": "I will not."}]))
    parts = await collected(openai_model.stream(HI))
    assert parts[0] == TextDelta("I will not.")
    assert parts[-1] == Done("refused", "test:small")


async def test_missing_usage_is_estimated(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.replies(Reply(usage=None))
    [usage] = [p for p in await collected(openai_model.stream(HI)) if isinstance(p, Usage)]
    assert usage.estimated
    assert usage.input_tokens > 0


async def test_a_stream_may_end_without_its_done_mark(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.replies(Reply(done=False))
    assert (await collected(openai_model.stream(HI)))[-1] == Done("stop", "test:small")


async def test_every_kind_of_message_is_sent(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    await collected(
        openai_model.stream(
            [
                Message("system", "Be brief."),
                Message("user", (TextPart("What?"), ImagePart(b"\x01", "image/png"))),
                Message("assistant", "", (ToolCall("c1", "lookup", {"city": "巴黎"}),)),
                Message("tool", "sunny", tool_call_id="c1"),
            ]
        )
    )
    system, user, assistant, answer = openai_server.requests[0]["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"] == [
        {"type": "text", "text": "What?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AQ=="}},
    ]
    assert assistant["content"] is None
    assert assistant["tool_calls"] == [
        {
            "id": "c1",
            "type": "function",
            "function": {"name": "lookup", "arguments": '{"city": "巴黎"}'},
        }
    ]
    assert answer == {"role": "tool", "content": "sunny", "tool_call_id": "c1"}


async def test_a_malformed_call_in_the_history_is_sent_as_an_object(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    made = (ToolCall("c1", "lookup", "{oops"),)
    await collected(openai_model.stream([*HI, Message("assistant", "", made)]))
    sent = openai_server.requests[0]["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert sent == '{"malformed": "{oops"}'


async def test_options_reach_the_server(
    openai_server: OpenAIServer, openai_model: OpenAIModel, lookup: Tool
) -> None:
    schema = {"type": "object", "additionalProperties": False}
    options = Options(0.5, 20, ("END",), 7, "required", schema, {"top_k": 5})
    await collected(openai_model.stream(HI, [lookup], options))
    [sent] = openai_server.requests
    assert sent["stream_options"] == {"include_usage": True}
    assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (0.5, 20, 7)
    assert (sent["stop"], sent["top_k"], sent["tool_choice"]) == (["END"], 5, "required")
    assert sent["response_format"]["json_schema"] == {
        "name": "answer",
        "schema": {**schema, "properties": {}, "required": []},
        "strict": True,
    }
    assert sent["tools"][0]["function"]["name"] == "lookup"


CLOSED = {
    "type": "object",
    "properties": {"x": {"type": "integer"}},
    "required": ["x"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("inner", "strict"),
    [
        ({"type": "integer"}, True),
        (CLOSED, True),
        ({"type": "array", "items": CLOSED}, True),
        ({"anyOf": [CLOSED, {"type": "null"}]}, True),
        ({**CLOSED, "required": []}, True),
        ({"type": "array", "items": {"type": "object", "properties": {}}}, False),
        ({"anyOf": [CLOSED, {"type": "object", "properties": CLOSED["properties"]}]}, True),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, False),
    ],
    ids=str,
)
async def test_a_schema_is_strict_where_the_keys_of_its_objects_are_known(
    openai_server: OpenAIServer, openai_model: OpenAIModel, inner: Any, strict: bool
) -> None:
    root = {**CLOSED, "properties": {"x": inner}}
    for schema in (
        root,
        {**CLOSED, "properties": {"x": {"$ref": "#/$defs/X"}}, "$defs": {"X": inner}},
    ):
        await collected(openai_model.stream(HI, options=Options(schema=schema)))
        sent = openai_server.requests[-1]["response_format"]["json_schema"]
        assert sent["strict"] == strict


async def test_options_that_are_not_set_are_not_sent(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    await collected(openai_model.stream(HI))
    assert set(openai_server.requests[0]) == {"model", "messages", "stream", "stream_options"}


async def test_a_named_tool_choice_is_sent_as_a_function(
    openai_server: OpenAIServer, openai_model: OpenAIModel, lookup: Tool
) -> None:
    await collected(openai_model.stream(HI, [lookup], Options(tool_choice="lookup")))
    wanted = {"type": "function", "function": {"name": "lookup"}}
    assert openai_server.requests[0]["tool_choice"] == wanted


async def test_the_extra_body_of_a_provider_is_sent_with_every_request(
    openai_server: OpenAIServer,
) -> None:
    model = model_at(openai_server, extra_body={"thinking": False})
    await collected(model.stream(HI))
    await model.close()
    assert openai_server.requests[0]["thinking"] is False


async def test_the_key_goes_into_the_header(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    await collected(openai_model.stream(HI))
    assert openai_server.keys == ["Bearer k-secret"]


async def test_closing_the_iterator_closes_the_connection(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.replies(Reply(finish=None, usage=None, stalls=True))
    parts = openai_model.stream(HI)
    assert await anext(parts) == TextDelta("Hel")
    await parts.aclose()
    assert await asyncio.to_thread(openai_server.left.wait, 10)


async def test_cancelling_the_reader_closes_the_connection(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.replies(Reply(finish=None, usage=None, stalls=True))
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in openai_model.stream(HI):
            begun.set()

    reader = asyncio.create_task(read())
    await begun.wait()
    reader.cancel()
    await asyncio.wait([reader])
    assert reader.cancelled()
    assert await asyncio.to_thread(openai_server.left.wait, 10)


def test_one_model_serves_one_event_loop_after_another(openai_server: OpenAIServer) -> None:
    model = model_at(openai_server)

    async def ask() -> int:
        count = len(await collected(model.stream(HI)))
        await model.close()
        return count

    assert asyncio.run(ask()) == asyncio.run(ask()) == 4


async def test_a_closed_model_can_be_used_again(openai_model: OpenAIModel) -> None:
    await collected(openai_model.stream(HI))
    await openai_model.close()
    assert await collected(openai_model.stream(HI))


@pytest.mark.parametrize("field", ["context_length", "max_model_len", "max_context_length"])
async def test_the_window_is_what_the_server_lists(
    openai_server: OpenAIServer, openai_model: OpenAIModel, field: str
) -> None:
    openai_server.models = [{"id": "other", field: 1}, {"id": "small", field: 4096}]
    assert await openai_model.context_window() == 4096


async def test_a_server_of_one_model_gives_its_window_under_any_name(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.models = [{"id": "/models/x.gguf", "meta": {"n_ctx": 2048}}]
    assert await openai_model.context_window() == 2048


async def test_a_window_that_the_server_does_not_list_is_unknown(openai_model: OpenAIModel) -> None:
    assert await openai_model.context_window() is None
