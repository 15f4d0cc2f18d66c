"""Any sentence-transformers model as an embedder, on CPU or GPU. Needs the extra `st`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from agentkit.errors import ConfigError
from agentkit.knowledge.embedders.base import Vectors, prefixes_for

BATCH_CHARACTERS = 32_000
"""Characters in a batch, each text counted as long as its longest: what padding makes of it."""


class SentenceTransformersEmbedder:
    """A model by hub id or folder. Its own prompts named `query` and `passage` (or `document`)
    are used where it has them, else its family's. `dimension` keeps only the first numbers of
    each vector, for Matryoshka models."""

    def __init__(
        self, model: str, device: str | None = None, *, dimension: int | None = None
    ) -> None:
        self._path = model
        self._device = device
        self._wanted = dimension
        self._lock = threading.Lock()
        self._model: Any = None

    @property
    def name(self) -> str:
        return f"st:{self._path}@{self._wanted}" if self._wanted else f"st:{self._path}"

    @property
    def dimension(self) -> int:
        return self._wanted or int(self._loaded().get_embedding_dimension())

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, texts, "passage")

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await asyncio.to_thread(self._embedded, texts, "query")

    def count_tokens(self, text: str) -> int:
        return len(self._loaded().tokenizer(text)["input_ids"])

    def _embedded(self, texts: Sequence[str], role: str) -> Vectors:
        found = np.empty((len(texts), self.dimension), np.float32)
        for batch in batches_by_length(texts):
            found[batch] = self._encoded([texts[at] for at in batch], role)
        return found

    def _encoded(self, texts: list[str], role: str) -> Any:
        with self._lock:
            return self._loaded().encode(
                texts,
                prompt=self._prompt(role),
                batch_size=len(texts),
                normalize_embeddings=True,
                show_progress_bar=False,
            )

    def _prompt(self, role: str) -> str:
        own = self._loaded().prompts or {}
        names = ("query",) if role == "query" else ("passage", "document")
        found = next((own[name] for name in names if own.get(name)), None)
        if found is not None:
            return str(found)
        family = prefixes_for(self._path)
        return family.query if role == "query" else family.passage

    def _loaded(self) -> Any:
        if self._model is None:
            self._model = self._load()
        return self._model

    def _load(self) -> Any:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise ConfigError(
                'st: embedders need sentence-transformers: pip install "agentkit-rag[st]"'
            ) from error
        try:
            model = SentenceTransformer(self._path, device=self._device, truncate_dim=self._wanted)
        except Exception as error:
            raise ConfigError(
                f"The embedder {self._path!r} cannot be loaded: {error}. "
                "Give a hub id that exists or the path of a folder."
            ) from error
        return self._checked(model)

    def _checked(self, model: Any) -> Any:
        model.truncate_dim = None
        whole = model.get_embedding_dimension()
        model.truncate_dim = self._wanted
        if self._wanted and self._wanted > whole:
            raise ConfigError(f"{self._path!r} has {whole} dimensions, fewer than {self._wanted}.")
        return model


def batches_by_length(texts: Sequence[str]) -> Iterator[list[int]]:
    """The indexes of texts in batches of similar length, which need little padding; the longest
    first, so that too little memory shows at once."""
    batch: list[int] = []
    longest = 1
    for at in sorted(range(len(texts)), key=lambda at: -len(texts[at])):
        if batch and longest * (len(batch) + 1) > BATCH_CHARACTERS:
            yield batch
            batch = []
        longest = longest if batch else max(1, len(texts[at]))
        batch.append(at)
    if batch:
        yield batch
