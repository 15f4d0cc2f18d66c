"""The Ollama backend, embedder and checks against a real server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Literal

import httpx2
import numpy as np
import pytest
from pydantic import BaseModel

from agentkit import Agent
from agentkit.addresses import ollama_url
from agentkit.backends.base import Options
from agentkit.backends.checks import check_model, check_ollama
from agentkit.backends.ollama.model import OllamaModel
from agentkit.errors import ConfigError, KnowledgeError, ModelError
from agentkit.events import Done, TextDelta
from agentkit.knowledge.embedders.remote import OllamaEmbedder
from agentkit.messages import Message, ToolCall, Usage
from agentkit.settings.schema import ProviderSettings
from agentkit.tools.tool import tool
from tests.backends.conftest import REAL, RUNNER_MAY_HANG, collected, end_runner

HI = [Message("user", "hi")]
REAL_OPTIONS = Options(temperature=0.0, extra={"num_thread": 1})

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not REAL, reason="AGENTKIT_TEST_OLLAMA names no server"),
    RUNNER_MAY_HANG,
]


class Place(BaseModel):
    city: Literal["Paris", "Rome"]


@pytest.fixture(autouse=True)
def _a_new_runner() -> None:
    end_runner()


@pytest.fixture
async def real_model() -> AsyncIterator[OllamaModel]:
    model = OllamaModel("smollm2", base_url=REAL, read_timeout=60)
    yield model
    await model.close()


async def test_a_real_server_answers_in_pieces_and_counts(real_model: OllamaModel) -> None:
    parts = await collected(real_model.stream(HI, (), replace(REAL_OPTIONS, max_tokens=8)))
    assert any(isinstance(part, TextDelta) for part in parts)
    [usage] = [part for part in parts if isinstance(part, Usage)]
    assert usage.output_tokens == 8
    assert parts[-1] == Done("length", "ollama:smollm2")


async def test_a_real_server_follows_a_schema(real_model: OllamaModel) -> None:
    schema = {
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}},
        "required": ["colour"],
    }
    options = replace(REAL_OPTIONS, schema=schema, max_tokens=60)
    parts = await collected(real_model.stream(HI, (), options))
    written = "".join(part.text for part in parts if isinstance(part, TextDelta))
    assert "".join(written.split()) in ('{"colour":"red"}', '{"colour":"blue"}')


async def test_a_real_server_makes_a_forced_call(real_model: OllamaModel) -> None:
    @tool
    def lookup(city: Literal["Paris", "Rome"]) -> str:
        """Look a city up."""
        return city

    options = replace(REAL_OPTIONS, tool_choice="lookup", max_tokens=120)
    parts = await collected(real_model.stream(HI, [lookup], options))
    [made] = [part for part in parts if isinstance(part, ToolCall)]
    assert made.name == "lookup"
    assert made.arguments in ({"city": "Paris"}, {"city": "Rome"})
    assert parts[-1] == Done("tool_calls", "ollama:smollm2")


async def test_a_real_server_follows_the_references_of_a_forced_call(
    real_model: OllamaModel,
) -> None:
    @tool
    def lookup(place: Place) -> str:
        """Look a place up."""
        return place.city

    @tool
    def stop() -> str:
        """End the talk."""
        return ""

    options = replace(REAL_OPTIONS, tool_choice="required", max_tokens=160)
    parts = await collected(real_model.stream(HI, [lookup, stop], options))
    [made] = [part for part in parts if isinstance(part, ToolCall)]
    assert (made.name, made.arguments) in [
        ("stop", {}),
        *(("lookup", {"place": {"city": city}}) for city in ("Paris", "Rome")),
    ]


async def test_a_real_server_answers_after_a_cancelled_chat(real_model: OllamaModel) -> None:
    parts = real_model.stream(HI, (), replace(REAL_OPTIONS, max_tokens=30))
    await anext(parts)
    await parts.aclose()
    again = await collected(real_model.stream(HI, (), replace(REAL_OPTIONS, max_tokens=2)))
    assert isinstance(again[-1], Done)


async def test_a_real_server_tells_its_models_window(real_model: OllamaModel) -> None:
    assert await real_model.context_window() == 8192
    assert (await real_model.capabilities()).tools


async def test_a_real_server_says_that_a_model_is_missing() -> None:
    model = OllamaModel("no-such-model", base_url=REAL)
    with pytest.raises(ModelError, match="ollama pull no-such-model"):
        await collected(model.stream(HI))
    await model.close()


async def test_a_real_ollama_server_embeds_and_refuses() -> None:
    embedder = OllamaEmbedder("smollm2", base_url=REAL)
    found = await embedder.embed_passages(["Bread is made of flour.", "Paris"])
    assert found.shape == (2, embedder.dimension)
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(2), abs=1e-4)
    with pytest.raises(KnowledgeError, match="chunk_tokens"):
        await embedder.embed_passages(["word " * 9000])
    missing = OllamaEmbedder("none", base_url=REAL)
    with pytest.raises(ConfigError, match="ollama pull none"):
        await missing.embed_queries(["a"])
    await embedder.close()
    await missing.close()


async def test_a_real_old_ollama_server_has_a_known_vulnerability() -> None:
    found, flawed = await check_ollama(ollama_url(REAL))
    assert "smollm2:latest (8192 tokens)" in found.message
    assert "CVE-2026-7482" in flawed.message
    assert (await check_model("ollama:smollm2", {}, {"OLLAMA_HOST": REAL}))[0].level == "ok"


async def test_the_openai_routes_of_a_real_ollama_server_are_recognised() -> None:
    work = ProviderSettings(base_url=f"{ollama_url(REAL)}/v1")
    assert "is Ollama" in (await check_model("work:smollm2", {"work": work}, {}))[0].message


@pytest.fixture
async def without_tools() -> AsyncIterator[str]:
    """A model whose template has no place for tools."""
    name = "smollm2-without-tools"
    template = "{{ range .Messages }}{{ .Role }}: {{ .Content }}\n{{ end }}assistant:"
    modelfile = f'FROM smollm2\nTEMPLATE """{template}"""'
    async with httpx2.AsyncClient(base_url=ollama_url(REAL), timeout=60) as client:
        body = {"model": name, "modelfile": modelfile, "from": "smollm2", "template": template}
        (await client.post("/api/create", json={**body, "stream": False})).raise_for_status()
        yield name
        await client.request("DELETE", "/api/delete", json={"model": name})


async def test_tool_calls_structured_output_and_a_model_without_tools_in_one_run(
    real_model: OllamaModel, without_tools: str
) -> None:
    @tool
    def lookup(city: Literal["Paris", "Rome"]) -> str:
        """Look a city up."""
        return f"{city} is sunny."

    plain = OllamaModel(without_tools, base_url=f"{REAL}/v1", read_timeout=60)
    assert (await real_model.capabilities()).tools
    assert not (await plain.capabilities()).tools
    for model in (real_model, plain):
        forced = replace(REAL_OPTIONS, tool_choice="required", max_tokens=120)
        parts = await collected(model.stream(HI, [lookup], forced))
        [made] = [part for part in parts if isinstance(part, ToolCall)]
        assert made.arguments in ({"city": "Paris"}, {"city": "Rome"})
        # This build repeats itself, and its server ends a stream after thirty equal tokens.
        short = replace(REAL_OPTIONS, max_tokens=16)
        result = Message("tool", "Sunny.", tool_call_id=made.id)
        talk = [*HI, Message("assistant", "", (made,)), result]
        assert isinstance((await collected(model.stream(talk, [lookup], short)))[-1], Done)
        agent = Agent(model, options=replace(REAL_OPTIONS, max_tokens=60))
        found = (await agent.run("Where?", output=Place)).output
        assert found in (Place(city="Paris"), Place(city="Rome"))
        answer = await Agent(model, [lookup], options=short).run("Where is it sunny?")
        assert answer.text
    await plain.close()
