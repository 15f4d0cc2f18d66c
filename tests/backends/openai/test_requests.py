"""What requests hold for a server of a kind: what it wants back, tools, answers, addresses."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Optional

import pytest
from pydantic import BaseModel, ConfigDict, RootModel, TypeAdapter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from agentkit import Agent, Session, tool
from agentkit.backends.base import Options
from agentkit.backends.openai.answer_schema import answer_format
from agentkit.backends.openai.model import OpenAIModel
from agentkit.messages import Message, ToolCall
from tests.backends.conftest import collected
from tests.servers.openai_server import OpenAIServer, Reply, call, calls, events, text
from tests.servers.running import serving
from tests.servers.strict_rules import openai_answers

HI = [Message("user", "hi")]
Connect = Callable[..., OpenAIModel]


@pytest.fixture
async def connect(openai_server: OpenAIServer) -> AsyncIterator[Connect]:
    models: list[OpenAIModel] = []

    def connect(provider: str, name: str = "m", **more: Any) -> OpenAIModel:
        given = {"base_url": openai_server.url, "max_retries": 0, **more}
        models.append(OpenAIModel(name, provider=provider, **given))
        return models[-1]

    yield connect
    for model in models:
        await model.close()


@tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


SIGNED = {"extra_content": {"google": {"thought_signature": "CoUC"}}}
BLOCKS = {"thinking_blocks": [{"type": "thinking", "thinking": "hm", "signature": "Eo8C"}]}
DETAILS = [
    {"type": "reasoning.text", "text": "h", "index": 0},
    {"type": "reasoning.text", "text": "m", "index": 0},
    {"type": "reasoning.text", "signature": "Eo8C", "index": 0},
    {"type": "reasoning.encrypted", "data": "xyz", "index": 1},
]
JOINED = [
    {"type": "reasoning.text", "text": "hm", "signature": "Eo8C", "index": 0},
    {"type": "reasoning.encrypted", "data": "xyz", "index": 1},
]
SENT_BACK: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any]]] = {
    "DeepSeek": (
        "deepseek",
        [{"reasoning_content": "h"}, {"reasoning_content": "m"}],
        {"reasoning_content": "hm"},
    ),
    "Moonshot": ("moonshot", [{"reasoning_content": "hm"}], {"reasoning_content": "hm"}),
    "Zhipu": ("zhipu", [{"reasoning_content": "hm"}], {"reasoning_content": "hm"}),
    "DashScope": ("dashscope", [{"reasoning_content": "hm"}], {"reasoning_content": "hm"}),
    "SiliconFlow": ("siliconflow", [{"reasoning_content": "hm"}], {"reasoning_content": "hm"}),
    "vLLM": ("vllm", [{"reasoning": "hm"}], {"reasoning": "hm"}),
    "OpenRouter": (
        "openrouter",
        [{"reasoning": "hm", "reasoning_details": [piece]} for piece in DETAILS],
        {"reasoning_details": JOINED},
    ),
    "MiniMax": (
        "minimax",
        [{"reasoning_details": [piece]} for piece in DETAILS],
        {"reasoning_details": JOINED},
    ),
    "Gemini, text": ("gemini", [SIGNED], SIGNED),
    "Groq takes none": ("groq", [{"reasoning": "hm"}], {}),
    "Mistral takes none": ("mistral", [{"reasoning_content": "hm"}], {}),
    "OpenAI takes none": ("openai", [{"reasoning_content": "hm"}, BLOCKS], {}),
}
FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks", "extra_content")


@pytest.mark.parametrize(("provider", "deltas", "expected"), SENT_BACK.values(), ids=SENT_BACK)
async def test_what_a_provider_wants_back_goes_back_to_it_alone(
    openai_server: OpenAIServer,
    connect: Connect,
    provider: str,
    deltas: list[dict[str, Any]],
    expected: dict[str, Any],
) -> None:
    made = call('{"city": "Rome"}', "weather", 0, "D681PevKs")
    openai_server.replies(Reply([*deltas, *calls(made)], finish="tool_calls"), Reply())
    session = Session()
    await Agent(connect(provider), [weather]).run("?", session)
    sent = next(m for m in openai_server.requests[-1]["messages"] if m.get("tool_calls"))
    assert {key: sent[key] for key in FIELDS if key in sent} == expected
    restored = Session.from_json(session.to_json())
    assert restored.messages == session.messages
    await Agent(connect(provider), [weather]).run("again?", restored)
    again = next(m for m in openai_server.requests[-1]["messages"] if m.get("tool_calls"))
    assert again == sent
    await Agent(connect("xai"), [weather]).run("again?", restored)
    other = next(m for m in openai_server.requests[-1]["messages"] if m.get("tool_calls"))
    assert not set(FIELDS) & set(other)


@pytest.mark.parametrize("provider", ["gemini", "proxy"])
async def test_the_signature_of_a_call_goes_back_with_it(
    openai_server: OpenAIServer, connect: Connect, provider: str
) -> None:
    made = [call('{"city": "Rome"}', "weather", 0, "a") | SIGNED, call("{}", "weather", 1, "b")]
    openai_server.replies(Reply(calls(*made), finish="tool_calls"), Reply())
    await Agent(connect(provider), [weather]).run("?")
    [sent] = [m for m in openai_server.requests[-1]["messages"] if m.get("tool_calls")]
    assert [c.get("extra_content") for c in sent["tool_calls"]] == [SIGNED["extra_content"], None]


FILLED = {
    "deepseek": lambda message: message["reasoning_content"] == "",
    "moonshot": lambda message: message["reasoning_content"].strip(),
    "gemini": lambda message: "skip_thought" in json.dumps(message["tool_calls"][0]),
}


@pytest.mark.parametrize(("provider", "holds"), FILLED.items(), ids=FILLED)
async def test_a_call_that_the_model_did_not_make_has_what_its_provider_wants(
    openai_server: OpenAIServer, connect: Connect, provider: str, holds: Any
) -> None:
    made = Message("assistant", "", (ToolCall("search-1", "weather", {"city": "Rome"}),))
    await collected(connect(provider).stream([*HI, made], [weather]))
    assert holds(next(m for m in openai_server.requests[0]["messages"] if m.get("tool_calls")))


@pytest.mark.parametrize(
    "name",
    ["计算", "get.weather", "my tool!", "n" * 70, "功能.一", "a b c", "über", "1st", "a/b", "🌍"],
)
@pytest.mark.parametrize("in_text", [False, True])
async def test_a_tools_name_is_mapped_there_and_back(
    openai_server: OpenAIServer, connect: Connect, name: str, in_text: bool
) -> None:
    odd = tool(name=name)(_echo)

    def answer(body: dict[str, Any]) -> Reply:
        if any(m["role"] == "tool" for m in body["messages"]):
            return Reply()
        [wire] = [each["function"]["name"] for each in body["tools"]]
        assert wire.isascii()
        written = json.dumps({"name": wire, "arguments": {"city": "Rome"}})
        if in_text:
            return Reply(text(f"<tool_call>{written}</tool_call>"))
        return Reply(calls(call('{"city": "Rome"}', wire, 0, "a")), finish="tool_calls")

    openai_server.answer = answer
    found = await Agent(connect("p"), [odd]).run("?")
    assert [m.text for m in found.messages if m.role == "tool"] == ["Rome"]
    assert found.messages[1].tool_calls[0].name == name


def _echo(city: str) -> str:
    """Give a city back."""
    return city


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    note: Optional[str] = None  # noqa: UP045
    size: int = 3


class Inner(BaseModel):
    size: int
    tags: list[str] = []


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    parts: list[Inner]
    one: Inner | None = None


class Tree(BaseModel):
    value: int
    children: list[Tree] = []


class Rows(RootModel[list[int]]):
    pass


SHAPES: dict[str, tuple[Any, Any, Any]] = {
    "an optional key": (
        Closed,
        {"name": "a", "note": None, "size": None},
        {"name": "a", "note": None},
    ),
    "open inside": (
        Outer,
        {"parts": [{"size": 1, "tags": None}], "one": {"size": 2, "tags": None}},
        {"parts": [{"size": 1}], "one": {"size": 2}},
    ),
    "recursion": (
        Tree,
        {"value": 1, "children": [{"value": 2, "children": None}]},
        {"value": 1, "children": [{"value": 2}]},
    ),
    "a list": (Rows, {"answer": [1, 2]}, [1, 2]),
    "a list of models": (list[Inner], {"answer": [{"size": 1, "tags": None}]}, [{"size": 1}]),
    "a number": (int, {"answer": 3}, 3),
    "a choice": (Closed | Inner, {"answer": {"size": 1, "tags": None}}, {"size": 1}),
    "or null": (Optional[Inner], {"answer": None}, None),  # noqa: UP045
    "a map": (dict[str, int], {"a": 1}, {"a": 1}),
    "a tuple": (tuple[int, str], {"answer": [1, "a"]}, [1, "a"]),
    "anything": (dict[str, Any], {"a": None}, {"a": None}),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "reply", "expected"), SHAPES.values(), ids=SHAPES)
async def test_an_answer_is_asked_for_as_a_strict_server_wants_and_restored(
    openai_server: OpenAIServer, connect: Connect, shape: Any, reply: Any, expected: Any
) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(shape)
    openai_server.replies(Reply(text(*json.dumps(reply))))
    options = Options(schema=adapter.json_schema())
    parts = await collected(connect("p").stream(HI, options=options))
    assert openai_answers(openai_server.requests[0]) is None
    found = json.loads("".join(getattr(part, "text", "") for part in parts))
    assert found == expected
    adapter.validate_python(found)


def test_a_reply_that_is_not_json_is_left_as_it_is() -> None:
    form = answer_format(TypeAdapter(Closed).json_schema(), strict=True)
    assert form.restore is not None
    assert form.restore("I cannot say.") == "I cannot say."


@asynccontextmanager
async def _recording() -> AsyncIterator[tuple[str, list[tuple[str, str, dict[str, str]]]]]:
    """A server that answers on any path, and the path, query and headers of what it gets."""
    seen: list[tuple[str, str, dict[str, str]]] = []

    async def chat(request: Request) -> Response:
        seen.append((request.url.path, request.url.query, dict(request.headers)))
        return Response("".join(events(Reply())), media_type="text/event-stream")

    with serving(Starlette(routes=[Route("/{any:path}", chat, methods=["POST"])])) as url:
        yield url, seen


@pytest.mark.parametrize(
    ("tail", "path", "query"),
    [
        ("/openai/deployments/gpt?api-version=1", "/openai/deployments/gpt", "api-version=1"),
        ("/openai/deployments/gpt/?api-version=1", "/openai/deployments/gpt", "api-version=1"),
        (
            "/openai/deployments/gpt/chat/completions?api-version=1",
            "/openai/deployments/gpt",
            "api-version=1",
        ),
        ("/openai/v1/", "/openai/v1", ""),
        ("/openai/v1?api-version=preview", "/openai/v1", "api-version=preview"),
        ("/openai", "/openai/v1", ""),
        ("/", "/openai/v1", ""),
        ("", "/openai/v1", ""),
        ("?api-version=1&a=b", "/openai/v1", "api-version=1&a=b"),
    ],
)
@pytest.mark.parametrize(("key", "header"), [("secret", "api-key"), ("eyJ0.a.b", "authorization")])
async def test_azure_gets_its_path_query_and_key(
    tail: str, path: str, query: str, key: str, header: str
) -> None:
    async with _recording() as (url, seen):
        model = OpenAIModel("gpt", provider="azure", base_url=url + tail, api_key=key)
        await collected(model.stream(HI))
        await model.close()
    [(found, found_query, headers)] = seen
    assert (found, found_query) == (f"{path}/chat/completions", query)
    sent = {name: headers.get(name) for name in ("api-key", "authorization")}
    assert sent.pop(header) in (key, f"Bearer {key}")
    assert set(sent.values()) == {None}
    assert key not in model.server


async def test_headers_and_fields_of_a_profile_go_with_each_request() -> None:
    profile = {"headers": {"x-title": "us"}, "body": {"top_k": 4}, "key_header": "x-key"}
    async with _recording() as (url, seen):
        model = OpenAIModel("m", provider="p", base_url=url, api_key="k", profile=profile)
        await collected(model.stream(HI))
        await model.close()
    [(_, _, headers)] = seen
    assert (headers["x-title"], headers["x-key"]) == ("us", "k")
    assert "authorization" not in headers


async def test_thinking_that_was_a_part_of_the_content_goes_back_as_one(
    openai_server: OpenAIServer, connect: Connect
) -> None:
    parts = [[{"type": "thinking", "thinking": [{"type": "text", "text": each}]}] for each in "hm"]
    made = call('{"city": "Rome"}', "weather", 0, "D681PevKs")
    deltas = [{"content": part} for part in parts]
    openai_server.replies(Reply([*deltas, *calls(made)], finish="tool_calls"), Reply())
    await Agent(connect("mistral"), [weather]).run("?")
    [sent] = [m for m in openai_server.requests[-1]["messages"] if m.get("tool_calls")]
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
    assert sent["content"] == [thinking]


async def test_reasoning_goes_back_under_the_name_that_is_wanted(
    openai_server: OpenAIServer, connect: Connect
) -> None:
    made = calls(call('{"city": "Rome"}', "weather", 0, "a"))
    openai_server.replies(Reply([{"reasoning": "hm"}, *made], finish="tool_calls"), Reply())
    await Agent(connect("kimi"), [weather]).run("?")
    [sent] = [m for m in openai_server.requests[-1]["messages"] if m.get("tool_calls")]
    assert sent["reasoning_content"] == "hm"


async def test_a_description_is_cut_to_what_a_server_takes(
    openai_server: OpenAIServer, connect: Connect
) -> None:
    long = replace(weather, description="word " * 500)
    await collected(connect("azure").stream(HI, [long]))
    [sent] = openai_server.requests[0]["tools"]
    assert len(sent["function"]["description"]) <= 1024
    assert sent["function"]["description"].endswith("word …")
