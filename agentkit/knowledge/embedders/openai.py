"""Embedding models behind an OpenAI-compatible server: OpenAI, LM Studio, vLLM, and others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from agentkit.backends.addresses import checked, is_loopback
from agentkit.backends.openai import NO_KEY, OPENAI_URL
from agentkit.backends.openai_faults import Endpoint, explained, is_missing_model, missing_model
from agentkit.backends.per_loop import PerLoop
from agentkit.errors import AgentkitError, ConfigError, KnowledgeError
from agentkit.knowledge.embedders.remote import RemoteEmbedder

if TYPE_CHECKING:
    import openai

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
        self._at = Endpoint(
            name=f"{provider}:{model}",
            model=model,
            url=checked(base_url or OPENAI_URL),
            key_env=api_key_env or ("OPENAI_API_KEY" if provider == "openai" else ""),
            key=api_key or "",
        )
        self._timeouts = (connect_timeout, read_timeout)
        self._max_retries = max_retries
        self._clients = PerLoop(self._client)

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
        """In the words of the models behind such servers; what the user must mend, as settings."""
        fault = missing_model(self._at, []) if is_missing_model(error) else None
        fault = fault or explained(error, self._at)
        if fault.kind == "too_long":
            return KnowledgeError(
                f"A text is longer than {self.name} reads. Lower chunk_tokens under [knowledge] "
                f"in agentkit.toml, or choose another embedder. ({fault})"
            )
        mendable = fault.kind in ("refused_key", "bad_request")
        return (ConfigError if mendable else KnowledgeError)(str(fault))

    def _client(self) -> openai.AsyncOpenAI:
        import openai

        connect, read = self._timeouts
        timeout = openai.Timeout(read, connect=connect)
        local = is_loopback(self._at.url)
        return openai.AsyncOpenAI(
            api_key=self._at.key or NO_KEY,
            base_url=self._at.url,
            max_retries=self._max_retries,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not local, timeout=timeout),
        )
