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

from agentkit.addresses import is_loopback, ollama_url
from agentkit.backends.base import Capabilities, Model, Options
from agentkit.errors import ModelError
from agentkit.events import ModelPart
from agentkit.messages import Message
from agentkit.redaction import display_url
from agentkit.settings.keys import LOCAL_SERVERS
from agentkit.tools.tool import Tool

TIMEOUT = 0.5
_MAX_BYTES = 2_000_000
_NOT_CHAT = ("embed", "bge-", "rerank", "whisper")


async def ollama_models(url: str) -> list[str] | None:
    """List an Ollama server's own chat models, the most recently changed first; None where no
    Ollama answers. Models that it would forward to ollama.com are left out."""
    tags = await asyncio.to_thread(_get_json, url, "/api/tags")
    if not isinstance(tags, Mapping) or not isinstance(tags.get("models"), list):
        return None
    return [model["name"] for model in tags["models"] if _is_local_chat(model)]


async def openai_models(url: str) -> list[str] | None:
    """List the chat models of an OpenAI-compatible server; None where none answers. agentkit's own
    server is left out: it would ask itself."""
    listing = await asyncio.to_thread(_get_json, url, "/models")
    if not isinstance(listing, Mapping) or not isinstance(listing.get("data"), list):
        return None
    models = [model for model in listing["data"] if isinstance(model, Mapping)]
    if any(model.get("owned_by") == "agentkit" for model in models):
        return None
    names = [str(model.get("id") or "") for model in models]
    return [name for name in names if name and _is_chat_name(name)]


def _get_json(url: str, path: str) -> Any:
    """Return the JSON of a server on this machine; None where there is none."""
    if not is_loopback(url):
        return None
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT)
    try:
        connection.request("GET", parts.path.rstrip("/") + path)
        response = connection.getresponse()
        return json.loads(response.read(_MAX_BYTES)) if response.status == 200 else None
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
    return "bert" not in family and _is_chat_name(model["name"])


def _is_chat_name(name: str) -> bool:
    return not any(word in name.lower() for word in _NOT_CHAT)


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A model server that was looked for: its chat models, None where it does not answer. One that
    `is_remote`, on another machine, was not asked."""

    name: str
    url: str
    models: tuple[str, ...] | None = None
    is_remote: bool = False


class AutoModel(Model):
    """Chooses a model once, at first use. Then `reason` tells in a few words why, and `searched`
    lists the servers that were looked for. `extractive` builds the model that answers where no
    server has one; without it a request raises ModelError."""

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
        self.reason = "not chosen yet"
        self.searched: tuple[LocalServer, ...] = ()

    @property
    def name(self) -> str:
        return self._chosen.name if self._chosen else "auto"

    @property
    def found_no_model(self) -> bool:
        """Whether no server has a model, so that the extractive model answers."""
        return bool(self.searched) and not any(server.models for server in self.searched)

    async def choose(self) -> Model:
        """Return the model that all requests go to. Raises ModelError."""
        if self._chosen is None:
            searched = await self.search()
            if self._chosen is None:
                self.searched = searched
                self._chosen, self.reason = self._choose_from(searched)
        return self._chosen

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        async with aclosing((await self.choose()).stream(messages, tools, options)) as parts:
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

    async def search(self) -> tuple[LocalServer, ...]:
        """Ask every server for its models, in order of preference."""
        lists = await asyncio.gather(
            ollama_models(self._ollama), *map(openai_models, self._servers.values())
        )
        urls = {"ollama": self._ollama, **self._servers}
        return tuple(
            LocalServer(
                name,
                display_url(url),
                None if models is None else tuple(models),
                not is_loopback(url),
            )
            for (name, url), models in zip(urls.items(), lists, strict=True)
        )

    def _choose_from(self, searched: Sequence[LocalServer]) -> tuple[Model, str]:
        for server in searched:
            if server.models and server.name == "ollama":
                from agentkit.backends.ollama.model import OllamaModel

                model: Model = OllamaModel(server.models[0], base_url=self._ollama)
                return model, f"the most recently changed on {server.url}"
            if server.models:
                from agentkit.backends.openai.model import OpenAIModel

                url = self._servers[server.name]
                model = OpenAIModel(server.models[0], provider=server.name, base_url=url)
                return model, f"the first on {server.url}"
        if self._extractive is None:
            raise ModelError("No model server answers on this machine. Start it: ollama serve")
        return self._extractive(), "no model was found"


async def local_models() -> list[str]:
    """List the models of the servers on this machine, as names for `get_model`."""
    searched = await AutoModel().search()
    return [f"{server.name}:{model}" for server in searched for model in server.models or ()]
