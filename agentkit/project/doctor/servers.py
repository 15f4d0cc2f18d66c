"""The model servers on this machine: which answer, in which version, and how much they read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from agentkit.backends.addresses import is_loopback
from agentkit.backends.auto import LOCAL_SERVERS
from agentkit.backends.local_servers import ollama_models, openai_models
from agentkit.project.doctor.findings import Finding, listed, ok
from agentkit.project.doctor.probing import asked, root_of
from agentkit.project.doctor.versions import flaws_of
from agentkit.project.doctor.windows import (
    SMALL,
    how_to_widen,
    ollama_window,
    reads,
    server_window,
    tight,
)

_OPEN = ("0.0.0.0", "[::]", "::")


async def ollama(url: str, host: str = "") -> list[Finding]:
    """The Ollama server at `url`; `host` is OLLAMA_HOST as it is written."""
    if not is_loopback(url):
        told = f"OLLAMA_HOST is {url}, another machine, which is not asked"
        return [Finding("note", "ollama", told, 'To check it, set model = "ollama:NAME".')]
    version = str((await asked(url, "/api/version")).get("version") or "")
    models = await ollama_models(url)
    if models is None:
        return [ok("ollama", f"no server at {url}")]
    windows = await asyncio.gather(*(ollama_window(url, model) for model in models[:3]))
    found = [_models_at(url, version, models, windows), *_flawed("ollama", version)]
    if host.rpartition("//")[2].startswith(_OPEN):
        told = f"OLLAMA_HOST={host}: a server started so lets the whole network in, without a key"
        found.append(Finding("warning", "ollama", told, "Set OLLAMA_HOST=127.0.0.1, or a proxy."))
    return found


async def others(servers: Mapping[str, str] = LOCAL_SERVERS) -> list[Finding]:
    """The OpenAI-compatible servers where they usually listen."""
    answers = await asyncio.gather(*(_other(name, url) for name, url in servers.items()))
    found = [finding for findings in answers for finding in findings]
    return found or [ok("servers", f"no {', '.join(servers)} on this machine")]


async def _other(name: str, url: str) -> list[Finding]:
    models = await openai_models(url)
    if models is None:
        return []
    window = await server_window(url, models[0]) if models else None
    version = str((await asked(root_of(url), "/version")).get("version") or "")
    found = [ok(name, f"{listed(models) or 'no chat model'} at {url}{reads(window)}")]
    if window and window < SMALL:
        found = [tight(name, f"{models[0]} at {url}", window, how_to_widen(name))]
    return found + _flawed(name, version)


def _models_at(url: str, version: str, models: list[str], windows: list[int | None]) -> Finding:
    at = f"{version} at {url}"
    if not models:
        return Finding("note", "ollama", f"{at} has no chat model", "ollama pull qwen3:4b")
    told = [
        model + (f" ({window} tokens)" if window else "")
        for model, window in zip(models[:3], windows, strict=True)
    ]
    return ok("ollama", f"{at}: {listed([*told, *models[3:]])}")


def _flawed(program: str, version: str) -> list[Finding]:
    return [
        Finding(
            "warning",
            program,
            f"{program} {version} is known to be bad: {flaw.why}",
            f"Upgrade it to {flaw.fixed} or newer.",
        )
        for flaw in flaws_of(program, version)
    ]
