"""The automatic model choice: order of preference, and servers never used."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.auto import AutoModel, ollama_models, openai_models
from agentkit.errors import ModelError
from agentkit.events import Done, TextDelta
from agentkit.messages import Message
from tests.backends.conftest import collected
from tests.servers.ollama_server import OllamaServer
from tests.servers.openai_server import OpenAIServer, Reply
from tests.servers.running import refused_url

HI = [Message("user", "hi")]


def auto(ollama: str = "", servers: Mapping[str, str] | None = None) -> AutoModel:
    """One that looks at these addresses alone."""
    return AutoModel(ExtractiveModel, ollama=ollama or refused_url(), servers=servers or {})


async def test_ollama_comes_first(ollama_server: OllamaServer, openai_server: OpenAIServer) -> None:
    model = auto(ollama_server.url, {"lmstudio": openai_server.url})
    assert model.name == "auto"
    parts = await collected(model.stream(HI))
    assert parts[-1] == Done("stop", "ollama:small")
    assert model.name == "ollama:small"
    assert model.reason == f"the most recently changed on {ollama_server.url}"
    assert [place.name for place in model.searched] == ["ollama", "lmstudio"]
    assert not model.found_no_model
    await model.close()


async def test_a_server_on_this_machine_comes_second(openai_server: OpenAIServer) -> None:
    model = auto(servers={"lmstudio": f"{refused_url()}/v1", "vllm": openai_server.url})
    chosen = await model.choose()
    assert chosen.name == "vllm:small"
    assert model.reason == f"the first on {openai_server.url}"
    await model.close()


async def test_the_extractive_model_comes_last() -> None:
    model = auto(servers={"vllm": f"{refused_url()}/v1"})
    assert (await model.choose()).name == "extractive"
    assert model.found_no_model
    assert model.reason == "no model was found"
    assert [(place.name, place.models) for place in model.searched] == [
        ("ollama", None),
        ("vllm", None),
    ]


async def test_without_an_extractive_model_the_error_tells_how_to_start_a_server() -> None:
    model = AutoModel(ollama=refused_url(), servers={})
    with pytest.raises(ModelError, match="ollama serve"):
        await collected(model.stream(HI))
    assert model.found_no_model


async def test_an_ollama_server_without_chat_models_is_skipped(ollama_server: OllamaServer) -> None:
    ollama_server.models = [
        {"name": "nomic-embed-text"},
        {"name": "minilm", "details": {"family": "bert"}},
    ]
    model = auto(ollama_server.url)
    assert (await model.choose()).name == "extractive"
    assert model.searched[0].models == ()


async def test_an_ollama_cloud_model_is_not_listed(
    ollama_server: OllamaServer,
) -> None:
    ollama_server.models = [
        {"name": "gpt-oss:120b-cloud"},
        {"name": "large", "remote_host": "https://ollama.com"},
        {"name": "small"},
    ]
    assert await ollama_models(ollama_server.url) == ["small"]


async def test_a_server_on_another_machine_is_never_queried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    monkeypatch.setenv("OLLAMA_HOST", "ollama.example.com")
    model = AutoModel(ExtractiveModel, servers={"box": "http://example.com/v1"})
    assert (await model.choose()).name == "extractive"
    assert [place.is_remote for place in model.searched] == [True, True]


async def test_agentkits_own_server_is_not_chosen(openai_server: OpenAIServer) -> None:
    openai_server.models = [{"id": "small", "owned_by": "agentkit"}]
    assert await openai_models(openai_server.url) is None


async def test_embedding_models_are_not_chat_models(openai_server: OpenAIServer) -> None:
    openai_server.models = [{"id": "text-embedding-nomic"}, {"id": "small"}]
    assert await openai_models(openai_server.url) == ["small"]


async def test_a_proxy_in_the_environment_is_not_used(
    ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", refused_url())
    model = auto(ollama_server.url)
    assert (await collected(model.stream(HI)))[0] == TextDelta("Hel")
    await model.close()


async def test_concurrent_first_requests_choose_once(ollama_server: OllamaServer) -> None:
    model = auto(ollama_server.url)
    one, two = await asyncio.gather(model.choose(), model.choose())
    assert one is two


async def test_window_and_capabilities_are_those_of_the_chosen_model(
    ollama_server: OllamaServer,
) -> None:
    model = auto(ollama_server.url)
    assert model.count_tokens("abcdef") == 2
    assert await model.context_window() == 32768
    assert (await model.capabilities()).tools
    assert model.count_tokens("abcdef") == 2
    await model.close()


async def test_closing_the_stream_closes_the_request(openai_server: OpenAIServer) -> None:
    openai_server.replies(Reply(finish=None, usage=None, stalls=True))
    model = auto(servers={"vllm": openai_server.url})
    parts = model.stream(HI)
    await anext(parts)
    await parts.aclose()
    assert await asyncio.to_thread(openai_server.left.wait, 10)
    await model.close()
