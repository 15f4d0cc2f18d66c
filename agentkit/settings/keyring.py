"""Keys in the system's keyring: the one file that imports it, when a key is fetched or stored.

Which accounts are there is remembered beside the user's settings, without the keys, so that no
keyring is opened for a provider that has none in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from agentkit.errors import ConfigError
from agentkit.settings.sources import user_folder

SERVICE = "agentkit"
_SAFE = 1.0
"""What keyring calls recommended: a backend that encrypts."""


def account(provider: str, url: str | None) -> str:
    """Under what name a provider's key for an address is kept."""
    if not url:
        return provider
    parts = urlsplit(url)
    return f"{provider}@{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def holds(name: str) -> bool:
    """Whether a key was stored under this name; the keyring is not asked."""
    return name in _accounts()


def load(name: str) -> str:
    """The key stored under a name. Raises ConfigError where the keyring does not give it."""
    keyring = _keyring()
    try:
        key = keyring.get_password(SERVICE, name)
    except Exception as error:
        raise _silent(name, type(error).__name__) from None
    if key is None:
        raise _silent(name, "it is not there any more")
    return str(key)


def store(name: str, key: str) -> str:
    """Keep a key; returns which keyring has it. Raises ConfigError where none that encrypts is
    at hand and the user has chosen no other."""
    keyring = _keyring()
    backend = keyring.get_keyring()
    if backend.priority < _SAFE and not _is_chosen(keyring):
        raise ConfigError(
            "This system offers no keyring that encrypts. Use a variable (api_key_env) or a file "
            "(api_key_file), or choose a keyring yourself: PYTHON_KEYRING_BACKEND."
        )
    try:
        keyring.set_password(SERVICE, name, key)
        kept = keyring.get_password(SERVICE, name) == key
    except Exception as error:
        raise ConfigError(
            f"The keyring took no key ({type(error).__name__}). Unlock it, or use a variable "
            "(api_key_env) or a file (api_key_file)."
        ) from None
    if not kept:
        raise ConfigError(f"The keyring {backend.name} keeps nothing. Choose another one.")
    _remember({*_accounts(), name})
    return str(backend.name)


def remove(name: str) -> None:
    """Forget a key. Raises ConfigError where there is none."""
    if not holds(name):
        raise ConfigError(f"The keyring holds no key of {name}.")
    keyring = _keyring()
    with suppress(keyring.errors.PasswordDeleteError):
        keyring.delete_password(SERVICE, name)
    _remember(_accounts() - {name})


def _keyring() -> ModuleType:
    try:
        import keyring
    except ImportError as error:
        raise ConfigError(
            'Keys in the keyring need: pip install "agentkit-rag[keyring]"'
        ) from error
    return keyring


def _is_chosen(keyring: ModuleType) -> bool:
    return bool(keyring.core.load_env() or keyring.core.load_config())


def _silent(name: str, why: str) -> ConfigError:
    provider = name.partition("@")[0]
    return ConfigError(
        f"The keyring does not give the key of {name} ({why}). Unlock it, or run: "
        f"agentkit config key set {provider}"
    )


def _accounts() -> set[str]:
    try:
        found = json.loads(_index().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return set(map(str, found)) if isinstance(found, list) else set()


def _remember(names: Iterable[str]) -> None:
    path = _index()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}.tmp")
        new.write_text(json.dumps(sorted(names), indent=1), encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error


def _index() -> Path:
    return user_folder() / "keys.json"
