"""Replies of OpenAI-compatible servers as they come over the wire, from public bug reports."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.openai.sse import decode
from agentkit.backends.openai.stream import CompletionStream, stop_reason
from agentkit.errors import ModelError
from agentkit.events import Done, ReasoningDelta, Retried, TextDelta
from agentkit.messages import Message, Usage
from tests.backends.conftest import collected
from tests.servers.openai_server import OpenAIServer, Reply

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
    "the field's name twice": HELLO.replace("data:", "data: data:"),
    "events on one line": HELLO.replace("\n\n", "") + "\n\n",
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
async def test_thinking_and_text_are_kept_apart_wherever_they_stand(
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
    with pytest.raises(ModelError, match=r"broke off .*'insufficient_system_resource'"):
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


async def test_an_endless_event_is_refused() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 2**20

    with pytest.raises(ValueError, match="too large"):
        async for _ in decode(pieces()):
            pass
