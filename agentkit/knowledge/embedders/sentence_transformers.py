"""Any sentence-transformers model as an embedder, on CPU or GPU. Needs the extra `st`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from agentkit.errors import ConfigError
from agentkit.knowledge.embedders.base import Vectors

_E5_PREFIXES = {"query": "query: ", "passage": "passage: "}


class SentenceTransformersEmbedder:
    """A model by hub id or folder. Its own prompts named `query` and `passage` (or `document`)
    are used where it has them; the e5 family gets its prefixes."""

    def __init__(self, model: str, device: str | None = None) -> None:
        self._path = model
        self._device = device
        self._lock = threading.Lock()
        self._model: Any = None

    @property
    def name(self) -> str:
        return f"st:{self._path}"

    @property
    def dimension(self) -> int:
        return int(self._loaded().get_embedding_dimension())

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, texts, "passage")

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, texts, "query")

    def count_tokens(self, text: str) -> int:
        return len(self._loaded().tokenizer(text)["input_ids"])

    def _embedded(self, texts: Sequence[str], role: str) -> Vectors:
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        with self._lock:
            found = self._loaded().encode(
                list(texts),
                prompt=self._prompt(role),
                normalize_embeddings=True,
                show_progress_bar=False,
            )
        return np.asarray(found, np.float32)

    def _prompt(self, role: str) -> str:
        own = self._loaded().prompts or {}
        names = ("query",) if role == "query" else ("passage", "document")
        found = next((own[name] for name in names if own.get(name)), None)
        if found is not None:
            return str(found)
        return _E5_PREFIXES[role] if "e5" in self._path.lower().split("/")[-1] else ""

    def _loaded(self) -> Any:
        if self._model is None:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError as error:
                raise ConfigError(
                    'st: embedders need sentence-transformers: pip install "agentkit-rag[st]"'
                ) from error
            try:
                self._model = SentenceTransformer(self._path, device=self._device)
            except Exception as error:
                raise ConfigError(
                    f"The embedder {self._path!r} cannot be loaded: {error}. "
                    "Give a hub id that exists or the path of a folder."
                ) from error
        return self._model
