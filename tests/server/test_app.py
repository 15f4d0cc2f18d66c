"""The server's own routes: health, models, the page's state, and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit import ScriptedModel
from agentkit.server.keys import KeyStore
from tests.server.conftest import Serve


async def test_models_are_the_folder_and_say_whose_they_are(serve: Serve) -> None:
    async with serve() as client:
        listing = (await client.get("/v1/models")).json()
    assert listing["data"][0]["id"] == "notes"
    assert listing["data"][0]["owned_by"] == "agentkit"


async def test_state_names_the_documents_and_the_extractive_model(serve: Serve) -> None:
    async with serve() as client:
        state = (await client.get("/api/state")).json()
    assert state["documents"] == {"count": 1, "unread": 0}
    assert state["extractive"]
    assert "ollama pull" in state["hint"]
    assert state["identity"]["name"] == "local"


async def test_an_unknown_path_is_answered_in_openais_shape(serve: Serve) -> None:
    async with serve() as client:
        answer = await client.get("/v1/nothing")
    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "not_found_error"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", ""])
async def test_a_foreign_host_is_refused(serve: Serve, host: str) -> None:
    async with serve() as client:
        answer = await client.get("/v1/models", headers={"host": host})
    assert answer.status_code == 421


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:9999"])
async def test_a_page_of_another_origin_is_refused(serve: Serve, origin: str) -> None:
    async with serve() as client:
        answer = await client.get("/v1/models", headers={"origin": origin})
    assert answer.status_code == 403


async def test_a_key_counts_until_it_is_revoked(serve: Serve, folder: Path) -> None:
    store = KeyStore(folder)
    key = store.add("alice", ["ask"])
    headers = {"authorization": f"Bearer {key}"}
    async with serve(needs_key=True) as client:
        assert (await client.get("/v1/models")).status_code == 401
        assert (await client.get("/v1/models", headers=headers)).status_code == 200
        store.revoke("alice")
        assert (await client.get("/v1/models", headers=headers)).status_code == 401
        assert (await client.get("/health")).status_code == 200


async def test_a_key_is_not_stored(folder: Path, tmp_path: Path) -> None:
    key = KeyStore(folder).add("alice")
    stored = (tmp_path / "config" / "agentkit" / "server_keys.json").read_text(encoding="utf-8")
    assert key not in stored
    assert "alice" in stored


async def test_the_reference_lists_the_routes_without_a_script(serve: Serve) -> None:
    async with serve() as client:
        page = (await client.get("/docs")).text
        description = (await client.get("/openapi.json")).json()
    assert "POST /v1/chat/completions" in page
    assert "<script" not in page
    assert "/v1/responses" in description["paths"]


async def test_an_unexpected_failure_reveals_nothing_and_is_protected(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def script(messages: object) -> str:
        raise RuntimeError("secret detail")

    body = {"messages": [{"role": "user", "content": "Hi"}]}
    async with serve(ScriptedModel(script)) as client:
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "secret detail" in caplog.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_metrics_count_answers_tools_and_time(serve: Serve) -> None:
    model = ScriptedModel(["A backup is kept for 90 days [1]."])
    body = {"messages": [{"role": "user", "content": "How long is a backup kept?"}]}
    async with serve(model) as client:
        await client.post("/v1/chat/completions", json=body)
        text = (await client.get("/metrics")).text
    for line in (
        'agentkit_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1.0',
        'agentkit_tool_calls_total{outcome="succeeded"} 1.0',
        "agentkit_time_to_first_token_seconds_count 1.0",
        "agentkit_retrieval_seconds_count 1.0",
        'agentkit_answers_total{stop_reason="stop"} 1.0',
    ):
        assert line in text
