"""Providers of models: presets, server addresses, and API keys.

A key is looked up in the variable that api_key_env names, the file api_key_file, then the system's
keyring. It is never printed, logged or put into an error; only its origin is. A key in the keyring
belongs to the address it was stored for, so that it reaches no other server. The names of stored
keys are listed in a file beside the user's settings, so that the keyring is opened only for them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from agentkit._files import read_regular
from agentkit.addresses import is_loopback
from agentkit.errors import ConfigError, file_error
from agentkit.settings.schema import ProviderSettings
from agentkit.settings.sources import user_folder, write_private

_SERVICES = {
    "deepseek": "https://api.deepseek.com/v1",
    "moonshot": "https://api.moonshot.cn/v1",
    "dashscope": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "mistral": "https://api.mistral.ai/v1",
    "gemini": "https://generativelanguage.googleapis.com/v1beta/openai",
    "openrouter": "https://openrouter.ai/api/v1",
    "groq": "https://api.groq.com/openai/v1",
    "together": "https://api.together.xyz/v1",
    "xai": "https://api.x.ai/v1",
    "zhipu": "https://open.bigmodel.cn/api/paas/v4",
    "minimax": "https://api.minimax.io/v1",
    "siliconflow": "https://api.siliconflow.cn/v1",
}
LOCAL_SERVERS = {
    "lmstudio": "http://127.0.0.1:1234/v1",
    "llamacpp": "http://127.0.0.1:8080/v1",
    "vllm": "http://127.0.0.1:8000/v1",
}
"""Usual addresses of OpenAI-compatible servers on a desktop, in order of preference."""

PRESETS: Mapping[str, ProviderSettings] = {
    "openai": ProviderSettings(api_key_env="OPENAI_API_KEY"),
    **{kind: ProviderSettings(kind=kind) for kind in ("ollama", "hf", "gguf")},
    **{
        name: ProviderSettings(base_url=url, api_key_env=f"{name.upper()}_API_KEY")
        for name, url in _SERVICES.items()
    },
    "sglang": ProviderSettings(base_url="http://127.0.0.1:30000/v1"),
    **{name: ProviderSettings(base_url=url) for name, url in LOCAL_SERVERS.items()},
}

_KEYRING_SERVICE = "agentkit"
_ENCRYPTING_PRIORITY = 1.0
"""Priority from which keyring recommends a backend: those that encrypt."""
_MAX_LENGTH = 4096


def known_providers(providers: Mapping[str, ProviderSettings]) -> dict[str, ProviderSettings]:
    """Merge the presets with the user's providers."""
    return {**PRESETS, **{name: _with_preset(name, own) for name, own in providers.items()}}


def _with_preset(name: str, own: ProviderSettings) -> ProviderSettings:
    """Complete a user's settings from the preset; its key only together with its address, since a
    key must not reach another server."""
    preset = PRESETS.get(name)
    if preset is None:
        return own
    if own.base_url is not None:
        preset = preset.model_copy(update={"api_key_env": None})
    return preset.model_copy(update={key: getattr(own, key) for key in own.model_fields_set})


def server_url(provider: str, settings: ProviderSettings) -> str | None:
    """Return the address of a provider's server, if one is configured."""
    if settings.base_url is None and provider == "openai":
        return os.environ.get("OPENAI_BASE_URL") or None
    return settings.base_url


@dataclass(frozen=True)
class ApiKey:
    """A key and its origin: "env OPENAI_API_KEY", "file ~/key" or "keyring"."""

    value: str = field(repr=False)
    origin: str


def key_for(
    provider: str, settings: ProviderSettings, url: str | None, needed: bool = True
) -> str | None:
    """Return the key of a provider, None without one. Raises ConfigError where one is needed: for
    a provider with an api_key_env on another machine."""
    if key := find_key(provider, settings, url):
        return key.value
    if settings.api_key_env and needed and not is_loopback(url or ""):
        raise ConfigError(
            f"{provider!r} needs a key: set the environment variable {settings.api_key_env}, run "
            f"`agentkit config key set {provider}`, or give a base_url for a server without one."
        )
    return None


def find_key(provider: str, settings: ProviderSettings, url: str | None) -> ApiKey | None:
    """Look a key up. Raises ConfigError where it cannot be read or is invalid."""
    origin = key_origin(provider, settings, url)
    kind, _, name = origin.partition(" ")
    match kind:
        case "env":
            return ApiKey(check_key(os.environ[name], f"the variable {name}"), origin)
        case "file":
            return ApiKey(_read_key_file(Path(name)), origin)
        case "keyring":
            key = _load_key(keyring_account(provider, url))
            return ApiKey(check_key(key, "the keyring"), origin)
    return None


def key_origin(provider: str, settings: ProviderSettings, url: str | None) -> str:
    """Return where a key would be read from, without opening it: "env NAME", "file PATH",
    "keyring", or "" without one."""
    if settings.api_key_env and os.environ.get(settings.api_key_env):
        return f"env {settings.api_key_env}"
    if settings.api_key_file:
        return f"file {Path(settings.api_key_file).expanduser()}"
    return "keyring" if is_stored(keyring_account(provider, url)) else ""


def check_key(key: str, origin: str) -> str:
    """Strip and validate a key, since the HTTP library would repeat an invalid header in its
    error. Raises ConfigError."""
    key = key.strip()
    if not key or len(key) > _MAX_LENGTH or not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"Invalid key in {origin}: it must be one ASCII word of at most {_MAX_LENGTH} "
            "characters."
        )
    return key


def _read_key_file(path: Path) -> str:
    try:
        if os.name == "posix" and path.stat().st_mode & 0o077:
            raise ConfigError(f"Others may read the key in {path}. Run: chmod 600 {path}")
        return check_key(read_regular(path, _MAX_LENGTH + 2).decode(), str(path))
    except UnicodeDecodeError:
        raise ConfigError(f"Invalid key in {path}: the file is not UTF-8 text.") from None
    except OSError as error:
        raise ConfigError(
            f"The key file {path} cannot be read ({error.strerror}). Create it, or correct "
            "api_key_file."
        ) from error


def keyring_account(provider: str, url: str | None) -> str:
    """Return the name under which the keyring keeps a provider's key for an address."""
    if not url:
        return provider
    parts = urlsplit(url)
    return f"{provider}@{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower()


def is_stored(account: str) -> bool:
    """Whether a key was stored under this name; does not open the keyring."""
    return account in _stored_accounts()


def store_key(account: str, key: str) -> str:
    """Store a key in the keyring and return the name of its backend. Raises ConfigError if the
    backend does not encrypt, unless the user chose it."""
    keyring = _import_keyring()
    backend = keyring.get_keyring()
    is_chosen = bool(keyring.core.load_env() or keyring.core.load_config())
    if backend.priority < _ENCRYPTING_PRIORITY and not is_chosen:
        raise ConfigError(
            "This system has no keyring that encrypts. Use a variable (api_key_env) or a file "
            "(api_key_file), or choose a keyring with PYTHON_KEYRING_BACKEND."
        )
    try:
        keyring.set_password(_KEYRING_SERVICE, account, key)
        is_kept = keyring.get_password(_KEYRING_SERVICE, account) == key
    except Exception as error:
        raise ConfigError(
            f"The keyring refused the key ({type(error).__name__}). Unlock it, or use a variable "
            "(api_key_env) or a file (api_key_file)."
        ) from None
    if not is_kept:
        raise ConfigError(f"The keyring {backend.name} does not store keys. Choose another one.")
    _write_accounts({*_stored_accounts(), account})
    return str(backend.name)


def remove_key(account: str) -> None:
    """Delete a key from the keyring. Raises ConfigError if it is not stored."""
    if not is_stored(account):
        raise ConfigError(f"The keyring holds no key of {account}.")
    keyring = _import_keyring()
    with suppress(keyring.errors.PasswordDeleteError):
        keyring.delete_password(_KEYRING_SERVICE, account)
    _write_accounts(_stored_accounts() - {account})


def _load_key(account: str) -> str:
    keyring = _import_keyring()
    try:
        key = keyring.get_password(_KEYRING_SERVICE, account)
        reason = "it is missing"
    except Exception as error:
        key, reason = None, type(error).__name__
    if key is None:
        raise ConfigError(
            f"The key of {account} cannot be read from the keyring ({reason}). Unlock it, or run: "
            f"agentkit config key set {account.partition('@')[0]}"
        )
    return str(key)


def _import_keyring() -> ModuleType:
    try:
        import keyring
    except ImportError as error:
        raise ConfigError(
            'Keys in the keyring need: pip install "agentkit-rag[keyring]"'
        ) from error
    return keyring


def _stored_accounts() -> set[str]:
    try:
        found = json.loads(_accounts_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return set()
    return set(map(str, found)) if isinstance(found, list) else set()


def _write_accounts(accounts: Iterable[str]) -> None:
    path = _accounts_file()
    try:
        write_private(path, json.dumps(sorted(accounts), indent=1))
    except OSError as error:
        raise ConfigError(file_error(path, error, "written")) from error


def _accounts_file() -> Path:
    return user_folder() / "keys.json"
