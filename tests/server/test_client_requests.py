"""Requests in the forms that clients of OpenAI's API send, beside those of its own SDK."""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from agentkit import ScriptedModel, ToolCall
from agentkit.backends.base import Options
from agentkit.events import ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import Message
from agentkit.tools.tool import Tool
from tests.server.conftest import Serve
from tests.server.test_chat import ANSWER, LOCATE, QUESTION, ask

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and the rest of it").decode().rstrip("=")
KEPT = {"type": "object", "required": ["days"]}
ANSWERED = [*QUESTION, {"role": "assistant", "content": "90 days."}]


class RecordingModel(ScriptedModel):
    """Keeps the options of the last request."""

    options = Options()

    async def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        self.options = options
        async for part in super().request(messages, tools, options):
            yield part


def picture(url: str) -> dict[str, Any]:
    parts = [{"type": "image_url", "image_url": {"url": url}}]
    return {"messages": [{"role": "user", "content": parts}]}


def called(**call: Any) -> dict[str, Any]:
    """A conversation whose one call has been answered."""
    call = {"id": "c1", "type": "function"} | call
    call["function"] = {"name": "locate", "arguments": "{}"} | call.get("function", {})
    calling = {"role": "assistant", "content": "", "tool_calls": [call]}
    result = {"role": "tool", "tool_call_id": call["id"], "content": "Basel"}
    return {"messages": [*QUESTION, calling, result], "tools": [LOCATE]}


def offered(schema: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"p": schema}, "required": ["p"]}
    draft = {"$schema": "http://json-schema.org/draft-07/schema#"}
    function = {"name": "locate", "parameters": parameters | draft}
    return {"tools": [{"type": "function", "function": function}]}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(picture(f"data:image/png;charset=utf-8;base64,{PNG}=="), id="charset"),
        pytest.param(picture(f"data:image/PNG;BASE64,{PNG}=="), id="capitals"),
        pytest.param(picture(f"data:image/png;base64,{PNG}"), id="no padding"),
        pytest.param(picture(f"data:image/png;base64,{PNG[:9]}\n{PNG[9:]}==\n"), id="lines"),
        pytest.param(picture(f"data:application/octet-stream;base64,{PNG}=="), id="octets"),
        pytest.param(called(function={"arguments": {"a": 1}}), id="arguments as an object"),
        pytest.param(called(function={"arguments": None}), id="no arguments"),
        pytest.param(called(type=None, index=0), id="an accumulated stream"),
        pytest.param(called(id=f"c_thought_{'x' * 4000}"), id="an id with a signature"),
        pytest.param(offered({"type": "array", "items": [{"type": "string"}]}), id="tuple"),
        pytest.param(offered({"type": "string", "pattern": r"^\p{L}+(?<y>\d)$"}), id="pattern"),
        pytest.param({"functions": [], "tools": [], "tool_choice": "auto"}, id="no tools"),
        pytest.param(
            {
                "messages": [
                    *QUESTION,
                    {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]},
                    *QUESTION,
                ]
            },
            id="thoughts",
        ),
    ],
)
async def test_other_forms_of_a_request_are_answered(serve: Serve, body: dict[str, Any]) -> None:
    async with serve(ScriptedModel([ANSWER])) as client:
        reply = await ask(client, **body)
    assert reply["choices"][0]["message"]["content"] == ANSWER, reply


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize("before", [[], ANSWERED])
@pytest.mark.parametrize("path", ["chat/completions", "responses"])
async def test_a_system_message_at_the_end_is_the_prompt(
    serve: Serve, role: str, before: list[Any], path: str
) -> None:
    model = ScriptedModel(lambda _: "En français.")
    messages = [*before, {"role": role, "content": "Say it in French."}]
    async with serve(model) as client:
        body = {"messages": messages, "input": messages}
        assert (await client.post(f"/v1/{path}", json=body)).status_code == 200
    asked = [m for m in model.requests[-1] if m.role == "user"][-1]
    assert "Say it in French." in asked.text


async def test_citations_stay_after_several_calls_of_a_clients_tool(serve: Serve) -> None:
    model = ScriptedModel([*(ToolCall(f"c{n}", "locate", {}) for n in range(3)), ANSWER])
    messages: list[Any] = list(QUESTION)
    async with serve(model) as client:
        for _ in range(4):
            message = (await ask(client, messages=messages, tools=[LOCATE]))["choices"][0][
                "message"
            ]
            messages.append(message)
            for call in message.get("tool_calls", ()):
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": "Basel"})
    assert messages[-1]["content"] == ANSWER
    assert messages[-1]["annotations"][0]["url_citation"]["file"] == "storage.md"


async def test_without_parallel_calls_a_client_gets_one_at_a_time(serve: Serve) -> None:
    both = [ToolCall("a", "locate", {}), ToolCall("b", "locate", {})]
    messages: list[Any] = list(QUESTION)
    seen = []
    async with serve(ScriptedModel([both, ANSWER])) as client:
        for _ in range(3):
            body = {"tools": [LOCATE], "parallel_tool_calls": False}
            message = (await ask(client, messages=messages, **body))["choices"][0]["message"]
            messages.append(message)
            seen.append([call["id"] for call in message.get("tool_calls", ())])
            for each in seen[-1]:
                messages.append({"role": "tool", "tool_call_id": each, "content": "Basel"})
    assert seen == [["a"], ["b"], []]
    assert messages[-1]["annotations"]


async def test_a_whole_reply_has_what_the_model_thought(serve: Serve) -> None:
    async with serve(ScriptedModel([[ReasoningDelta("Hm."), TextDelta("90.")]])) as client:
        message = (await ask(client))["choices"][0]["message"]
    assert message["reasoning_content"] == "Hm."
    assert message["content"] == "90."


async def test_sampling_of_other_servers_goes_to_the_model(serve: Serve) -> None:
    model = RecordingModel([ANSWER])
    sampling = {"top_k": 20, "min_p": 0.1, "logit_bias": {"50256": -100}, "verbosity": "low"}
    async with serve(model) as client:
        await ask(client, **sampling)
    assert model.options.extra == sampling


@pytest.mark.parametrize(
    ("form", "is_schema"),
    [
        ({"type": "json_object", "schema": KEPT}, True),
        ({"type": "json_schema", "schema": KEPT}, True),
        ({"type": "json_schema", "json_schema": {"name": "kept"}}, False),
    ],
)
async def test_a_schema_counts_wherever_it_stands(
    serve: Serve, form: dict[str, Any], is_schema: bool
) -> None:
    async with serve(ScriptedModel(['{"hours": 1}', '{"days": 90}'])) as client:
        reply = await ask(client, response_format=form)
    if is_schema:
        assert reply["choices"][0]["message"]["content"] == '{"days": 90}'
    else:
        assert reply["error"]["param"] == "schema"


@pytest.mark.parametrize(
    ("body", "param", "reason"),
    [
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content", "text or"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "messages.0.content.0", "an object"),
        ({"messages": [{"content": "a"}]}, "messages.0.role", "missing"),
        ({"tool_choice": "any"}, "tool_choice", "'required' or be an object"),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice", "allowed_tools"),
        ({"tool_choice": {}}, "tool_choice.type", "missing"),
        ({"top_logprobs": 3}, "top_logprobs", "not available"),
        ({"web_search_options": {}}, "web_search_options", "not searched"),
        (picture("data:image/png;base64,aGVsbG8="), "messages", "unknown kind"),
    ],
)
async def test_a_refusal_names_the_field_as_the_client_wrote_it(
    serve: Serve, body: dict[str, Any], param: str, reason: str
) -> None:
    async with serve(ScriptedModel([])) as client:
        error = (await ask(client, **body))["error"]
    assert error["param"] == param
    assert reason in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "step"),
    [
        ("POST", "/chat/completions", 404, "http://127.0.0.1/v1"),
        ("GET", "/models", 404, "http://127.0.0.1/v1"),
        ("POST", "/v1/v1/chat/completions", 404, "http://127.0.0.1/v1"),
        ("POST", "/v1/completions", 404, "chat/completions"),
        ("GET", "/api/tags", 404, "/docs"),
        ("GET", "/v1/chat/completions", 405, "POST"),
    ],
)
async def test_a_wrong_path_is_answered_with_the_right_one(
    serve: Serve, method: str, path: str, status: int, step: str
) -> None:
    async with serve() as client:
        response = await client.request(method, path)
    assert response.status_code == status
    assert step in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        (b"{}", "text/plain", "content-type"),
        (b"{}", "application/x-www-form-urlencoded", "content-type"),
        (b'{"a": "\xe9"}', "application/json", "UTF-8"),
        (b"{", "application/json", "not JSON"),
    ],
)
async def test_a_body_that_is_not_read_as_json_is_explained(
    serve: Serve, content: bytes, kind: str, reason: str
) -> None:
    async with serve() as client:
        path, headers = "/v1/chat/completions", {"content-type": kind}
        response = await client.post(path, content=content, headers=headers)
    assert response.status_code == 400
    assert reason in response.json()["error"]["message"]


async def test_models_are_listed_at_a_path_that_ends_with_a_slash(serve: Serve) -> None:
    async with serve() as client:
        assert (await client.get("/v1/models/")).json()["data"][0]["id"] == "notes"
