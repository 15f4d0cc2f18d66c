"""Errors and retries of the OpenAI-compatible backend."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.retry import TransientError
from agentkit.errors import ConfigError, ModelError
from agentkit.events import Done, Retried, TextDelta
from agentkit.messages import Message
from tests.backends.conftest import collected
from tests.servers.openai_server import OpenAIServer, Reply, error
from tests.servers.running import refused_url

HI = [Message("user", "hi")]


def cut_off(**more: Any) -> Reply:
    """An answer that the server never says is done."""
    return Reply(finish=None, usage=None, **more)


def model_at(server: OpenAIServer, **more: Any) -> OpenAIModel:
    return OpenAIModel("small", provider="test", base_url=server.url, **more)


async def test_a_busy_server_is_retried_after_the_delay_it_asks_for(
    openai_server: OpenAIServer,
) -> None:
    busy = Reply(raw=error("slow down"), status=429, headers={"retry-after": "0"})
    openai_server.replies(busy, replace(busy, status=503), Reply())
    model = model_at(openai_server, max_retries=2)
    parts = await collected(model.stream(HI))
    await model.close()
    assert [part.delay for part in parts if isinstance(part, Retried)] == [0.0, 0.0]
    assert parts[-1] == Done("stop", "test:small")
    assert len(openai_server.requests) == 3


async def test_a_connection_lost_before_the_first_part_is_retried(
    openai_server: OpenAIServer,
) -> None:
    openai_server.replies(cut_off(deltas=[], reset=True), Reply())
    model = model_at(openai_server, max_retries=1)
    parts = await collected(model.stream(HI))
    await model.close()
    assert parts[1:3] == [TextDelta("Hel"), TextDelta("lo")]


async def test_nothing_is_retried_after_the_first_part(openai_server: OpenAIServer) -> None:
    openai_server.replies(cut_off(reset=True), Reply())
    model = model_at(openai_server, max_retries=3)
    with pytest.raises(ModelError, match="interrupted"):
        await collected(model.stream(HI))
    await model.close()
    assert len(openai_server.requests) == 1


async def test_retries_end_with_the_error(openai_server: OpenAIServer) -> None:
    busy = Reply(raw=error("slow down"), status=429, headers={"retry-after": "0"})
    openai_server.replies(busy)
    model = model_at(openai_server, max_retries=2)
    with pytest.raises(TransientError, match=r"429 for test:small: slow down. Too many requests"):
        await collected(model.stream(HI))
    await model.close()
    assert len(openai_server.requests) == 3


FAULTS = {
    "a stream that stops short": (cut_off(), "was cut off"),
    "a stream of nothing": (cut_off(deltas=[]), "without choices"),
    "half an event": (Reply(truncated=True), "cannot be read"),
    "an error event": (Reply(error={"message": "out of memory"}), "out of memory"),
    "a web page": (Reply(raw="<html>", content_type="text/html"), "text/html.*base_url"),
    "an error as 200": (
        Reply(raw=error("no such thing"), content_type="application/json"),
        "no such thing",
    ),
    "a chunk that is a string": (Reply(raw='data: "x"\n\n'), "without choices"),
    "choices that are no list": (Reply(raw='data: {"choices": {"a": 1}}\n\n'), "without choices"),
    "a gateway's page": (Reply(raw="<html>", status=502, content_type="text/html"), "502"),
    "a bad request": (Reply(raw=error("bad seed"), status=400), "bad seed"),
    "too long": (
        Reply(raw=error("exceeds the available context size (4096 tokens)"), status=400),
        "too long for test:small.*4096.*larger context window",
    ),
    "no quota": (
        Reply(raw=error("pay", code="insufficient_quota"), status=429),
        "no quota left.*billing",
    ),
    "a missing model": (
        Reply(raw=error("unknown", code="model_not_found"), status=404),
        "'tiny' is not on http.*unknown.*It has: small, large",
    ),
}


@pytest.mark.parametrize(("reply", "line"), FAULTS.values(), ids=FAULTS)
async def test_an_error_is_one_line_with_its_reason(
    openai_server: OpenAIServer, reply: Reply, line: str
) -> None:
    openai_server.replies(reply)
    name = "tiny" if "tiny" in line else "small"
    model = OpenAIModel(name, provider="test", base_url=openai_server.url, max_retries=0)
    with pytest.raises(ModelError, match=line) as raised:
        await collected(model.stream(HI))
    await model.close()
    assert "\n" not in str(raised.value)
    assert raised.value.model == f"test:{name}"


async def test_a_refused_key_names_the_variable_and_never_the_key(
    openai_server: OpenAIServer,
) -> None:
    openai_server.replies(Reply(raw=error("Incorrect key: k-secret"), status=401))
    model = model_at(openai_server, api_key="k-secret", api_key_env="TEST_KEY")
    with pytest.raises(ModelError, match="environment variable TEST_KEY") as raised:
        await collected(model.stream(HI))
    await model.close()
    assert "k-secret" not in str(raised.value)


async def test_the_key_is_removed_from_server_messages(
    openai_server: OpenAIServer, openai_model: OpenAIModel
) -> None:
    openai_server.replies(Reply(raw=error("I saw k-secret"), status=400))
    with pytest.raises(ModelError, match=r"I saw \*\*\*"):
        await collected(openai_model.stream(HI))


async def test_an_unreachable_server_is_named_with_its_address() -> None:
    url = refused_url()
    model = OpenAIModel("small", provider="lmstudio", base_url=url)
    with pytest.raises(ModelError, match=f"No server answers at {url}.*LM Studio.*base_url"):
        await collected(model.stream(HI))
    await model.close()


async def test_a_silent_server_times_out(openai_server: OpenAIServer) -> None:
    openai_server.replies(cut_off(stalls=True))
    model = model_at(openai_server, read_timeout=0.2)
    with pytest.raises(ModelError, match=r"sent nothing for too long.*read_timeout"):
        await collected(model.stream(HI))
    await model.close()


@pytest.mark.parametrize("url", ["nonsense", "ftp://x/v1", "http://[bad", "http://host:99999"])
def test_an_invalid_url_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError, match="Invalid server URL"):
        OpenAIModel("small", base_url=url)
