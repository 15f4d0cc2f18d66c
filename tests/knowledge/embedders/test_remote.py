"""Embedders on servers: their requests, their prefixes, and the errors when they fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from starlette.responses import JSONResponse, Response

from agentkit.cli.commands.index import index
from agentkit.errors import AgentkitError, ConfigError, KnowledgeError
from agentkit.knowledge.embedders.base import prefixes_for
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.embedders.remote import OllamaEmbedder, OpenAIEmbedder, RemoteEmbedder
from agentkit.knowledge.embedders.sentence_transformers import batches_by_length
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.project.trust import trust
from agentkit.settings.schema import ProviderSettings
from tests.conftest import TermEmbedder
from tests.servers.ollama_server import OllamaServer
from tests.servers.openai_server import OpenAIServer, error, vector_of
from tests.servers.running import refused_url


@pytest.fixture
async def on_ollama(ollama_server: OllamaServer) -> AsyncIterator[OllamaEmbedder]:
    embedder = OllamaEmbedder("nomic-embed-text", base_url=ollama_server.url)
    yield embedder
    await embedder.close()


@pytest.fixture
async def on_openai(openai_server: OpenAIServer) -> AsyncIterator[OpenAIEmbedder]:
    embedder = OpenAIEmbedder(
        "some-model", base_url=openai_server.url, api_key="k-secret", max_retries=0
    )
    yield embedder
    await embedder.close()


async def test_the_vectors_are_of_length_one_in_the_order_of_the_texts(
    on_ollama: OllamaEmbedder, on_openai: OpenAIEmbedder
) -> None:
    for embedder in (on_ollama, on_openai):
        await check_vectors(embedder)


async def check_vectors(embedder: RemoteEmbedder) -> None:
    with pytest.raises(KnowledgeError, match="embed a text first"):
        _ = embedder.dimension
    together = await embedder.embed_queries(["Paris", "", "half \ud800 a pair"])
    assert together.shape == (3, embedder.dimension)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert (await embedder.embed_queries(["Paris"]))[0] == pytest.approx(together[0])
    assert (await embedder.embed_passages([])).shape == (0, embedder.dimension)
    assert embedder.count_tokens("机器学习") == 4


async def test_ollama_is_asked_not_to_cut(
    ollama_server: OllamaServer, on_ollama: OllamaEmbedder
) -> None:
    await on_ollama.embed_passages(["bread"])
    await on_ollama.embed_queries(["bread?"])
    passage, query = ollama_server.requests
    assert passage == {
        "model": "nomic-embed-text",
        "input": ["search_document: bread"],
        "truncate": False,
    }
    assert query["input"] == ["search_query: bread?"]


async def test_many_texts_go_in_batches(
    ollama_server: OllamaServer, on_ollama: OllamaEmbedder
) -> None:
    found = await on_ollama.embed_passages([str(number) for number in range(70)])
    assert found.shape == (70, 8)
    assert [len(body["input"]) for body in ollama_server.requests] == [32, 32, 6]


async def test_long_texts_go_in_smaller_batches(openai_server: OpenAIServer) -> None:
    embedder = OpenAIEmbedder("m", base_url=openai_server.url)
    await embedder.embed_passages(["word " * 30_000] * 3)
    assert [len(body["input"]) for body in openai_server.requests] == [2, 1]
    await embedder.close()


async def test_a_dimension_is_asked_for_and_stands_in_the_name(
    openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.url)
    embedder = get_embedder("openai:text-embedding-3-small@4")
    assert isinstance(embedder, OpenAIEmbedder)
    assert embedder.name == "openai:text-embedding-3-small@4"
    assert embedder.dimension == 4
    assert (await embedder.embed_passages(["a"])).shape == (1, 4)
    assert openai_server.requests[0]["dimensions"] == 4
    await embedder.close()


async def test_a_server_that_cannot_shorten_is_helped(openai_server: OpenAIServer) -> None:
    openai_server.vectors = lambda body: JSONResponse(
        {"data": [{"index": 0, "embedding": vector_of("x", 8)}], "model": "m", "object": "list"}
    )
    embedder = OpenAIEmbedder("m", base_url=openai_server.url, dimension=4)
    found = await embedder.embed_passages(["a"])
    assert np.linalg.norm(found[0]) == pytest.approx(1, abs=1e-5)
    assert found.shape == (1, 4)
    longer = OpenAIEmbedder("m", base_url=openai_server.url, dimension=16)
    with pytest.raises(KnowledgeError, match=r"vectors of \[8\] numbers"):
        await longer.embed_passages(["a"])
    await embedder.close()
    await longer.close()


@pytest.mark.parametrize(
    ("status", "expected", "kind", "step"),
    [
        (404, "model not found", ConfigError, "ollama pull nomic-embed-text"),
        (400, "input length exceeds maximum context length", KnowledgeError, "chunk_tokens"),
        (401, "unauthorized", ConfigError, "401"),
        (500, "llama runner has died", KnowledgeError, "log"),
    ],
)
async def test_what_ollama_refuses_is_reported_with_the_next_step(
    ollama_server: OllamaServer,
    on_ollama: OllamaEmbedder,
    status: int,
    expected: str,
    kind: type[AgentkitError],
    step: str,
) -> None:
    ollama_server.vectors = lambda body: JSONResponse({"error": expected}, status)
    with pytest.raises(kind, match=step):
        await on_ollama.embed_passages(["a"])


@pytest.mark.parametrize(
    ("status", "body", "kind", "step"),
    [
        (401, error("bad key"), ConfigError, "OPENAI_API_KEY"),
        (404, error("no such model"), ConfigError, "model's name and base_url"),
        (400, error("maximum context length is 512"), KnowledgeError, "chunk_tokens"),
        (503, error("busy"), KnowledgeError, "Try again"),
    ],
)
async def test_what_an_openai_server_refuses_is_reported_with_the_next_step(
    openai_server: OpenAIServer,
    on_openai: OpenAIEmbedder,
    status: int,
    body: str,
    kind: type[AgentkitError],
    step: str,
) -> None:
    openai_server.vectors = lambda asked: Response(body, status, media_type="application/json")
    with pytest.raises(kind, match=step) as caught:
        await on_openai.embed_passages(["a"])
    assert "k-secret" not in str(caught.value)
    assert openai_server.keys == ["Bearer k-secret"]


async def test_a_server_that_is_not_up_is_reported_how_to_start() -> None:
    with pytest.raises(KnowledgeError, match="ollama serve"):
        await OllamaEmbedder("m", base_url=refused_url()).embed_queries(["a"])
    embedder = OpenAIEmbedder("m", base_url=refused_url(), max_retries=0)
    with pytest.raises(KnowledgeError, match="Start the server"):
        await embedder.embed_queries(["a"])
    await embedder.close()


@pytest.mark.parametrize("answer", [{}, {"embeddings": [["a"]]}, {"embeddings": []}])
async def test_an_answer_without_vectors_is_refused(
    ollama_server: OllamaServer, on_ollama: OllamaEmbedder, answer: dict[str, object]
) -> None:
    ollama_server.vectors = lambda body: JSONResponse(answer)
    with pytest.raises(
        KnowledgeError, match=r"does not answer like an Ollama server|0 vectors for 1 texts"
    ):
        await on_ollama.embed_passages(["a"])


@pytest.mark.parametrize(
    ("model", "query", "passage"),
    [
        ("intfloat/multilingual-e5-small", "query: ", "passage: "),
        ("jeffh/intfloat-e5-base-v2:f16", "query: ", "passage: "),
        ("multilingual-e5-large-instruct", "Instruct: Given", ""),
        ("BAAI/bge-small-en-v1.5", "Represent this sentence", ""),
        ("BAAI/bge-large-zh-v1.5", "为这个句子", ""),
        ("bge-m3:latest", "", ""),
        ("text-embedding-nomic-embed-text-v1.5", "search_query: ", "search_document: "),
        ("qwen3-embedding:0.6b", "Instruct: Given", ""),
        ("text-embedding-3-small", "", ""),
        ("all-minilm", "", ""),
    ],
)
def test_each_family_gets_its_prefixes(model: str, query: str, passage: str) -> None:
    found = prefixes_for(model)
    assert found.query.startswith(query)
    assert bool(found.query) == bool(query)
    assert found.passage == passage


def test_an_embedder_is_had_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert get_embedder("ollama:nomic-embed-text:latest").name == "ollama:nomic-embed-text"
    assert get_embedder("lmstudio:bge-m3").name == "lmstudio:bge-m3"
    assert get_embedder("st:some/model@256").name == "st:some/model@256"
    box = {"box": ProviderSettings(base_url="http://127.0.0.1:9/v1")}
    assert get_embedder("box:m@2", box).name == "box:m@2"
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        get_embedder("openai:text-embedding-3-small")
    for name in ("ollama:", "nowhere:m", "hf:some/model"):
        with pytest.raises(ConfigError, match="is not an embedder"):
            get_embedder(name)


def test_texts_of_alike_length_go_together() -> None:
    texts = ["a" * 20_000, "b", "c" * 20_000, "d" * 3]
    batches = list(batches_by_length(texts))
    assert sorted(at for batch in batches for at in batch) == [0, 1, 2, 3]
    assert [0] in batches
    assert list(batches_by_length([])) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "knowledge").mkdir()
    (tmp_path / "knowledge" / "bread.md").write_text("# Bread\n\nBread is made of flour.\n")
    return tmp_path


async def test_another_embedders_index_is_refused_until_it_is_rebuilt(
    folder: Path, ollama_server: OllamaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", ollama_server.url)
    made = KnowledgeBase.open(folder / ".agentkit" / "index", TermEmbedder())
    await made.add_path(folder / "knowledge")
    made.close()
    (folder / "agentkit.toml").write_text('[knowledge]\nembedder = "ollama:nomic-embed-text"\n')
    trust(folder)
    with pytest.raises(KnowledgeError, match=r"test:terms, not ollama.*`agentkit index --rebuild`"):
        await index(folder=folder)
    await index(folder=folder, rebuild=True)
    await index(folder=folder)
    assert ollama_server.requests[0]["input"][0].startswith("search_document: Bread")
