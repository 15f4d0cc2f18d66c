"""Choose a model that is available: Ollama's, else another local server's, else the extractive one.

Never a remote service: a key in the environment is not consent. Nothing leaves the machine: no
proxy is used, no redirect followed, and no other address is asked.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from agentkit.addresses import is_loopback, ollama_url, shown
from agentkit.backends.base import Capabilities, Model, Options
from agentkit.errors import ModelError
from agentkit.events import ModelPart
from agentkit.messages import Message
from agentkit.tools.tool import Tool

PROBE_SECONDS = 0.5
_LONGEST_ANSWER = 2_000_000


async def ollama_models(url: str) -> list[str] | None:
    """The chat models that an Ollama server holds itself, the last one changed first; None where
    no Ollama answers. Models that it would pass on to ollama.com are left out."""
    answer = await _answer(url, "/api/tags")
    if not isinstance(answer, Mapping) or not isinstance(answer.get("models"), list):
        return None
    return [model["name"] for model in answer["models"] if _is_local_chat(model)]


async def openai_models(url: str) -> list[str] | None:
    """The chat models that an OpenAI-compatible server lists; None where none answers. Our own
    server is left out: it would ask itself."""
    answer = await _answer(url, "/models")
    if not isinstance(answer, Mapping) or not isinstance(answer.get("data"), list):
        return None
    models = [model for model in answer["data"] if isinstance(model, Mapping)]
    if any(model.get("owned_by") == "agentkit" for model in models):
        return None
    names = [str(model.get("id") or "") for model in models]
    return [name for name in names if name and not _embeds(name)]


async def _answer(url: str, path: str) -> Any:
    if not is_loopback(url):
        return None
    return await asyncio.to_thread(_get, url, path)


def _get(url: str, path: str) -> Any:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        response = connection.getresponse()
        return json.loads(response.read(_LONGEST_ANSWER)) if response.status == 200 else None
    except (OSError, HTTPException, ValueError):
        return None
    finally:
        connection.close()


def _is_local_chat(model: Any) -> bool:
    if not isinstance(model, Mapping) or not isinstance(model.get("name"), str):
        return False
    if model.get("remote_host") or model.get("remote_model") or model["name"].endswith("-cloud"):
        return False
    details = model.get("details")
    family = str(details.get("family", "")) if isinstance(details, Mapping) else ""
    return "bert" not in family and not _embeds(model["name"])


def _embeds(name: str) -> bool:
    return any(word in name.lower() for word in ("embed", "bge-", "rerank", "whisper"))


LOCAL_SERVERS = {
    "lmstudio": "http://127.0.0.1:1234/v1",
    "llamacpp": "http://127.0.0.1:8080/v1",
    "vllm": "http://127.0.0.1:8000/v1",
}
"""Where the OpenAI-compatible servers of a desktop listen, in the order they are taken."""


@dataclass(frozen=True, slots=True)
class Place:
    """A model server that was looked for: its chat models, None where none answers. One that is
    `away`, on another machine, was not asked."""

    name: str
    url: str
    models: tuple[str, ...] | None = None
    away: bool = False


class AutoModel(Model):
    """Chooses once, at first use; `reason` then says in a few words why, and `looked` where models
    were looked for."""

    def __init__(
        self,
        extractive: Callable[[], Model] | None = None,
        *,
        ollama: str | None = None,
        servers: Mapping[str, str] = LOCAL_SERVERS,
    ) -> None:
        self._extractive = extractive
        self._ollama = ollama_url(ollama or os.environ.get("OLLAMA_HOST", ""))
        self._servers = dict(servers)
        self._chosen: Model | None = None
        self.reason = "nothing is chosen yet"
        self.looked: tuple[Place, ...] = ()

    @property
    def name(self) -> str:
        return self._chosen.name if self._chosen else "auto"

    async def choose(self) -> Model:
        """The model that all requests go to."""
        if self._chosen is None:
            looked = await self._look()
            if self._chosen is None:
                self.looked = looked
                self._chosen, self.reason = self._choice(looked)
        return self._chosen

    @property
    def only_quotes(self) -> bool:
        """Whether no model was found, so that the reader that quotes answers."""
        return bool(self.looked) and not any(place.models for place in self.looked)

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

    async def _look(self) -> tuple[Place, ...]:
        """Every place, in the order in which it is taken."""
        ollama, *others = await asyncio.gather(
            ollama_models(self._ollama), *map(openai_models, self._servers.values())
        )
        servers = zip(self._servers.items(), others, strict=True)
        return (
            _place("ollama", self._ollama, ollama),
            *(_place(name, url, models) for (name, url), models in servers),
        )

    def _choice(self, looked: Sequence[Place]) -> tuple[Model, str]:
        for place in looked:
            if place.models and place.name == "ollama":
                return self._at_ollama(place.models[0]), f"the last one changed on {place.url}"
            if place.models:
                chosen = self._at_server(place.name, self._servers[place.name], place.models[0])
                return chosen, f"the first one on {place.url}"
        if self._extractive is None:
            raise ModelError("No model server answers on this machine. Start it: ollama serve")
        return self._extractive(), "the reader that quotes: no model was found"

    def _at_ollama(self, model: str) -> Model:
        from agentkit.backends.ollama import OllamaModel

        return OllamaModel(model, base_url=self._ollama)

    def _at_server(self, provider: str, url: str, model: str) -> Model:
        from agentkit.backends.openai.model import OpenAIModel

        return OpenAIModel(model, provider=provider, base_url=url)


def _place(name: str, url: str, models: list[str] | None) -> Place:
    found = None if models is None else tuple(models)
    return Place(name, shown(url), found, not is_loopback(url))


async def local_models() -> list[str]:
    """What answers here and now. Another machine is never asked, though OLLAMA_HOST names one."""
    url = ollama_url(os.environ.get("OLLAMA_HOST", ""))
    at_ollama = ollama_models(url) if is_loopback(url) else _none()
    found = await asyncio.gather(at_ollama, *map(openai_models, LOCAL_SERVERS.values()))
    names = ["ollama", *LOCAL_SERVERS]
    return [f"{n}:{m}" for n, some in zip(names, found, strict=True) for m in some or ()]


async def _none() -> None:
    return None
