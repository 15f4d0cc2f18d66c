"""Check models and model servers, for `agentkit doctor`: available, large enough, safe version.

A server is asked only where it is on this machine, or where the settings give its address.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from packaging.version import Version

from agentkit._sync import in_worker
from agentkit.addresses import is_loopback, ollama_url
from agentkit.backends.auto import AutoModel, ollama_models, openai_models
from agentkit.backends.base import parse_arguments
from agentkit.backends.llamacpp import find_file
from agentkit.backends.ollama.model import SMALLEST_WINDOW
from agentkit.backends.ollama.server import OllamaError, context_length, show_model
from agentkit.backends.openai.errors import OPENAI_URL
from agentkit.backends.openai.model import listed_window
from agentkit.backends.registry import get_model, require_keys
from agentkit.errors import ConfigError, ModelError
from agentkit.findings import Finding, from_error, join_names, ok
from agentkit.redaction import display_url
from agentkit.settings.keys import (
    LOCAL_SERVERS,
    key_for,
    key_origin,
    known_providers,
    server_url,
)
from agentkit.settings.schema import ProviderSettings

Providers = Mapping[str, ProviderSettings]

_NO_MODEL_STEP = (
    "ollama pull qwen3:4b, or a key and --model openai:NAME, or agentkit models pull smollm2"
)
_LONGER_CONTEXT = {
    "llamacpp": "Start llama-server with -c 16384, or fewer slots (-np 1).",
    "lmstudio": "Load the model in LM Studio with a longer context.",
    "vllm": "Start vLLM with a larger --max-model-len.",
}
_ANY_INTERFACE = ("0.0.0.0", "[::]", "::")
_TIMEOUT = 3.0
_MAX_BYTES = 2_000_000


async def check_model(name: str, providers: Providers, environ: Mapping[str, str]) -> list[Finding]:
    """Check whether a model of that name can answer."""
    if name == "auto":
        return await _check_auto()
    if name == "extractive":
        return [ok("model", "extractive: quotes documents, needs no model server")]
    try:
        get_model(name, providers)
        await in_worker(partial(require_keys, name, providers))
    except ConfigError as error:
        return [from_error("model", error)]
    prefix, _, model = name.partition(":")
    settings = known_providers(providers)[prefix]
    match settings.kind:
        case "hf":
            return _check_modules(name, "hf", "torch", "transformers", "llguidance")
        case "gguf":
            return _check_gguf(name, model)
        case "ollama":
            return await _check_ollama_model(name, model, settings, environ)
    return await check_openai_model(name, settings, is_configured=prefix in providers)


async def _check_auto() -> list[Finding]:
    model = AutoModel()
    try:
        await model.choose()
    except ModelError:
        message = "auto: no model was found, so the extractive model answers"
        return [Finding("note", "model", message, _NO_MODEL_STEP)]
    return [ok("model", f"auto: {model.name}, {model.reason}")]


def _check_modules(name: str, extra: str, *modules: str) -> list[Finding]:
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        step = f'pip install "agentkit-rag[{extra}]"'
        return [Finding("problem", "model", f"{name} needs {', '.join(missing)}", step)]
    return [ok("model", f"{name}, in this process")]


def _check_gguf(name: str, model: str) -> list[Finding]:
    if find_spec("xllamacpp"):
        try:
            find_file(model)
        except ModelError as error:
            return [from_error("model", error)]
    return _check_modules(name, "gguf", "xllamacpp")


async def _check_ollama_model(
    name: str, model: str, settings: ProviderSettings, environ: Mapping[str, str]
) -> list[Finding]:
    url = ollama_url(settings.base_url or environ.get("OLLAMA_HOST", ""))
    try:
        window = await _ollama_window(url, model)
    except OllamaError as error:
        return [from_error("model", ModelError(error.message(url, model, name, _TIMEOUT)))]
    if window and window < SMALLEST_WINDOW:
        return [_small_window("model", name, window, "Choose a model with a larger window.")]
    limit = settings.max_context or 32768
    used = f", of which agentkit uses up to {limit}" if window and limit < window else ""
    return [ok("model", f"{name} at {display_url(url)}{_window_text(window)}{used}")]


async def check_openai_model(
    name: str, settings: ProviderSettings, *, is_configured: bool
) -> list[Finding]:
    """Check a model on an OpenAI-compatible server; `is_configured` if the settings name its
    provider."""
    prefix, _, model = name.partition(":")
    url = server_url(prefix, settings) or OPENAI_URL
    if not is_loopback(url) and not (is_configured and settings.base_url):
        return [ok("model", f"{name}: there is a key; {display_url(url)} was not asked")]
    key = await in_worker(partial(key_for, prefix, settings, url, needed=False)) or ""
    listing = await request_json(url.rstrip("/"), "/models", key=key)
    if listing.status != 200:
        return [_no_listing(name, display_url(url), listing.status)]
    names = [str(entry.get("id")) for entry in listing.listed("data") or []]
    if len(names) > 1 and model not in names:
        near = get_close_matches(model, names, 1, cutoff=0.3) or names[:1]
        message = f"{model} is not among the {len(names)} models at {display_url(url)}"
        return [Finding("problem", "model", message, f"Did you mean {near[0]}?")]
    if (await request_json(_root(url), "/api/tags")).listed("models") is not None:
        return [_ollama_behind_openai_routes(name, model, display_url(url))]
    window = await _server_window(url, model)
    if window and window < SMALLEST_WINDOW:
        return [_small_window("model", name, window, _longer_context(prefix))]
    return [ok("model", f"{name} at {display_url(url)}{_window_text(window)}")]


def _no_listing(name: str, url: str, status: int) -> Finding:
    if status == 0:
        message, step = f"{name}: no server answers at {url}", "Start it, or correct base_url."
    elif status in (401, 403):
        message, step = f"{name}: {url} refuses the key", "Set another key for this provider."
    else:
        message, step = f"{name}: {url} lists no models (status {status})", "Check base_url."
    return Finding("warning" if status in (404, 405) else "problem", "model", message, step)


def _ollama_behind_openai_routes(name: str, model: str, url: str) -> Finding:
    """Ollama's OpenAI-compatible routes cannot set the window of a request."""
    message = (
        f"{name}: {url} is Ollama, which silently cuts long prompts on these routes (at 4096 "
        "tokens, unless its OLLAMA_CONTEXT_LENGTH is set)"
    )
    step = f'Set model = "ollama:{model}": agentkit then requests the window it needs.'
    return Finding("warning", "model", message, step)


def check_keys(providers: Providers) -> list[Finding]:
    """List where keys are, by provider; never what they are."""
    providers = known_providers(providers)
    places = {
        name: key_origin(name, each, server_url(name, each)) for name, each in providers.items()
    }
    found = ", ".join(f"{name} ({at})" for name, at in places.items() if at)
    return [ok("keys", found or "none, and none is needed for models on this machine")]


async def check_ollama(url: str, host: str = "") -> list[Finding]:
    """Check the Ollama server at `url`; `host` is the value of OLLAMA_HOST."""
    if not is_loopback(url):
        message = f"OLLAMA_HOST is {url}, another machine, which is not asked"
        return [Finding("note", "ollama", message, 'To check it, set model = "ollama:NAME".')]
    version = str((await request_json(url, "/api/version")).body.get("version") or "")
    models = await ollama_models(url)
    if models is None:
        return [ok("ollama", f"no server at {url}")]
    windows = await asyncio.gather(
        *(_ollama_window(url, model) for model in models[:3]), return_exceptions=True
    )
    findings = [_ollama_summary(url, version, models, windows), *_check_version("ollama", version)]
    if host.rpartition("//")[2].startswith(_ANY_INTERFACE):
        message = f"OLLAMA_HOST={host}: the server accepts the whole network, without a key"
        step = "Set OLLAMA_HOST=127.0.0.1, or a proxy."
        findings.append(Finding("warning", "ollama", message, step))
    return findings


def _ollama_summary(
    url: str, version: str, models: list[str], windows: Sequence[int | BaseException | None]
) -> Finding:
    at = f"{version} at {url}"
    if not models:
        return Finding("note", "ollama", f"{at} has no chat model", "ollama pull qwen3:4b")
    described = [
        model + (f" ({window} tokens)" if isinstance(window, int) else "")
        for model, window in zip(models[:3], windows, strict=True)
    ]
    return ok("ollama", f"{at}: {join_names([*described, *models[3:]])}")


async def check_local_servers(servers: Mapping[str, str] = LOCAL_SERVERS) -> list[Finding]:
    """Check the OpenAI-compatible servers at their usual addresses."""
    results = await asyncio.gather(*(_check_server(name, url) for name, url in servers.items()))
    findings = [finding for result in results for finding in result]
    return findings or [ok("servers", f"no {', '.join(servers)} on this machine")]


async def _check_server(name: str, url: str) -> list[Finding]:
    models = await openai_models(url)
    if models is None:
        return []
    window = await _server_window(url, models[0]) if models else None
    version = str((await request_json(_root(url), "/version")).body.get("version") or "")
    message = f"{join_names(models) or 'no chat model'} at {url}{_window_text(window)}"
    finding = ok(name, message)
    if window and window < SMALLEST_WINDOW:
        finding = _small_window(name, f"{models[0]} at {url}", window, _longer_context(name))
    return [finding, *_check_version(name, version)]


def _window_text(window: int | None) -> str:
    return f", window {window} tokens" if window else ""


def _small_window(part: str, name: str, window: int, step: str) -> Finding:
    message = f"{name} has a window of {window} tokens, too small for passages and a conversation"
    return Finding("warning", part, message, step)


def _longer_context(server: str) -> str:
    return _LONGER_CONTEXT.get(server, "Start the server with a longer context.")


@dataclass(frozen=True, slots=True)
class Flaw:
    """Known vulnerability of a program's versions from `since` on, before `fixed`."""

    program: str
    fixed: str
    reason: str
    since: str = "0"


FLAWS = (
    Flaw(
        "ollama",
        "0.17.1",
        "anyone who reaches it can read its memory, including prompts and keys (CVE-2026-7482)",
    ),
    Flaw(
        "vllm",
        "0.14.1",
        "anyone who reaches it may run code on it with a crafted video (CVE-2026-22778)",
        since="0.8.3",
    ),
)


def known_flaws(program: str, version: str, flaws: Iterable[Flaw] = FLAWS) -> list[Flaw]:
    """Return the flaws of a version. Only its numbers count, since builds append names
    ("0.5.4-ipexllm"); a version without numbers has none."""
    numbers = re.match(r"v?(\d+(?:\.\d+)*)", version)
    if numbers is None:
        return []
    parsed = Version(numbers[1])
    return [
        flaw
        for flaw in flaws
        if flaw.program == program and Version(flaw.since) <= parsed < Version(flaw.fixed)
    ]


def _check_version(program: str, version: str) -> list[Finding]:
    return [
        Finding(
            "warning",
            program,
            f"{program} {version} has a known vulnerability: {flaw.reason}",
            f"Upgrade it to {flaw.fixed} or newer.",
        )
        for flaw in known_flaws(program, version)
    ]


async def _ollama_window(url: str, model: str) -> int | None:
    """Raises OllamaError."""
    return context_length(await show_model(model, url, _TIMEOUT, _TIMEOUT))


async def _server_window(url: str, model: str) -> int | None:
    """Return an OpenAI-compatible server's window, as llama.cpp, LM Studio and vLLM report it."""
    props = await request_json(_root(url), "/props")
    settings = props.body.get("default_generation_settings")
    window = settings.get("n_ctx") if isinstance(settings, Mapping) else None
    if isinstance(window, int) and window > 0:
        return window
    own_api = await request_json(_root(url), "/api/v0/models")
    for listing in (own_api, await request_json(url, "/models")):
        if window := listed_window(listing.listed("data") or [], model):
            return window
    return None


@dataclass(frozen=True, slots=True)
class JsonReply:
    """A response: its status, 0 where no server answered, and its JSON object, {} where none."""

    status: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)

    def listed(self, key: str) -> list[Mapping[str, Any]] | None:
        """The objects of a list in the reply of status 200; None where there is no such list."""
        entries = self.body.get(key) if self.status == 200 else None
        if not isinstance(entries, list):
            return None
        return [entry for entry in entries if isinstance(entry, Mapping)]


async def request_json(url: str, path: str, key: str = "") -> JsonReply:
    """Get a JSON object.

    Servers on this machine are asked without a proxy. Redirects are not followed, since a key must
    not reach another server. A response of more than 2 MB is dropped.
    """
    import httpx2

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with (
            httpx2.AsyncClient(timeout=_TIMEOUT, trust_env=not is_loopback(url)) as client,
            client.stream("GET", _at_path(url, path), headers=headers) as response,
        ):
            content = b""
            async for piece in response.aiter_bytes():
                content += piece
                if len(content) > _MAX_BYTES:
                    return JsonReply(response.status_code)
            found = parse_arguments(content.decode("utf-8", "replace"))
            return JsonReply(response.status_code, found if isinstance(found, dict) else {})
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError):
        return JsonReply()


def _at_path(url: str, path: str) -> str:
    """Append a path to a URL, before its query."""
    parts = urlsplit(url)
    return parts._replace(path=parts.path.rstrip("/") + path).geturl()


def _root(url: str) -> str:
    """Return the server's own address, without the /v1 of its OpenAI-compatible routes."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
