"""The Ollama backend against a small server with every known quirk, and against a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agentkit.backends.base import Capabilities, Options
from agentkit.backends.ollama.model import OllamaModel
from agentkit.errors import ModelError
from agentkit.events import Done, ReasoningDelta, Retried, TextDelta
from agentkit.messages import ImagePart, Message, TextPart, ToolCall, Usage
from agentkit.tools.tool import Tool, tool
from tests.backends.conftest import collected
from tests.servers.ollama_server import OllamaServer, Reply, call, text
from tests.servers.running import refused_url

HI = [Message("user", "hi")]
PARIS = {"city": "Paris"}


class Place(BaseModel):
    city: Literal["Paris", "Rome"]


@pytest.fixture
async def model(ollama_server: OllamaServer) -> AsyncIterator[OllamaModel]:
    model = OllamaModel("small", base_url=ollama_server.url)
    yield model
    await model.close()


async def test_text_comes_in_pieces_then_usage_then_done(model: OllamaModel) -> None:
    assert await collected(model.stream(HI)) == [
        TextDelta("Hel"),
        TextDelta("lo"),
        Usage(7, 3),
        Done("stop", "ollama:small"),
    ]


@pytest.mark.parametrize(
    "messages",
    [[{"content": "", "thinking": "hm"}, *text("Yes")], text("<think>h", "m</think>\n", "Yes")],
    ids=["in a field", "in the text, as old servers do"],
)
async def test_thinking_is_not_text(
    ollama_server: OllamaServer, model: OllamaModel, messages: list[dict[str, Any]]
) -> None:
    ollama_server.replies(Reply(messages))
    parts = await collected(model.stream(HI))
    assert "".join(p.text for p in parts if isinstance(p, ReasoningDelta)) == "hm"
    assert "".join(p.text for p in parts if isinstance(p, TextDelta)) == "Yes"


async def test_calls_without_ids_get_some(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool
) -> None:
    ollama_server.replies(Reply([call("lookup", PARIS), call("lookup", PARIS)]))
    parts = await collected(model.stream(HI, [lookup]))
    made = [part for part in parts if isinstance(part, ToolCall)]
    assert [(one.name, one.arguments) for one in made] == [("lookup", PARIS)] * 2
    assert len({one.id for one in made}) == 2
    assert parts[-1] == Done("tool_calls", "ollama:small")


async def test_a_call_that_the_server_left_in_the_text_is_recognised(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool
) -> None:
    ollama_server.replies(Reply(text('{"name": "lookup", ', '"arguments": {"city": "Paris"}}')))
    parts = await collected(model.stream(HI, [lookup]))
    assert [p.arguments for p in parts if isinstance(p, ToolCall)] == [PARIS]
    assert not any(isinstance(part, TextDelta) for part in parts)


async def test_every_kind_of_message_is_sent(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    await collected(
        model.stream(
            [
                Message("system", "Be brief."),
                Message("user", (TextPart("What?"), ImagePart(b"\x01"))),
                Message("assistant", "", (ToolCall("c1", "lookup", PARIS),)),
                Message("tool", "sunny", tool_call_id="c1"),
            ]
        )
    )
    system, user, assistant, answer = ollama_server.requests[0]["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user == {"role": "user", "content": "What?", "images": ["AQ=="]}
    assert assistant["tool_calls"][0]["function"] == {"name": "lookup", "arguments": PARIS}
    assert (answer["content"], answer["tool_name"]) == ("sunny", "lookup")


async def test_a_nested_schema_reaches_the_server_whole(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    @tool
    def plan(stops: list[dict[str, int]], budget: int | None = None) -> str:
        """Plan a trip."""
        return ""

    await collected(model.stream(HI, [plan]))
    assert ollama_server.requests[0]["tools"][0]["function"]["parameters"] == plan.parameters


async def test_options_reach_the_server(ollama_server: OllamaServer) -> None:
    model = OllamaModel("small", base_url=ollama_server.url, keep_alive="5m")
    schema = {"type": "object"}
    extra = {"think": False, "top_k": 5}
    options = Options(0.5, 20, ("END",), 7, schema=schema, extra=extra)
    await collected(model.stream(HI, (), options))
    await model.close()
    [sent] = ollama_server.requests
    assert (sent["format"], sent["keep_alive"], sent["think"]) == (schema, "5m", False)
    assert (sent["truncate"], sent["shift"]) == (False, False)
    assert sent["options"] == {
        "num_ctx": 8192,
        "temperature": 0.5,
        "num_predict": 20,
        "stop": ["END"],
        "seed": 7,
        "top_k": 5,
    }


async def test_forbidden_tools_are_not_offered(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool
) -> None:
    await collected(model.stream(HI, [lookup], Options(tool_choice="none")))
    assert "tools" not in ollama_server.requests[0]


@pytest.mark.parametrize("choice", ["required", "lookup"])
async def test_a_required_call_is_forced_by_a_schema(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool, choice: str
) -> None:
    await collected(model.stream(HI, [lookup], Options(tool_choice=choice)))
    schema = ollama_server.requests[0]["format"]["properties"]
    assert schema["name"] == {"const": "lookup"}
    assert schema["arguments"]["required"] == ["city"]


async def test_one_of_several_tools_may_be_required(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool
) -> None:
    zone = {"$defs": {"Zone": {}}, "properties": {"zone": {"$ref": "#/$defs/Zone"}}}
    tools = [lookup, Tool("now", "", zone, str)]
    await collected(model.stream(HI, tools, Options(tool_choice="required")))
    schema = ollama_server.requests[0]["format"]
    assert [one["properties"]["name"]["const"] for one in schema["anyOf"]] == ["lookup", "now"]
    assert schema["anyOf"][1]["properties"]["arguments"] == {"$ref": "#/$defs/tool1"}
    assert schema["$defs"]["tool1"]["properties"]["zone"] == {"$ref": "#/$defs/tool1/$defs/Zone"}


@pytest.mark.parametrize(
    ("characters", "window"), [(30, 8192), (30_000, 16384), (60_000, 32768), (95_000, 32768)]
)
async def test_the_window_is_the_smallest_step_that_holds_the_prompt(
    ollama_server: OllamaServer, model: OllamaModel, characters: int, window: int
) -> None:
    await collected(model.stream([Message("user", "x" * characters)]))
    assert ollama_server.requests[0]["options"]["num_ctx"] == window


async def test_the_window_never_shrinks(ollama_server: OllamaServer, model: OllamaModel) -> None:
    for prompt in ("x" * 30_000, "x"):
        await collected(model.stream([Message("user", prompt)]))
    assert [sent["options"]["num_ctx"] for sent in ollama_server.requests] == [16384, 16384]


async def test_the_models_own_length_bounds_the_window(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    ollama_server.context_length = 2048
    await collected(model.stream(HI))
    assert ollama_server.requests[0]["options"]["num_ctx"] == 2048
    assert await model.context_window() == 2048


async def test_a_prompt_beyond_the_greatest_window_is_refused(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    with pytest.raises(ModelError, match=r"about 33\d\d\d tokens .* 32768 tokens.*max_context"):
        await collected(model.stream([Message("user", "x" * 100_000)]))
    assert ollama_server.requests == []


async def test_the_model_is_shown_once(ollama_server: OllamaServer, model: OllamaModel) -> None:
    for _ in range(3):
        await collected(model.stream(HI))
    assert ollama_server.shown == 1


async def test_capabilities_come_from_the_server(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    ollama_server.capabilities = ["completion", "vision", "thinking"]
    assert await model.capabilities() == Capabilities(False, False, True, True, True)


async def test_an_old_server_shows_tools_by_its_template(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    ollama_server.capabilities = None
    assert (await model.capabilities()).tools


async def test_counts_that_the_server_leaves_out_are_estimated(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    ollama_server.replies(Reply(counted=False))
    [usage] = [part for part in await collected(model.stream(HI)) if isinstance(part, Usage)]
    assert usage.estimated
    assert usage.input_tokens > 0


async def test_an_answer_at_its_limit_says_so(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    ollama_server.replies(Reply(reason="length"))
    assert (await collected(model.stream(HI)))[-1] == Done("length", "ollama:small")


async def test_a_text_may_hold_any_line_end(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    ollama_server.replies(Reply(text("a\u2028b\x85c\u2029d")))
    assert (await collected(model.stream(HI)))[0] == TextDelta("a\u2028b\x85c\u2029d")


@pytest.mark.parametrize(
    "reply",
    [
        Reply([], error="unexpected server status: llm server loading model"),
        Reply(raw='{"error": "server busy, please try again"}', status=503),
        Reply([], reset=True),
    ],
    ids=["loading", "busy", "connection lost"],
)
async def test_a_server_that_is_not_ready_is_asked_again(
    ollama_server: OllamaServer, model: OllamaModel, reply: Reply
) -> None:
    ollama_server.replies(reply, Reply())
    parts = await collected(model.stream(HI))
    assert isinstance(parts[0], Retried)
    assert parts[-1] == Done("stop", "ollama:small")


FAULTS = {
    "a stream that stops short": (Reply(finished=False), "was cut off"),
    "an error in the stream": (Reply(error="out of memory"), "out of memory"),
    "no JSON": (Reply(raw="<html>"), "does not answer like an Ollama server"),
    "JSON of another kind": (Reply(raw="[1]\n"), "does not answer like an Ollama server"),
    "a model without tools": (
        Reply(raw='{"error": "small does not support tools"}', status=400),
        "does not support tools",
    ),
    "a prompt that is too long after all": (
        Reply(raw='{"error": "request (9 tokens) exceeds the available context size"}', status=400),
        "too long for ollama:small.*max_context",
    ),
    "a connection lost midway": (Reply(reset=True), "was interrupted"),
}


@pytest.mark.parametrize(("reply", "line"), FAULTS.values(), ids=FAULTS)
async def test_a_fault_is_one_clear_line(
    ollama_server: OllamaServer, model: OllamaModel, reply: Reply, line: str
) -> None:
    ollama_server.replies(reply)
    with pytest.raises(ModelError, match=line) as raised:
        await collected(model.stream(HI))
    assert "\n" not in str(raised.value)
    assert raised.value.model == "ollama:small"


async def test_a_missing_model_names_the_command_that_brings_it(
    ollama_server: OllamaServer,
) -> None:
    model = OllamaModel("tiny:1b", base_url=ollama_server.url)
    with pytest.raises(ModelError, match="Run: ollama pull tiny:1b"):
        await collected(model.stream(HI))
    await model.close()


async def test_a_server_that_is_not_up_names_how_to_start_it() -> None:
    url = refused_url()
    model = OllamaModel("small", base_url=url)
    with pytest.raises(ModelError, match=f"No Ollama server answers at {url}.*ollama serve"):
        await collected(model.stream(HI))
    await model.close()


async def test_a_silent_server_times_out(ollama_server: OllamaServer) -> None:
    ollama_server.replies(Reply(stalls=True))
    model = OllamaModel("small", base_url=ollama_server.url, read_timeout=0.2)
    with pytest.raises(ModelError, match=r"sent nothing for 0\.2 s.*read_timeout"):
        await collected(model.stream(HI))
    await model.close()


async def test_closing_the_iterator_hangs_up(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    ollama_server.replies(Reply(stalls=True))
    parts = model.stream(HI)
    assert await anext(parts) == TextDelta("Hel")
    await parts.aclose()
    assert await asyncio.to_thread(ollama_server.left.wait, 10)


async def test_the_servers_address_comes_from_the_environment(
    ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = ollama_server.url.rpartition(":")[2]
    monkeypatch.setenv("OLLAMA_HOST", f"0.0.0.0:{port}")
    model = OllamaModel("small")
    assert (await collected(model.stream(HI)))[-1] == Done("stop", "ollama:small")
    await model.close()
