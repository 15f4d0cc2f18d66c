"""The models that the settings name: whether each can answer as things stand.

A server is asked only where it is on this machine, or the settings give its address.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec

from agentkit.backends.auto import AutoModel
from agentkit.backends.keys import place
from agentkit.backends.llamacpp_source import located
from agentkit.backends.providers import known_providers, server_url
from agentkit.backends.registry import get_model
from agentkit.errors import ConfigError, ModelError
from agentkit.project.doctor.findings import Finding, broken, ok
from agentkit.project.doctor.served import ollama_model, openai_model
from agentkit.settings import ProviderSettings
from agentkit.tools.workers import in_worker

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
        return [broken("model", error)]
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
    await chosen.choose()
    if chosen.only_quotes:
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
        located(wanted)
    except ModelError as error:
        return [broken("model", error)]
    return [ok("model", f"{name}, in this process")]
