"""Chat completions, as a client of OpenAI's API sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentkit import ModelError, Project, ScriptedModel, ToolCall
from agentkit.knowledge.tools import SEARCH
from agentkit.server.app import create_app
from agentkit.settings.schema import ServeSettings
from tests.server.conftest import Serve

QUESTION = [{"role": "user", "content": "How long is a backup kept?"}]
ANSWER = "A backup is kept for 90 days [1]."
LOCATE = {
    "type": "function",
    "function": {"name": "locate", "parameters": {"type": "object", "properties": {}}},
}


async def ask(client: httpx2.AsyncClient, **body: Any) -> Any:
    response = await client.post("/v1/chat/completions", json={"messages": QUESTION, **body})
    return response.json()


async def stream(client: httpx2.AsyncClient, **body: Any) -> list[Any]:
    """The chunks of a streamed answer."""
    body = {"messages": QUESTION, "stream": True, **body}
    response = await client.post("/v1/chat/completions", json=body)
    lines = [line for line in response.text.split("\n") if line.startswith("data: ")]
    assert response.headers["content-type"].startswith("text/event-stream")
    return [
        json.loads(line.removeprefix("data: ")) for line in lines if not line.endswith("[DONE]")
    ]


def text_of(chunks: list[Any]) -> str:
    return "".join(
        chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]
    )


async def test_an_answer_cites_the_exact_range_and_links_to_it(serve: Serve) -> None:
    async with serve(ScriptedModel([ANSWER])) as client:
        reply = await ask(client)
        message = reply["choices"][0]["message"]
        (annotation,) = message["annotations"]
        cited = annotation["url_citation"]
        assert message["content"] == ANSWER
        assert ANSWER[cited["start_index"] : cited["end_index"]].strip() == "[1]"
        assert cited["file"] == "storage.md"
        assert cited["heading"] == "Storage > Backups"
        assert cited["url"].startswith("http://127.0.0.1/#/documents/")
        assert reply["usage"]["total_tokens"] > 0


async def test_a_stream_has_the_same_text_citations_and_usage(serve: Serve) -> None:
    async with serve(ScriptedModel([ANSWER])) as client:
        chunks = await stream(client, stream_options={"include_usage": True})
    assert text_of(chunks) == ANSWER
    assert [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]][-1] == "stop"
    assert any("annotations" in c["choices"][0]["delta"] for c in chunks if c["choices"])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] > 0


async def test_an_unsupported_sentence_is_named(serve: Serve) -> None:
    text = f"{ANSWER} The archive was founded by Leonhard Euler in 1736."
    async with serve(ScriptedModel([text])) as client:
        reply = await ask(client)
    (sentence,) = reply["agentkit"]["unsupported"]
    assert "Euler" in text[sentence["start"] : sentence["end"]]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_answers_its_own_tools_while_ours_run_here(
    serve: Serve, streamed: bool
) -> None:
    model = ScriptedModel(
        [
            [ToolCall("a", "calculator", {"expression": "6*7"}), ToolCall("b", "locate", {})],
            "You are in Basel, 42.",
        ]
    )
    async with serve(model) as client:
        if streamed:
            last = [c["choices"][0] for c in await stream(client, tools=[LOCATE]) if c["choices"]]
            calls = [call for c in last for call in c["delta"].get("tool_calls", ())]
            reason = last[-1]["finish_reason"]
        else:
            choice = (await ask(client, tools=[LOCATE]))["choices"][0]
            calls, reason = choice["message"]["tool_calls"], choice["finish_reason"]
        assert [(c["id"], c["function"]["name"]) for c in calls] == [("b", "locate")]
        assert reason == "tool_calls"
        messages = [
            *QUESTION,
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "b", "content": "Basel"},
        ]
        reply = await ask(client, messages=messages, tools=[LOCATE])
    assert reply["choices"][0]["message"]["content"] == "You are in Basel, 42."
    results = [m.text for m in model.requests[-1] if m.role == "tool"]
    assert results[-2:] == ["6*7 = 42", "Basel"]


async def test_a_run_goes_on_where_its_server_was_restarted(serve: Serve) -> None:
    calls = [{"id": "b", "type": "function", "function": {"name": "locate", "arguments": "{}"}}]
    messages = [
        *QUESTION,
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "tool_call_id": "b", "content": "Basel"},
    ]
    model = ScriptedModel(["You are in Basel."])
    async with serve(model) as client:
        reply = await ask(client, messages=messages, tools=[LOCATE])
    assert reply["choices"][0]["message"]["content"] == "You are in Basel."
    assert [m.text for m in model.requests[-1] if m.role == "tool"] == ["Basel"]


async def test_a_clients_tool_may_have_the_name_of_ours(serve: Serve) -> None:
    theirs = {"type": "function", "function": {"name": SEARCH, "description": "Theirs."}}
    model = ScriptedModel([ToolCall("x", f"client_{SEARCH}", {}), "done"])
    async with serve(model) as client:
        choice = (await ask(client, tools=[theirs]))["choices"][0]
    assert choice["message"]["tool_calls"][0]["function"]["name"] == SEARCH
    assert {SEARCH, f"client_{SEARCH}"} <= set(model.tools_offered[0])


@pytest.mark.parametrize("streamed", [False, True])
async def test_structured_output_is_valid_json(serve: Serve, streamed: bool) -> None:
    schema = {
        "type": "object",
        "properties": {"days": {"type": "integer"}},
        "required": ["days"],
    }
    form = {"type": "json_schema", "json_schema": {"name": "kept", "schema": schema}}
    async with serve(ScriptedModel(['{"days": "many"}', '{"days": 90}'])) as client:
        if streamed:
            text = text_of(await stream(client, response_format=form))
        else:
            reply = await ask(client, response_format=form)
            text = reply["choices"][0]["message"]["content"]
    assert json.loads(text) == {"days": 90}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"temperature": 9}, "temperature"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, "messages"),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]}, "messages"),
        ({"model": "gpt-9"}, "model"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": 5}}}]},
            "tools.0.function.parameters",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image_url", "image_url": {"url": "http://10.0.0.1/a.png"}}
                        ],
                    }
                ]
            },
            "messages",
        ),
    ],
)
async def test_what_cannot_be_done_is_refused_by_name(
    serve: Serve, body: dict[str, Any], param: str
) -> None:
    async with serve(ScriptedModel([])) as client:
        error = (await ask(client, **body))["error"]
    assert error["param"] == param
    assert error["type"] in ("invalid_request_error", "not_found_error")


@pytest.mark.parametrize(
    ("kind", "status"),
    [("down", 502), ("rate_limited", 429), ("timed_out", 504), ("too_long", 400)],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failure_of_the_model_has_a_status(
    serve: Serve, kind: Any, status: int, streamed: bool
) -> None:
    async with serve(ScriptedModel([ModelError("It fails.", "m", kind)])) as client:
        body = {"messages": QUESTION, "stream": streamed}
        response = await client.post("/v1/chat/completions", json=body)
    assert response.status_code == status
    assert "It fails." in response.json()["error"]["message"]


async def test_system_messages_reach_the_model(serve: Serve) -> None:
    model = ScriptedModel([ANSWER])
    system = {"role": "developer", "content": "Answer like a pirate."}
    async with serve(model) as client:
        await ask(client, messages=[system, *QUESTION])
    assert "Answer like a pirate." in model.requests[0][0].text


async def test_markers_of_earlier_answers_are_not_read_again(serve: Serve) -> None:
    model = ScriptedModel(["Yes, on Sunday [1]."])
    earlier = {"role": "assistant", "content": ANSWER}
    follow_up = {"role": "user", "content": "And when is a backup of the archive made?"}
    async with serve(model) as client:
        await ask(client, messages=[*QUESTION, earlier, follow_up])
    written = [m.text for m in model.requests[-1] if m.role == "assistant" and m.text]
    assert written == ["A backup is kept for 90 days."]


async def test_a_full_queue_is_answered_with_retry_after(serve: Serve) -> None:
    limits = ServeSettings(per_minute=1)
    async with serve(ScriptedModel([ANSWER, ANSWER]), limits) as client:
        assert "choices" in await ask(client)
        response = await client.post("/v1/chat/completions", json={"messages": QUESTION})
    assert response.status_code == 429
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(
    ("body", "end", "reason"),
    [({"stop": "kept"}, "and ", "stop"), ({"max_tokens": 30}, "", "length")],
)
async def test_the_extractive_model_keeps_to_stop_and_to_the_limit_of_tokens(
    serve: Serve, body: dict[str, Any], end: str, reason: str
) -> None:
    async with serve() as client:
        whole = (await ask(client))["choices"][0]["message"]["content"]
        choice = (await ask(client, **body))["choices"][0]
    text = choice["message"]["content"]
    assert text.endswith(end)
    assert whole.startswith(text)
    assert len(text) < len(whole)
    assert choice["finish_reason"] == reason


async def test_a_question_waits_for_the_first_documents(folder: Path) -> None:
    project = Project.open(folder, model="extractive", trust=True)
    project.in_background = True
    app = create_app(project, needs_key=False, start_project=True)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app), base_url="http://127.0.0.1"
        ) as client,
    ):
        reply = await ask(client)
    assert "90 days" in reply["choices"][0]["message"]["content"]
