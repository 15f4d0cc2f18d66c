"""A model behind a server that the settings name: is it there, and how much does it read.

A server is asked only where it is on this machine, or the settings give its address.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

from agentkit.backends.addresses import is_loopback, ollama_url, shown
from agentkit.backends.keys import key_for
from agentkit.backends.openai import OPENAI_URL
from agentkit.backends.providers import server_url
from agentkit.project.doctor.findings import Finding, ok
from agentkit.project.doctor.probing import Reply, asked
from agentkit.project.doctor.windows import (
    SMALL,
    how_to_widen,
    is_ollama,
    ollama_window,
    reads,
    server_window,
    tight,
)
from agentkit.settings import ProviderSettings
from agentkit.tools.workers import in_worker


async def ollama_model(
    name: str, model: str, settings: ProviderSettings, environ: Mapping[str, str]
) -> list[Finding]:
    """A model on an Ollama server."""
    url = ollama_url(settings.base_url or environ.get("OLLAMA_HOST", ""))
    tags = await asked(url, "/api/tags")
    if tags.status != 200:
        told = f"{name}: no Ollama server answers at {shown(url)}"
        return [Finding("problem", "model", told, "Start it: ollama serve")]
    held = _named(tags, "models", "name")
    if model not in (*held, *(each.removesuffix(":latest") for each in held)):
        told = f"{model} is not on the Ollama server at {shown(url)}"
        return [Finding("problem", "model", told, f"ollama pull {model}")]
    window = await ollama_window(url, model)
    if window and window < SMALL:
        return [tight("model", name, window, "Use a model that reads more.")]
    most = settings.max_context or 32768
    used = f", of which agentkit uses up to {most}" if window and most < window else ""
    return [ok("model", f"{name} at {shown(url)}{reads(window)}{used}")]


async def openai_model(name: str, settings: ProviderSettings, *, is_given: bool) -> list[Finding]:
    """A model on an OpenAI-compatible server; `is_given` if the settings name its provider."""
    prefix, _, model = name.partition(":")
    url = server_url(prefix, settings) or OPENAI_URL
    if not is_loopback(url) and not (is_given and settings.base_url):
        return [ok("model", f"{name}: there is a key; {shown(url)} was not asked")]
    key = await in_worker(partial(key_for, prefix, settings, url, needed=False)) or ""
    listing = await asked(url.rstrip("/"), "/models", key=key)
    if listing.status != 200:
        return [_unheard(name, shown(url), listing.status)]
    held = _named(listing, "data", "id")
    if len(held) > 1 and model not in held:
        return [_unlisted(model, shown(url), held)]
    if await is_ollama(url):
        return [_back_door(name, model, shown(url))]
    window = await server_window(url, model)
    if window and window < SMALL:
        return [tight("model", name, window, how_to_widen(prefix))]
    return [ok("model", f"{name} at {shown(url)}{reads(window)}")]


def _unheard(name: str, place: str, status: int) -> Finding:
    if status == 0:
        told, step = f"{name}: no server answers at {place}", "Start it, or correct base_url."
    elif status in (401, 403):
        told, step = f"{name}: {place} refuses the key", "Set another key for this provider."
    else:
        told, step = f"{name}: {place} lists no models (status {status})", "Check base_url."
    return Finding("warning" if status in (404, 405) else "problem", "model", told, step)


def _unlisted(model: str, place: str, held: Sequence[str]) -> Finding:
    near = get_close_matches(model, held, 1, cutoff=0.3) or list(held[:1])
    told = f"{model} is not among the {len(held)} models at {place}"
    return Finding("problem", "model", told, f"Did you mean {near[0]}?")


def _back_door(name: str, model: str, place: str) -> Finding:
    """Ollama's OpenAI-compatible routes take no window with a request."""
    told = (
        f"{name}: {place} is Ollama, which cuts long prompts without a word on these routes (at "
        "4096 tokens, unless its OLLAMA_CONTEXT_LENGTH says otherwise)"
    )
    step = f'Set model = "ollama:{model}": agentkit then asks for the window it needs.'
    return Finding("warning", "model", told, step)


def _named(reply: Reply, field: str, name: str) -> list[str]:
    """The names in a list of objects."""
    entries: Any = reply.get(field)
    found = entries if isinstance(entries, list) else []
    return [str(entry.get(name)) for entry in found if isinstance(entry, Mapping)]
