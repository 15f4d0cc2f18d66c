"""The models of the servers on this machine, by the names that a model choice takes."""

from __future__ import annotations

import asyncio
import os

from agentkit.backends.addresses import is_loopback, ollama_url
from agentkit.backends.auto import LOCAL_SERVERS
from agentkit.backends.local_servers import ollama_models, openai_models


async def local_models() -> list[str]:
    """What answers here and now. Another machine is never asked, though OLLAMA_HOST names one."""
    url = ollama_url(os.environ.get("OLLAMA_HOST", ""))
    at_ollama = ollama_models(url) if is_loopback(url) else _none()
    found = await asyncio.gather(at_ollama, *map(openai_models, LOCAL_SERVERS.values()))
    names = ["ollama", *LOCAL_SERVERS]
    return [f"{n}:{m}" for n, some in zip(names, found, strict=True) for m in some or ()]


async def _none() -> None:
    return None
