"""Build a model from its name: "openai:gpt-5-mini", "ollama:qwen3:8b", "hf:Qwen/Qwen3-0.6B",
"gguf:PATH", "extractive", "auto", or "PROVIDER:MODEL" for a provider of the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from agentkit.backends.base import Model
from agentkit.errors import ConfigError
from agentkit.settings.keys import key_for, known_providers, server_url
from agentkit.settings.schema import ProviderSettings

_WITHOUT_PROVIDER = ("auto", "extractive")


def get_model(
    name: str | Sequence[str],
    providers: Mapping[str, ProviderSettings] = {},
    *,
    base_url: str | None = None,
    extractive: Callable[[], Model] | None = None,
) -> Model:
    """Return the model of that name, without loading or asking anything yet.

    Of several names, the first answers and the others are its fallbacks. `base_url` overrides the
    provider's. `extractive` builds the model for "extractive", and for "auto" where no model
    server answers. Raises ConfigError.
    """
    if not isinstance(name, str):
        return _fallback(name, providers, base_url, extractive)
    if name == "auto":
        from agentkit.backends.auto import AutoModel

        return AutoModel(extractive)
    if name == "extractive":
        if extractive is None:
            raise ConfigError("Call get_model('extractive', extractive=ExtractiveModel).")
        return extractive()
    prefix, colon, model = name.partition(":")
    known = known_providers(providers)
    if not colon or prefix not in known:
        raise _unknown(name, prefix, sorted({*known, *_WITHOUT_PROVIDER}))
    if not model:
        raise ConfigError(f"{name!r} has no model name: write it as {prefix}:MODEL.")
    settings = known[prefix]
    if settings.kind == "ollama":
        return _ollama(model, settings, base_url)
    if settings.kind == "hf":
        return _hf(model, settings)
    if settings.kind == "gguf":
        return _gguf(model, settings)
    return _openai(prefix, model, settings, base_url)


def _fallback(
    names: Sequence[str],
    providers: Mapping[str, ProviderSettings],
    base_url: str | None,
    extractive: Callable[[], Model] | None,
) -> Model:
    from agentkit.backends.fallback import FallbackModel

    if base_url and len(names) > 1:
        raise ConfigError(
            "A base URL goes with one model, and there are several. Give each its own base_url "
            "under [providers.NAME] in agentkit.toml."
        )
    models = [
        get_model(name, providers, base_url=base_url, extractive=extractive) for name in names
    ]
    return models[0] if len(models) == 1 else FallbackModel(models)


def _openai(prefix: str, model: str, settings: ProviderSettings, base_url: str | None) -> Model:
    from agentkit.backends.openai.model import OpenAIModel

    url = base_url or server_url(prefix, settings)
    return OpenAIModel(
        model,
        provider=prefix,
        base_url=url,
        api_key=key_for(prefix, settings, url, needed=base_url is None),
        api_key_env=settings.api_key_env,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_retries=settings.max_retries,
        extra_body=settings.extra_body,
    )


def _ollama(model: str, settings: ProviderSettings, base_url: str | None) -> Model:
    from agentkit.backends.ollama import OllamaModel

    return OllamaModel(
        model,
        base_url=base_url or settings.base_url,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_context=settings.max_context or 32768,
    )


def _hf(model: str, settings: ProviderSettings) -> Model:
    from agentkit.backends.huggingface import HuggingFaceModel, Placement

    return HuggingFaceModel(
        model,
        placement=Placement(
            settings.device,
            settings.dtype,
            settings.device_map,
            settings.attention,
            settings.quantization,
        ),
        trust_remote_code=settings.trust_remote_code,
        max_context=settings.max_context,
        max_batch=settings.max_batch,
        kept_tokens=settings.kept_tokens,
    )


def _gguf(model: str, settings: ProviderSettings) -> Model:
    from agentkit.backends.llamacpp import LlamaCppModel

    window = settings.max_context or 8192
    return LlamaCppModel(model, max_context=window, threads=settings.threads)


def _unknown(name: str, prefix: str, known: list[str]) -> ConfigError:
    near = get_close_matches(prefix, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return ConfigError(
        f"Unknown model {name!r}: write PROVIDER:MODEL.{hint} Known: {', '.join(known)}; "
        "add others as [providers.NAME] in agentkit.toml."
    )
