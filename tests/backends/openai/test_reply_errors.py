"""Errors in replies of OpenAI-compatible servers, from public bug reports."""

from __future__ import annotations

import json

import pytest

from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.retry import TransientError
from agentkit.errors import ModelError
from agentkit.events import Retried
from tests.backends.conftest import collected
from tests.backends.openai.test_replies import HI, Json, chunk, data
from tests.servers.openai_server import OpenAIServer, Reply, error

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
        ({"message": "no such key", "code": 401}, "refused_key"),
        ({"message": "no such field", "code": 400}, "bad_request"),
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
    with pytest.raises(ModelError, match=r"refused .* today") as raised:
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
