"""Embedding models on an Ollama server. A text too long for the model is refused, never cut."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentkit._sync import PerLoop
from agentkit.addresses import ollama_url
from agentkit.backends.ollama.server import OllamaError, new_client, translated_errors
from agentkit.errors import AgentkitError, ConfigError, KnowledgeError
from agentkit.knowledge.embedders.remote import RemoteEmbedder

if TYPE_CHECKING:
    import ollama


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
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._clients = PerLoop(self._client)

    async def close(self) -> None:
        client: Any = self._clients.pop()
        if client is not None:
            await client.close()

    async def _request(self, texts: Sequence[str]) -> list[list[float]]:
        try:
            with translated_errors():
                client = self._clients.get()
                response = await client.embed(self._model, texts, truncate=False)
        except OllamaError as error:
            raise self._error(error) from error
        return [list(vector) for vector in response.embeddings]

    def _client(self) -> ollama.AsyncClient:
        return new_client(self._url, self._connect_timeout, self._read_timeout)

    def _error(self, error: OllamaError) -> AgentkitError:
        if error.kind == "refused" and "context length" in error.text:
            return KnowledgeError(
                f"A text is longer than the window of {self.name} ({error.text}). Lower "
                "chunk_tokens under [knowledge] in agentkit.toml, or choose another embedder."
            )
        text = error.message(self._url, self._model, self.name, self._read_timeout)
        is_config = error.kind == "refused" and error.status in (401, 403, 404)
        return ConfigError(text) if is_config else KnowledgeError(text)
