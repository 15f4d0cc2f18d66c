"""Which model servers answer on this machine, and what they have. Nothing leaves the machine: no
proxy is used, no redirect followed, and any other address is refused."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import urlsplit

from agentkit.backends.addresses import is_loopback

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
