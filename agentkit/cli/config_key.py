"""`agentkit config key`: a provider's key into the system's keyring, and out of it again.

A key is never an argument, which a shell remembers and other users see.
"""

from __future__ import annotations

import sys
from difflib import get_close_matches
from getpass import getpass
from pathlib import Path

from agentkit.cli.config import settings_of
from agentkit.cli.language import spoken, translated
from agentkit.errors import ConfigError
from agentkit.settings.keys import (
    check_key,
    key_origin,
    keyring_account,
    known_providers,
    server_url,
    store_key,
)
from agentkit.settings.keys import remove_key as delete_key
from agentkit.settings.schema import ProviderSettings

_LONGEST = 8192


def set_key(folder: Path, provider: str) -> int:
    """Store the key for the address that the provider has now."""
    settings = _provider(folder, provider)
    url = server_url(provider, settings)
    name = keyring_account(provider, url)
    keyring = store_key(name, check_key(_read_key(provider), "the input"))
    print(translated(f"The key of {name} is in the keyring: {keyring}"))
    if (origin := key_origin(provider, settings, url)) != "keyring":
        print(spoken("note:", f"the one from {origin} comes before it"), file=sys.stderr)
    return 0


def remove_key(folder: Path, provider: str) -> int:
    name = keyring_account(provider, server_url(provider, _provider(folder, provider)))
    delete_key(name)
    print(translated(f"The key of {name} is not in the keyring any more."))
    return 0


def _read_key(provider: str) -> str:
    if sys.stdin.isatty():
        return getpass(f"{translated(f'Key of {provider}:')} ")
    return sys.stdin.readline(_LONGEST)


def _provider(folder: Path, name: str) -> ProviderSettings:
    known = {
        provider: settings
        for provider, settings in known_providers(settings_of(folder).settings.providers).items()
        if settings.kind == "openai"
    }
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"Unknown provider {name!r}.{hint} Those with keys: {', '.join(known)}; add others "
            "as [providers.NAME] to agentkit.toml."
        )
    return known[name]
