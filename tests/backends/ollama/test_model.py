"""The Ollama backend against a small server with every known quirk, and against a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agentkit import Agent, Session
from agentkit.backends.base import Capabilities, Options
from agentkit.backends.ollama.model import OllamaModel
from agentkit.backends.ollama.server import authorization
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


NO_TOOLS = "registry.ollama.ai/library/small does not support tools"
CALL_IN_TEXT = '<tool_call>\n{"name": "lookup", "arguments": {"city": "Paris"}}\n</tool_call>'
TALK = [
    Message("user", "Where?"),
    Message("assistant", "", (ToolCall("c1", "lookup", PARIS),)),
    Message("tool", "sunny", tool_call_id="c1"),
]


@pytest.mark.parametrize("is_known", [True, False], ids=["by its facts", "by its refusal"])
async def test_a_model_without_tools_gets_them_in_the_prompt(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool, is_known: bool
) -> None:
    ollama_server.capabilities = ["completion"] if is_known else ["completion", "tools"]
    ollama_server.refusal = lambda body: NO_TOOLS if "tools" in body else ""
    ollama_server.replies(Reply(text(CALL_IN_TEXT)))
    for messages in (HI, TALK):
        parts = await collected(model.stream(messages, [lookup]))
        assert [p.arguments for p in parts if isinstance(p, ToolCall)] == [PARIS]
        assert parts[-1] == Done("tool_calls", "ollama:small")
    refused = [sent for sent in ollama_server.requests if "tools" in sent]
    assert len(refused) == (0 if is_known else 1)  # It is learned once.
    system, *rest = ollama_server.requests[-1]["messages"]
    assert '"name": "lookup"' in system["content"]
    assert [message["role"] for message in rest] == ["user", "assistant", "user"]
    assert "sunny" in rest[-1]["content"]


async def test_a_model_without_tools_is_forced_to_a_call_by_a_schema(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool
) -> None:
    ollama_server.capabilities = ["completion"]
    ollama_server.replies(Reply(text('{"name": "lookup", "arguments": {"city": "Paris"}}')))
    parts = await collected(model.stream(HI, [lookup], Options(tool_choice="required")))
    assert [p.arguments for p in parts if isinstance(p, ToolCall)] == [PARIS]
    assert ollama_server.requests[0]["format"]["properties"]["name"] == {"const": "lookup"}


UNREADABLE = [
    Reply(
        raw='{"error": "error parsing tool call: raw=\'{\\"a\', err=unexpected end of JSON"}',
        status=500,
    ),
    Reply([], error="XML syntax error on line 7: expected element name after <"),
    Reply(text("Let me see."), error="XML syntax error on line 3: element <parameter> closed"),
    Reply(
        [{"content": "", "thinking": "hm"}], error="failed to parse tool call: invalid character"
    ),
    Reply(raw='{"error":"tool call parsing failed: unexpected token"}', status=500),
    Reply(raw='{"error":{"message":"harmony parser: unexpected tokens"}}', status=502),
    Reply([], error="invalid character '}' looking for beginning of object key string"),
    Reply(raw='{"error":"error parsing tool call: raw=\'plain\', err=invalid character"}\n'),
]


@pytest.mark.parametrize("reply", UNREADABLE, ids=range(len(UNREADABLE)))
async def test_a_call_that_the_server_cannot_read_is_requested_once_more(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool, reply: Reply
) -> None:
    ollama_server.replies(reply, Reply([call("lookup", PARIS)]))
    parts = await collected(model.stream(HI, [lookup]))
    assert len([part for part in parts if isinstance(part, Retried)]) == 1
    assert [p.arguments for p in parts if isinstance(p, ToolCall)] == [PARIS]
    ollama_server.replies(reply)
    with pytest.raises(ModelError, match="wrote a tool call that the Ollama server cannot read"):
        await collected(model.stream(HI, [lookup]))
    assert len(ollama_server.requests) == 4


@pytest.mark.parametrize(
    ("refuses", "given", "sent"),
    [
        (lambda think: "", "HIGH", ["high"]),
        (lambda think: "", "false", [False]),
        (lambda think: '"small" does not support thinking', True, [True, None]),
        (
            lambda think: (
                'think value "high" is not supported for this model'
                if isinstance(think, str)
                else ""
            ),
            "high",
            ["high", True],
        ),
        (
            lambda think: 'invalid think value: "high"' if think else "",
            "high",
            ["high", True, None],
        ),
    ],
    ids=["a level", "a text", "no thinking", "no levels", "neither"],
)
async def test_thinking_is_requested_in_the_form_that_the_model_takes(
    ollama_server: OllamaServer, refuses: Any, given: Any, sent: list[Any]
) -> None:
    ollama_server.refusal = lambda body: refuses(body["think"]) if "think" in body else ""
    model = OllamaModel("small", base_url=ollama_server.url, extra_body={"think": given})
    for _ in range(2):  # The second request begins with what the first one learned.
        assert (await collected(model.stream(HI)))[-1] == Done("stop", "ollama:small")
    asked = [body.get("think") for body in ollama_server.requests]
    assert asked == [*sent, sent[-1]]
    await model.close()


@pytest.mark.parametrize("reason", ["load", "unload"])
async def test_a_model_that_was_only_loaded_is_asked_again(
    ollama_server: OllamaServer, model: OllamaModel, reason: str
) -> None:
    ollama_server.replies(Reply([], reason=reason), Reply())
    parts = await collected(model.stream(HI))
    assert isinstance(parts[0], Retried)
    assert parts[-1] == Done("stop", "ollama:small")


@pytest.mark.parametrize(
    ("window", "is_refused"), [(4096, True), (0, False), (16384, False)], ids=["cut", "?", "whole"]
)
async def test_a_prompt_that_the_server_cut_is_noticed(
    ollama_server: OllamaServer, model: OllamaModel, window: int, is_refused: bool
) -> None:
    ollama_server.loaded_window = window
    question = [Message("user", "x" * 30_000)]
    if not is_refused:
        assert (await collected(model.stream(question)))[-1] == Done("stop", "ollama:small")
        return
    with pytest.raises(ModelError, match=r"window of 4096 tokens.*OLLAMA_CONTEXT_LENGTH") as raised:
        await collected(model.stream(question))
    assert raised.value.kind == "too_long"
    assert await model.context_window() == 4096


async def test_images_are_sent_to_models_that_see(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool
) -> None:
    seen = (TextPart("the screen"), ImagePart(b"\x01"))
    shown = [*TALK[:2], Message("tool", seen, tool_call_id="c1")]
    await collected(model.stream(shown, [lookup]))
    last = ollama_server.requests[-1]["messages"][-1]
    assert last["content"] == "the screen\n(An image, which this model cannot read.)"
    for capabilities in (["completion", "tools", "vision"], ["completion", "vision"], None):
        ollama_server.capabilities = capabilities
        other = OllamaModel("small", base_url=ollama_server.url)
        await collected(other.stream(shown, [lookup]))
        assert ollama_server.requests[-1]["messages"][-1]["images"] == ["AQ=="]
        await other.close()


@pytest.mark.parametrize("arguments", ['{"city": "Paris"}', PARIS], ids=["text", "object"])
@pytest.mark.parametrize("content", [None, ""], ids=["null", "empty"])
async def test_arguments_and_content_of_every_form_are_read(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool, arguments: Any, content: Any
) -> None:
    made = {**call("lookup", arguments), "content": content}
    ollama_server.replies(Reply([made, {"content": content}]))
    parts = await collected(model.stream(HI, [lookup]))
    assert [p.arguments for p in parts if isinstance(p, ToolCall)] == [PARIS]


@pytest.mark.parametrize(
    ("status", "raw", "line"),
    [
        (404, '{"error":"model \'small\' not found"}', "Run: ollama pull small"),
        (404, '{"error":"model \\"small\\" not found, try pulling it first"}', "ollama pull small"),
        (404, "404 page not found", "does not answer like an Ollama server.*Check base_url"),
        (405, '{"detail":"Method Not Allowed"}', "does not answer like an Ollama server"),
        (401, '{"error":"unauthorized","signin_url":"https://x"}', "401: unauthorized.*signin"),
        (403, '{"error":"this model requires a subscription"}', "requires a subscription"),
        (500, '{"error":"model requires more system memory (9 GiB)"}', "more system memory"),
    ],
)
async def test_a_refusal_names_the_next_step(
    ollama_server: OllamaServer, model: OllamaModel, status: int, raw: str, line: str
) -> None:
    ollama_server.replies(Reply(raw=raw, status=status))
    with pytest.raises(ModelError, match=line):
        await collected(model.stream(HI))


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/api", "/api/", "/api/chat"])
@pytest.mark.parametrize("has_scheme", [True, False])
async def test_the_address_of_a_route_is_understood(
    ollama_server: OllamaServer, tail: str, has_scheme: bool
) -> None:
    url = ollama_server.url + tail
    model = OllamaModel("small", base_url=url if has_scheme else url.removeprefix("http://"))
    assert (await collected(model.stream(HI)))[-1] == Done("stop", "ollama:small")
    await model.close()


async def test_the_key_of_the_cloud_goes_to_the_cloud_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OLLAMA_API_KEY", "k-secret")
    assert authorization("https://ollama.com:443/api") == {"Authorization": "Bearer k-secret"}
    for url in ("http://ollama.com", "https://ollama.com.evil.example", "http://127.0.0.1:11434"):
        assert authorization(url) == {}


async def test_a_constrained_answer_that_the_server_takes_for_a_thought_is_text(
    ollama_server: OllamaServer, model: OllamaModel
) -> None:
    pieces = [{"content": "", "thinking": piece} for piece in ('{"city": ', '"Rome"}')]
    ollama_server.replies(Reply(pieces))
    parts = await collected(model.stream(HI, (), Options(schema=Place.model_json_schema())))
    assert "".join(p.text for p in parts if isinstance(p, TextDelta)) == '{"city": "Rome"}'
    parts = await collected(model.stream(HI))
    assert not [part for part in parts if isinstance(part, TextDelta)]


async def test_thinking_goes_back_with_the_calls_that_it_led_to(
    ollama_server: OllamaServer, model: OllamaModel, lookup: Tool
) -> None:
    thinking = {**call("lookup", PARIS), "thinking": "I look it up."}
    ollama_server.replies(Reply([thinking]), Reply([{"content": "Sunny.", "thinking": "Fine."}]))
    session = Session()
    agent = Agent(model, [lookup])
    for _ in range(2):
        assert (await agent.run("Weather?", session=session)).text == "Sunny."
    sent = [m for m in ollama_server.requests[-1]["messages"] if m["role"] == "assistant"]
    assert [message.get("thinking") for message in sent] == ["I look it up.", None]
