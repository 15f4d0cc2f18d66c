"""What embedders on a server share: prefixes, batches, unit vectors. Tokens are only estimated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from agentkit.backends.base import estimated_tokens
from agentkit.errors import KnowledgeError
from agentkit.knowledge.embedders.base import Vectors
from agentkit.knowledge.embedders.prefixes import prefixes_for


class RemoteEmbedder(ABC):
    """Sends at most `batch` texts, of about `batch_tokens` tokens, at once. `dimension` keeps only
    the first numbers of each vector, for models trained so (Matryoshka). A server writes
    `_request`."""

    def __init__(
        self,
        provider: str,
        model: str,
        *,
        dimension: int | None = None,
        batch: int = 64,
        batch_tokens: int = 100_000,
    ) -> None:
        self._provider = provider
        self._model = model
        self._wanted = dimension
        self._known = dimension
        self._batch = batch
        self._batch_tokens = batch_tokens
        self._prefixes = prefixes_for(model)

    @property
    def name(self) -> str:
        name = f"{self._provider}:{self._model.removesuffix(':latest')}"
        return f"{name}@{self._wanted}" if self._wanted else name

    @property
    def dimension(self) -> int:
        """Known from the first answer on. Raises KnowledgeError before."""
        if self._known is None:
            raise KnowledgeError(f"The dimension of {self.name} is not known: embed a text first.")
        return self._known

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return await self._embedded([self._prefixes.passage + text for text in texts])

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await self._embedded([self._prefixes.query + text for text in texts])

    def count_tokens(self, text: str) -> int:
        return estimated_tokens(text)

    @abstractmethod
    async def close(self) -> None:
        """Let go of the running loop's connections; embedding again opens them anew."""

    @abstractmethod
    async def _request(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of any length for each text. Raises ConfigError and KnowledgeError."""

    async def _embedded(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self._known or 0), np.float32)
        found: list[list[float]] = []
        for batch in self._batches([_sendable(text) for text in texts]):
            found += await self._answered(batch)
        return self._unit(found)

    async def _answered(self, batch: Sequence[str]) -> list[list[float]]:
        answer = await self._request(batch)
        if len(answer) != len(batch):
            raise KnowledgeError(
                f"{self.name} gave {len(answer)} vectors for {len(batch)} texts: is it an "
                "embedding model? The server's log says more."
            )
        return answer

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        tokens = 0
        for text in texts:
            cost = estimated_tokens(text)
            if batch and (len(batch) == self._batch or tokens + cost > self._batch_tokens):
                yield batch
                batch, tokens = [], 0
            batch.append(text)
            tokens += cost
        yield batch

    def _unit(self, found: Sequence[Sequence[float]]) -> Vectors:
        sizes = {len(vector) for vector in found}
        if len(sizes) != 1 or min(sizes) < (self._wanted or 1):
            raise KnowledgeError(
                f"{self.name} gave vectors of {sorted(sizes)} numbers: choose another dimension, "
                "or none."
            )
        vectors = unit(np.asarray(found, np.float32)[:, : self._wanted])
        self._known = vectors.shape[1]
        return vectors


def unit(vectors: Vectors) -> Vectors:
    """The vectors with a length of one."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)


def _sendable(text: str) -> str:
    """A text as servers take it: not empty, and without halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode("utf-8") or " "
