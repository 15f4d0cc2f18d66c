"""How many tokens a model server reads at once: each kind of server says it elsewhere.

A window that is too small is the trap of local servers: what does not fit is cut without a word,
or refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentkit.backends.ollama_wire import SMALLEST_WINDOW, model_window
from agentkit.project.doctor.findings import Finding
from agentkit.project.doctor.probing import asked, root_of

SMALL = SMALLEST_WINDOW
"""Passages, tools, some turns and an answer want this many tokens."""

_FIELDS = ("loaded_context_length", "context_length", "max_model_len", "context_window")


async def ollama_window(url: str, model: str) -> int | None:
    """What a model on an Ollama server can read. agentkit asks for as much of it as it needs."""
    reply = await asked(url, "/api/show", body={"model": model})
    return model_window(reply.body or {})


async def server_window(url: str, model: str) -> int | None:
    """What an OpenAI-compatible server reads at once, as llama.cpp, LM Studio and vLLM say it."""
    props = await asked(root_of(url), "/props")
    if window := _number((props.get("default_generation_settings") or {}), "n_ctx"):
        return window
    for listing in (await asked(root_of(url), "/api/v0/models"), await asked(url, "/models")):
        if window := _listed(listing.get("data"), model):
            return window
    return None


async def is_ollama(url: str) -> bool:
    """Whether an Ollama server stands behind an OpenAI-compatible address."""
    tags = await asked(root_of(url), "/api/tags")
    return isinstance(tags.get("models"), list)


def reads(window: int | None) -> str:
    """A window as the end of a line."""
    return f", reads {window} tokens" if window else ""


def tight(part: str, name: str, window: int, step: str) -> Finding:
    """A window that is too small to work with."""
    told = f"{name} reads {window} tokens: passages and a conversation hardly fit"
    return Finding("warning", part, told, step)


def how_to_widen(name: str) -> str:
    """What makes the window of a server larger."""
    return {
        "llamacpp": "Start llama-server with -c 16384, or fewer slots (-np 1).",
        "lmstudio": "Load the model in LM Studio with a longer context.",
        "vllm": "Start vLLM with a larger --max-model-len.",
    }.get(name, "Start the server with a longer context.")


def _listed(models: Any, model: str) -> int | None:
    """The window of a model in a list; a server of one model serves it under any name."""
    if not isinstance(models, list):
        return None
    known = [each for each in models if isinstance(each, Mapping)]
    own = [each for each in known if each.get("id") == model]
    for entry in own or (known if len(known) == 1 else []):
        for field in _FIELDS:
            if window := _number(entry, field):
                return window
    return None


def _number(entry: Any, field: str) -> int | None:
    found = entry.get(field) if isinstance(entry, Mapping) else None
    return found if isinstance(found, int) and found > 0 else None
