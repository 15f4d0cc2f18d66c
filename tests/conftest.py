"""What the tests share: a quick embedder of our own, and a way to shed root's powers."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from agentkit.knowledge.index.chroma_process import CHROMA_THREAD
from agentkit.messages import Content, ToolResult
from agentkit.settings.sources import PREFIX, is_reserved
from agentkit.text.terms import terms
from tests.perturbed.embedder_noise import with_noise
from tests.servers.ollama_server import OllamaServer
from tests.servers.openai_server import OpenAIServer
from tests.servers.running import serving

NOBODY = 65534

settings.register_profile("shared", deadline=None)  # These machines are noisy.
settings.load_profile("shared")

os.environ["AGENTKIT_LANG"] = "en"  # Tests read English, wherever they run.


class TermEmbedder:
    """A small real embedder: each term of a text points in a direction that its hash fixes.

    `before_passages` sees each batch first, and may fail.
    """

    name = "test:terms"
    dimension = 64

    def __init__(self) -> None:
        self.embedded: list[str] = []
        self.before_passages: Callable[[Sequence[str]], Awaitable[None]] | None = None

    async def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        if self.before_passages is not None:
            await self.before_passages(texts)
        self.embedded += texts
        return self._vectors(texts)

    async def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self._vectors(texts)

    def count_tokens(self, text: str) -> int:
        return len(text)

    def _vectors(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.stack([self._vector(text) for text in texts]).astype(np.float32)
        return with_noise(texts, vectors)

    def _vector(self, text: str) -> np.ndarray:
        directions = [_direction(term) for term in terms(text) or ["nothing"]]
        total = np.sum(directions, axis=0)
        unit: np.ndarray = total / max(float(np.linalg.norm(total)), 1e-6)
        return unit


def _direction(term: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(term.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(64)


def text_of(result: ToolResult | Content) -> str:
    """The text of a tool's result that holds no images."""
    content = result.content if isinstance(result, ToolResult) else result
    assert isinstance(content, str)
    return content


@pytest.fixture
def embedder() -> TermEmbedder:
    return TermEmbedder()


_STARTS = {"subprocess.Popen", "os.posix_spawn", "os.fork", "os.forkpty"}
_is_fast = False


def _refuse_processes(event: str, arguments: tuple[Any, ...]) -> None:
    if threading.current_thread().name == CHROMA_THREAD:
        return  # One warm child serves all tests.
    if _is_fast and event in _STARTS and "uname" not in str(arguments[:2]):
        raise AssertionError("This test starts a process: mark it with @pytest.mark.slow.")


sys.addaudithook(_refuse_processes)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Refuse to start processes in the tests that are not marked slow."""
    global _is_fast
    _is_fast = item.get_closest_marker("slow") is None
    try:
        return (yield)
    finally:
        _is_fast = False


@pytest.fixture(autouse=True)
def _own_user_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes what belongs to the user who runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    ours = [n for n in os.environ if n.startswith(PREFIX) and not is_reserved(n)]
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OLLAMA_HOST", *ours):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that an unprivileged user can reach and owns. What is imported late is imported
    now, for that user may not read the interpreter's own folder."""
    import chromadb  # noqa: F401

    folder = Path(tempfile.mkdtemp(prefix="agentkit-test-"))
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    yield folder
    folder.chmod(0o700)
    shutil.rmtree(folder)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Act as a user whom permissions bind, for root may read and write all."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture(scope="session")
def running_openai() -> Iterator[OpenAIServer]:
    server = OpenAIServer()
    with serving(server.app) as url:
        server.url = f"{url}/v1"
        yield server


@pytest.fixture
def openai_server(running_openai: OpenAIServer) -> OpenAIServer:
    """The server with nothing asked of it yet."""
    running_openai.reset()
    return running_openai


@pytest.fixture(scope="session")
def running_ollama() -> Iterator[OllamaServer]:
    server = OllamaServer()
    with serving(server.app) as url:
        server.url = url
        yield server


@pytest.fixture
def ollama_server(running_ollama: OllamaServer) -> OllamaServer:
    """The server with nothing asked of it yet."""
    running_ollama.reset()
    return running_ollama
