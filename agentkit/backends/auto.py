"""Take the model that is there: Ollama, else a server on this machine, else the reader that
quotes. Never a remote service: a key in the environment is not consent."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

from agentkit.backends.addresses import is_loopback, ollama_url, shown
from agentkit.backends.base import Capabilities, Model, Options
from agentkit.backends.local_servers import ollama_models, openai_models
from agentkit.events import ModelPart
from agentkit.messages import Message
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from agentkit.text import Similarity

LOCAL_SERVERS = {
    "lmstudio": "http://127.0.0.1:1234/v1",
    "llamacpp": "http://127.0.0.1:8080/v1",
    "vllm": "http://127.0.0.1:8000/v1",
}
"""Where the OpenAI-compatible servers of a desktop listen, in the order they are taken."""

_ADVICE = "For answers in its own words: install Ollama and run `ollama pull qwen3:4b`."


class AutoModel(Model):
    """Chooses once, at first use; `reason` then says what was chosen, why, and what was looked
    for."""

    def __init__(
        self,
        similarity: Similarity | None = None,
        *,
        ollama: str | None = None,
        servers: Mapping[str, str] = LOCAL_SERVERS,
    ) -> None:
        self._similarity = similarity
        self._ollama = ollama_url(ollama or os.environ.get("OLLAMA_HOST", ""))
        self._servers = dict(servers)
        self._chosen: Model | None = None
        self.reason = "Nothing is chosen yet."

    @property
    def name(self) -> str:
        return self._chosen.name if self._chosen else "auto"

    async def choose(self) -> Model:
        """The model that all requests go to."""
        if self._chosen is None:
            chosen, reason = await self._found()
            if self._chosen is None:
                self._chosen, self.reason = chosen, reason
        return self._chosen

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        answer = (await self.choose()).stream(messages, tools, options)
        async with aclosing(answer) as parts:
            async for part in parts:
                yield part

    async def context_window(self) -> int | None:
        return await (await self.choose()).context_window()

    def count_tokens(self, text: str) -> int:
        return self._chosen.count_tokens(text) if self._chosen else super().count_tokens(text)

    async def capabilities(self) -> Capabilities:
        return await (await self.choose()).capabilities()

    async def close(self) -> None:
        if self._chosen:
            await self._chosen.close()

    async def _found(self) -> tuple[Model, str]:
        ollama, *others = await asyncio.gather(
            ollama_models(self._ollama), *map(openai_models, self._servers.values())
        )
        looked = self._looked(ollama, others)
        if ollama:
            return self._at_ollama(ollama[0]), f"{ollama[0]!r} on Ollama. {looked}"
        for (provider, url), models in zip(self._servers.items(), others, strict=True):
            if models:
                chosen = self._at_server(provider, url, models[0])
                return chosen, f"{models[0]!r} on the server at {shown(url)}. {looked}"
        from agentkit.backends.extractive import ExtractiveModel

        return ExtractiveModel(self._similarity), f"The reader that quotes. {looked} {_ADVICE}"

    def _at_ollama(self, model: str) -> Model:
        from agentkit.backends.ollama import OllamaModel

        return OllamaModel(model, base_url=self._ollama)

    def _at_server(self, provider: str, url: str, model: str) -> Model:
        from agentkit.backends.openai import OpenAIModel

        return OpenAIModel(model, provider=provider, base_url=url)

    def _looked(self, ollama: list[str] | None, others: Sequence[list[str] | None]) -> str:
        if not is_loopback(self._ollama):
            at_ollama = "Ollama (OLLAMA_HOST is another machine: name its model to use it)"
        else:
            at_ollama = f"Ollama at {self._ollama} ({_models(ollama)})"
        found = zip(self._servers.items(), others, strict=True)
        at_others = [f"{name} at {shown(url)} ({_models(models)})" for (name, url), models in found]
        return f"Looked for: {', '.join([at_ollama, *at_others])}."


def _models(found: list[str] | None) -> str:
    if found is None:
        return "no answer"
    return f"{len(found)} chat models" if found else "no chat model"
