"""Embedders on a server: OpenAI-compatible (OpenAI, LM Studio, vLLM and others) and Ollama.

They share prefixes, batches and unit vectors. Token counts are estimates. A text that is too long
for the model raises an error; it is never truncated.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

import numpy as np

from agentkit._sync import PerLoop
from agentkit.addresses import ollama_url
from agentkit.backends.base import estimated_tokens
from agentkit.backends.ollama.server import (
    OllamaError,
    new_client,
    request_object,
    translated_errors,
)
from agentkit.backends.openai.errors import (
    Endpoint,
    is_missing_model,
    missing_model_error,
    to_model_error,
)
from agentkit.errors import AgentkitError, ConfigError, KnowledgeError
from agentkit.knowledge.embedders.base import Vectors, prefixes_for, unit


class RemoteEmbedder(ABC):
    """Sends at most `batch` texts, of about `batch_tokens` tokens, at once. `dimension` keeps only
    the first numbers of each vector, for Matryoshka models. Subclasses implement `_request`."""

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
        """Known after the first answer. Raises KnowledgeError before."""
        if self._known is None:
            raise KnowledgeError(f"The dimension of {self.name} is not known: embed a text first.")
        return self._known

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return await self._embed([self._prefixes.passage + text for text in texts])

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await self._embed([self._prefixes.query + text for text in texts])

    def count_tokens(self, text: str) -> int:
        return estimated_tokens(text)

    @abstractmethod
    async def close(self) -> None:
        """Close the running loop's connections; the next call opens new ones."""

    @abstractmethod
    async def _request(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of any length for each text. Raises ConfigError and KnowledgeError."""

    async def _embed(self, texts: Sequence[str]) -> Vectors:
        if not texts:
            return np.empty((0, self._known or 0), np.float32)
        found: list[list[float]] = []
        # Servers accept neither halves of surrogate pairs nor empty texts.
        sendable = [text.encode("utf-8", "replace").decode("utf-8") or " " for text in texts]
        for batch in self._batches(sendable):
            answer = await self._request(batch)
            if len(answer) != len(batch):
                raise KnowledgeError(
                    f"{self.name} returned {len(answer)} vectors for {len(batch)} texts: is it an "
                    "embedding model? The server's log says more."
                )
            found += answer
        return self._normalize(found)

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

    def _normalize(self, found: Sequence[Sequence[float]]) -> Vectors:
        sizes = {len(vector) for vector in found}
        if len(sizes) != 1 or min(sizes) < (self._wanted or 1):
            raise KnowledgeError(
                f"{self.name} returned vectors of {sorted(sizes)} numbers: choose another "
                "dimension, or none."
            )
        vectors = unit(np.asarray(found, np.float32)[:, : self._wanted])
        self._known = vectors.shape[1]
        return vectors


_BATCHES = {"openai": 256, "dashscope": 10}
"""How many texts a provider takes at once; 64 where nothing is known."""


class OpenAIEmbedder(RemoteEmbedder):
    """A model behind an OpenAI-compatible server. `dimension` asks for shorter vectors, which the
    text-embedding-3 models give. `api_key_env` is only named in errors; timeouts in seconds."""

    def __init__(
        self,
        model: str,
        *,
        provider: str = "openai",
        base_url: str | None = None,
        api_key: str | None = None,
        api_key_env: str | None = None,
        dimension: int | None = None,
        batch: int | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 120.0,
        max_retries: int = 4,
    ) -> None:
        super().__init__(
            provider, model, dimension=dimension, batch=batch or _BATCHES.get(provider, 64)
        )
        self._at = Endpoint.of(provider, model, base_url, api_key, api_key_env)
        self._clients = PerLoop(lambda: self._at.client(connect_timeout, read_timeout, max_retries))

    async def close(self) -> None:
        if client := self._clients.pop():
            await client.close()

    async def _request(self, texts: Sequence[str]) -> list[list[float]]:
        import httpx2
        import openai

        try:
            answer = await self._clients.get().embeddings.create(
                model=self._model,
                input=list(texts),
                encoding_format="float",
                dimensions=self._wanted if self._wanted else openai.omit,
            )
        except (openai.OpenAIError, httpx2.HTTPError, ValueError) as error:
            raise self._explained(error) from error
        data = sorted(getattr(answer, "data", None) or [], key=lambda one: one.index)
        return [one.embedding for one in data]

    def _explained(self, error: Exception) -> AgentkitError:
        """Convert a server's fault to an error; what the user must fix becomes a ConfigError."""
        fault = missing_model_error(self._at, []) if is_missing_model(error) else None
        fault = fault or to_model_error(error, self._at)
        if fault.kind == "too_long":
            return KnowledgeError(
                f"A text is longer than {self.name} reads. Lower chunk_tokens under [knowledge] "
                f"in agentkit.toml, or choose another embedder. ({fault})"
            )
        is_fixable = fault.kind in ("refused_key", "bad_request")
        return (ConfigError if is_fixable else KnowledgeError)(str(fault))


class OllamaEmbedder(RemoteEmbedder):
    """A model on an Ollama server: by default OLLAMA_HOST's, else this machine's. Timeouts in
    seconds; the long one is for loading the model."""

    def __init__(
        self,
        model: str,
        *,
        provider: str = "ollama",
        base_url: str | None = None,
        dimension: int | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 120.0,
    ) -> None:
        super().__init__(provider, model, dimension=dimension, batch=32)
        self._url = ollama_url(base_url or os.environ.get("OLLAMA_HOST", ""))
        self._read_timeout = read_timeout
        self._clients = PerLoop(lambda: new_client(self._url, connect_timeout, read_timeout))

    async def close(self) -> None:
        if client := self._clients.pop():
            await client.aclose()

    async def _request(self, texts: Sequence[str]) -> list[list[float]]:
        try:
            body = {"model": self._model, "input": list(texts), "truncate": False}
            answer = await request_object(self._clients.get(), "/api/embed", body)
            with translated_errors():
                return [list(map(float, vector)) for vector in answer["embeddings"]]
        except OllamaError as error:
            raise self._error(error) from error

    def _error(self, error: OllamaError) -> AgentkitError:
        if error.kind == "refused" and "context length" in error.text:
            return KnowledgeError(
                f"A text is longer than the window of {self.name} ({error.text}). Lower "
                "chunk_tokens under [knowledge] in agentkit.toml, or choose another embedder."
            )
        text = error.message(self._url, self._model, self.name, self._read_timeout)
        is_config = error.kind == "refused" and error.status in (401, 403, 404)
        return ConfigError(text) if is_config else KnowledgeError(text)
