"""`agentkit models` and `agentkit probe`: list, pull and check models."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from agentkit.backends.ollama.server import pull_model
from agentkit.errors import ModelError
from tests.cli.process import run_agentkit
from tests.servers.openai_server import OpenAIServer
from tests.servers.running import serving

pytestmark = pytest.mark.slow

LINES: list[dict[str, Any]] = [
    {"status": "pulling manifest"},
    {"status": "pulling 6a0746a1ec1a", "total": 200, "completed": 50},
    {"status": "pulling 6a0746a1ec1a", "total": 200, "completed": 200},
    {"status": "success"},
]


async def _tags(request: Request) -> JSONResponse:
    return JSONResponse({"models": [{"name": "qwen3:8b", "model": "qwen3:8b"}]})


async def _pull(request: Request) -> StreamingResponse:
    name = (await request.json())["model"]
    broken: list[dict[str, Any]] = [{"error": "pull model manifest: file does not exist"}]
    answers: dict[str, list[dict[str, Any]]] = {"broken": LINES[:2], "nothing": broken}
    lines = answers.get(name, LINES)
    body = "".join(json.dumps(line) + "\n" for line in lines)
    return StreamingResponse(iter([body]), media_type="application/x-ndjson")


@pytest.fixture(scope="module")
def ollama() -> Iterator[str]:
    routes = [Route("/api/tags", _tags), Route("/api/pull", _pull, methods=["POST"])]
    with serving(Starlette(routes=routes)) as url:
        yield url


def test_the_list_names_the_models_of_a_running_ollama_and_what_is_missing(ollama: str) -> None:
    offers = json.loads(
        run_agentkit("models", "list", "--json", env={"OLLAMA_HOST": ollama}).stdout
    )
    by_source = {offer["source"]: offer for offer in offers}
    assert by_source["ollama"]["models"] == ["ollama:qwen3:8b"]
    assert by_source["lmstudio"]["missing"]
    assert by_source["extractive"]["models"] == ["extractive"]


async def test_a_pull_tells_how_far_it_is(ollama: str) -> None:
    reported = [progress async for progress in pull_model("qwen3:8b", ollama)]
    assert [(p.total, p.completed) for p in reported] == [(0, 0), (200, 50), (200, 200), (0, 0)]


@pytest.mark.parametrize(
    ("name", "expected"), [("broken", "interrupted.*Try again"), ("nothing", "does not exist")]
)
async def test_a_pull_that_fails_says_why(ollama: str, name: str, expected: str) -> None:
    with pytest.raises(ModelError, match=expected):
        _ = [progress async for progress in pull_model(name, ollama)]


def test_pulling_prints_that_the_model_is_ready(ollama: str) -> None:
    done = run_agentkit("models", "pull", "qwen3:8b", env={"OLLAMA_HOST": ollama})
    assert (done.returncode, "qwen3:8b" in done.stdout) == (0, True), done.stderr


def test_pulling_without_a_server_says_how_to_start_one() -> None:
    done = run_agentkit("models", "pull", "qwen3:8b", env={"OLLAMA_HOST": "http://127.0.0.1:9"})
    assert done.returncode == 4
    assert "ollama serve" in done.stderr


def test_a_probe_prints_what_a_model_and_its_server_can_do(tmp_path: Path) -> None:
    with serving(OpenAIServer().app) as url:
        done = run_agentkit(
            "probe", "openai:small", "--base-url", f"{url}/v1", "--json",
            env={"XDG_CACHE_HOME": str(tmp_path)},
        )  # fmt: skip
    found = json.loads(done.stdout)
    assert "passed" in json.dumps(found)
    assert list(tmp_path.rglob("*.json"))
