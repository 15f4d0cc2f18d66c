"""The models that the settings name: whether each can answer as things stand.

A server is asked only where it is on this machine, or the settings give its address.

A model behind a server that the settings name: is it there, and how much does it read.

A server is asked only where it is on this machine, or the settings give its address.

The model servers on this machine: which answer, in which version, and how much they read.

How many tokens a model server reads at once: each kind of server says it elsewhere.

A window that is too small is the trap of local servers: what does not fit is cut without a word,
or refused.

Ask a server one small question, and get JSON or nothing.

Servers on this machine are asked past any proxy. Redirects are not followed, for a key must not
reach another server, and an answer is cut off at 2 MB.

Versions of other programs that are known to be bad, and how old a version is.

Each stands here with the reason and where it is written down. Of a version only the numbers count:
builds have names behind them ("0.5.4-ipexllm"). One without numbers is not judged.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from packaging.version import Version

from agentkit._sync import in_worker
from agentkit.addresses import is_loopback, ollama_url, shown
from agentkit.backends.auto import LOCAL_SERVERS, AutoModel, ollama_models, openai_models
from agentkit.backends.llamacpp.source import find_file
from agentkit.backends.ollama.model import SMALLEST_WINDOW
from agentkit.backends.ollama.server import context_length
from agentkit.backends.openai.model import OPENAI_URL
from agentkit.backends.registry import get_model
from agentkit.errors import ConfigError, ModelError
from agentkit.findings import Finding, from_error, join_names, ok
from agentkit.settings.keys import key_for, known_providers, place, server_url
from agentkit.settings.schema import ProviderSettings

_SECONDS = 3.0
_MOST_BYTES = 2_000_000


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: a status, 0 where nobody answered, and the JSON object, if it was one."""

    status: int = 0
    body: Mapping[str, Any] | None = None

    def get(self, name: str) -> Any:
        """A field of the object, None where there is none."""
        return None if self.body is None else self.body.get(name)


async def asked(url: str, path: str, *, key: str = "", body: Any = None) -> Reply:
    """What a server answers to GET, or to POST where there is a body."""
    import httpx2

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    method = "GET" if body is None else "POST"
    try:
        async with (
            httpx2.AsyncClient(timeout=_SECONDS, trust_env=not is_loopback(url)) as client,
            client.stream(method, url + path, headers=headers, json=body) as response,
        ):
            text = b""
            async for piece in response.aiter_bytes():
                text += piece
                if len(text) > _MOST_BYTES:
                    return Reply(response.status_code)
            return Reply(response.status_code, _object(text))
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError, OSError):
        return Reply()


def root_of(url: str) -> str:
    """The server's own address, without the /v1 of its OpenAI-compatible routes."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _object(text: bytes) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


_NUMBERS = re.compile(r"v?(\d+(?:\.\d+)*)")


@dataclass(frozen=True, slots=True)
class Flaw:
    """Versions of a program from `since` on, and before `fixed`, that are known to be bad."""

    program: str
    fixed: str
    why: str
    since: str = "0"


FLAWS = (
    Flaw(
        "ollama",
        "0.17.1",
        "whoever reaches it can read its memory, prompts and keys too (CVE-2026-7482)",
    ),
    Flaw(
        "vllm",
        "0.14.1",
        "whoever reaches it may run code on it with a prepared video (CVE-2026-22778)",
        since="0.8.3",
    ),
)


def flaws_of(program: str, version: str, flaws: Iterable[Flaw] = FLAWS) -> list[Flaw]:
    """What is known against this version of a program."""
    numbers = _NUMBERS.match(version)
    if numbers is None:
        return []
    at = Version(numbers[1])
    return [
        flaw
        for flaw in flaws
        if flaw.program == program and Version(flaw.since) <= at < Version(flaw.fixed)
    ]


SMALL = SMALLEST_WINDOW
"""Passages, tools, some turns and an answer want this many tokens."""

_FIELDS = ("loaded_context_length", "context_length", "max_model_len", "context_window")


async def ollama_window(url: str, model: str) -> int | None:
    """What a model on an Ollama server can read. agentkit asks for as much of it as it needs."""
    reply = await asked(url, "/api/show", body={"model": model})
    return context_length((reply.body or {}).get("model_info"))


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
    found = [ok(name, f"{join_names(models) or 'no chat model'} at {url}{reads(window)}")]
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
    return ok("ollama", f"{at}: {join_names([*told, *models[3:]])}")


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


Providers = Mapping[str, ProviderSettings]
_ADVICE = "ollama pull qwen3:4b, or a key and --model openai:NAME, or agentkit models pull smollm2"


async def model(name: str, providers: Providers, environ: Mapping[str, str]) -> list[Finding]:
    """Whether a model of that name can answer."""
    if name == "auto":
        return await _auto()
    if name == "extractive":
        return [ok("model", "extractive: the reader that quotes needs nothing")]
    try:
        await in_worker(partial(get_model, name, providers))
    except ConfigError as error:
        return [from_error("model", error)]
    prefix, _, wanted = name.partition(":")
    settings = known_providers(providers)[prefix]
    match settings.kind:
        case "hf":
            return _in_process(name, ("torch", "transformers"), "hf")
        case "gguf":
            return _gguf(name, wanted)
        case "ollama":
            return await ollama_model(name, wanted, settings, environ)
    return await openai_model(name, settings, is_given=prefix in providers)


def keys(providers: Providers) -> list[Finding]:
    """Where keys are, by provider; never what they are."""
    providers = known_providers(providers)
    held = {name: place(name, each, server_url(name, each)) for name, each in providers.items()}
    told = ", ".join(f"{name} ({at})" for name, at in held.items() if at)
    return [ok("keys", told or "none, and none is needed for models on this machine")]


async def _auto() -> list[Finding]:
    chosen = AutoModel()
    try:
        await chosen.choose()
    except ModelError:
        told = "auto: no model was found, so the reader that quotes answers"
        return [Finding("note", "model", told, _ADVICE)]
    return [ok("model", f"auto: {chosen.name}, {chosen.reason}")]


def _in_process(name: str, modules: tuple[str, ...], extra: str) -> list[Finding]:
    lacking = [module for module in modules if find_spec(module) is None]
    if lacking:
        step = f'pip install "agentkit-rag[{extra}]"'
        return [Finding("problem", "model", f"{name} needs {', '.join(lacking)}", step)]
    return [ok("model", f"{name}, in this process")]


def _gguf(name: str, wanted: str) -> list[Finding]:
    if find_spec("xllamacpp") is None:
        return _in_process(name, ("xllamacpp",), "gguf")
    try:
        find_file(wanted)
    except ModelError as error:
        return [from_error("model", error)]
    return [ok("model", f"{name}, in this process")]
