"""Embedding models on an Ollama server. A text too long for the model is refused, never cut."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agentkit._sync import PerLoop
from agentkit.addresses import is_loopback, ollama_url, shown
from agentkit.backends.ollama_wire import error_text, json_object
from agentkit.errors import AgentkitError, ConfigError, KnowledgeError
from agentkit.knowledge.embedders.remote import RemoteEmbedder

if TYPE_CHECKING:
    import httpx2


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
        if client := self._clients.pop():
            await client.aclose()

    async def _request(self, texts: Sequence[str]) -> list[list[float]]:
        import httpx2

        body = {"model": self._model, "input": list(texts), "truncate": False}
        try:
            response = await self._clients.get().post("/api/embed", json=body)
        except httpx2.HTTPError as error:
            raise self._unreached(error) from error
        if response.status_code != 200:
            raise self._refused(response.status_code, error_text(response.text))
        return self._read(response.content)

    def _read(self, content: bytes) -> list[list[float]]:
        try:
            vectors: Any = json_object(content)["embeddings"]
            return [[float(number) for number in vector] for vector in vectors]
        except (ValueError, KeyError, TypeError) as error:
            raise KnowledgeError(
                f"{shown(self._url)} sent what no Ollama server sends ({error!r}). Check base_url."
            ) from error

    def _client(self) -> httpx2.AsyncClient:
        import httpx2

        return httpx2.AsyncClient(
            base_url=self._url,
            timeout=httpx2.Timeout(self._read_timeout, connect=self._connect_timeout),
            trust_env=not is_loopback(self._url),
        )

    def _refused(self, status: int, said: str) -> AgentkitError:
        place = shown(self._url)
        if status == 404:
            return ConfigError(
                f"{self._model!r} is not on the Ollama server at {place}. "
                f"Run: ollama pull {self._model}"
            )
        if status in (401, 403):
            return ConfigError(f"{place} refuses {self.name} ({status}): it wants a key.")
        if "context length" in said:
            return KnowledgeError(
                f"A text is longer than {self.name} reads ({said}). Lower chunk_tokens under "
                "[knowledge] in agentkit.toml, or choose another embedder."
            )
        return KnowledgeError(f"{self.name} failed ({said[:300]}). The server's log says more.")

    def _unreached(self, error: httpx2.HTTPError) -> KnowledgeError:
        import httpx2

        place = shown(self._url)
        if isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout)):
            return KnowledgeError(f"No Ollama server answers at {place}. Start it: ollama serve")
        if isinstance(error, httpx2.TimeoutException):
            return KnowledgeError(
                f"{place} was silent for {self._read_timeout:g} s while embedding with "
                f"{self.name}. Try again, or raise read_timeout."
            )
        return KnowledgeError(f"The connection of {self.name} to {place} broke off. Try again.")
