"""The key of a provider: looked for in its variable, its file, then the system's keyring.

A key is never shown, written to a log or put into an error; only where it comes from is. One in the
keyring belongs to the address it was stored for, so that it reaches no other server.

Which providers are known without settings, and how a user's settings complete them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import agentkit.settings.keyring as vault
from agentkit.addresses import is_loopback
from agentkit.errors import ConfigError
from agentkit.settings.schema import ProviderSettings

_LONGEST = 4096


@dataclass(frozen=True)
class Key:
    """A key, and where it was found: "env OPENAI_API_KEY", "file ~/key" or "keyring"."""

    value: str = field(repr=False)
    origin: str


def key_for(
    provider: str, settings: ProviderSettings, url: str | None, needed: bool = True
) -> str | None:
    """The key, if there is one. Only a provider with a name for it, away from this machine,
    must have one. Raises ConfigError."""
    if key := find_key(provider, settings, url):
        return key.value
    if settings.api_key_env and needed and not is_loopback(url or ""):
        raise ConfigError(
            f"{provider!r} needs a key: set the environment variable {settings.api_key_env}, run "
            f"`agentkit config key set {provider}`, or give a base_url for a server without one."
        )
    return None


def find_key(provider: str, settings: ProviderSettings, url: str | None) -> Key | None:
    """The key and its place, None where there is none. Raises ConfigError where one is unfit."""
    origin = place(provider, settings, url)
    kind, _, name = origin.partition(" ")
    match kind:
        case "env":
            return Key(fit(os.environ[name], f"the variable {name}"), origin)
        case "file":
            return Key(_from_file(Path(name)), origin)
        case "keyring":
            return Key(fit(vault.load(vault.account(provider, url)), "the keyring"), origin)
    return None


def place(provider: str, settings: ProviderSettings, url: str | None) -> str:
    """Where the key is: "env NAME", "file PATH", "keyring", or "" where there is none. Nothing is
    opened for it."""
    if settings.api_key_env and os.environ.get(settings.api_key_env):
        return f"env {settings.api_key_env}"
    if settings.api_key_file:
        return f"file {Path(settings.api_key_file).expanduser()}"
    return "keyring" if vault.holds(vault.account(provider, url)) else ""


def fit(key: str, origin: str) -> str:
    """The key without the white space around it. Raises ConfigError where it cannot be one: sent as
    a header it would end up in an error of the HTTP library."""
    key = key.strip()
    if not key or len(key) > _LONGEST or not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(
            f"What {origin} holds is no key: one word of ASCII, {_LONGEST} characters at most."
        )
    return key


def _from_file(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with open(descriptor, encoding="utf-8") as file:
            _refuse_open_to_others(path, os.fstat(descriptor))
            return fit(file.read(_LONGEST + 2), str(path))
    except UnicodeDecodeError:
        raise ConfigError(f"What {path} holds is no key: it is no text.") from None
    except OSError as error:
        raise ConfigError(
            f"The key's file {path} cannot be read ({error.strerror}). Write the key there, or "
            "change api_key_file."
        ) from error


def _refuse_open_to_others(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path} is no file. Name a file that holds the key as api_key_file.")
    if os.name == "posix" and found.st_mode & 0o077:
        raise ConfigError(f"Others may read the key in {path}. Run: chmod 600 {path}")


PRESETS: Mapping[str, ProviderSettings] = {
    "openai": ProviderSettings(api_key_env="OPENAI_API_KEY"),
    "ollama": ProviderSettings(kind="ollama"),
    "hf": ProviderSettings(kind="hf"),
    "gguf": ProviderSettings(kind="gguf"),
    "deepseek": ProviderSettings(
        base_url="https://api.deepseek.com/v1", api_key_env="DEEPSEEK_API_KEY"
    ),
    "moonshot": ProviderSettings(
        base_url="https://api.moonshot.cn/v1", api_key_env="MOONSHOT_API_KEY"
    ),
    "dashscope": ProviderSettings(
        base_url="https://dashscope.aliyuncs.com/compatible-mode/v1",
        api_key_env="DASHSCOPE_API_KEY",
    ),
    "lmstudio": ProviderSettings(base_url="http://127.0.0.1:1234/v1"),
    "llamacpp": ProviderSettings(base_url="http://127.0.0.1:8080/v1"),
    "vllm": ProviderSettings(base_url="http://127.0.0.1:8000/v1"),
}


def known_providers(providers: Mapping[str, ProviderSettings]) -> dict[str, ProviderSettings]:
    """The presets and the user's own."""
    return {**PRESETS, **{key: _completed(key, value) for key, value in providers.items()}}


def server_url(provider: str, settings: ProviderSettings) -> str | None:
    """Where a provider's server is, if anything says it."""
    if settings.base_url is None and provider == "openai":
        return os.environ.get("OPENAI_BASE_URL") or None
    return settings.base_url


def _completed(name: str, settings: ProviderSettings) -> ProviderSettings:
    """The settings of a known provider where the user left them out; its key only where the
    address is left out too, since a key must not reach another server."""
    preset = PRESETS.get(name)
    if preset is None:
        return settings
    given = {key: getattr(settings, key) for key in settings.model_fields_set}
    if settings.base_url is not None:
        preset = preset.model_copy(update={"api_key_env": None})
    return preset.model_copy(update=given)
