"""`agentkit config show`: the settings as TOML, with who gave each.

Keys of providers are never printed: only whether there is one, and from where. Passwords in
addresses and fields that are named like a secret are left out too.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentkit.addresses import without_credentials
from agentkit.cli.language import spoken, translated
from agentkit.errors import ConfigError
from agentkit.project.trust import is_trusted
from agentkit.settings.keys import find_key, key_origin, known_providers, server_url
from agentkit.settings.schema import (
    FILE_NAME,
    Key,
    ProviderSettings,
    format_key,
    is_secret,
    parse_key,
    schema_text,
    type_of,
)
from agentkit.settings.sources import ResolvedSettings, read_settings, user_file

HIDDEN = "(not shown)"
_NOT_SET = "not set"


def show(folder: Path, name: str, origin: bool, as_object: bool) -> int:
    """Print what holds below a key, "" for all."""
    key = parse_key(name) if name else ()
    if key:
        type_of(key)
    layered = settings_of(folder)
    found = [(k, v) for k, v in _values(layered, key) if k[: len(key)] == key]
    keys = dict(_keys(layered, key))
    if as_object:
        print(json.dumps(_object(found, keys, layered), ensure_ascii=False, indent=2))
        return 0
    for at, value in found:
        print(_line(at, value, layered.origin(at) if origin else ""))
    for provider, state in keys.items():
        print(f"# {format_key(('providers', provider, 'api_key'))}: {translated(state)}")
    return 0


def path(folder: Path) -> int:
    """Print the files, the one that comes before the other last."""
    own = checked_folder(folder) / FILE_NAME
    trusted = is_trusted(folder)
    for file, used in ((user_file(), True), (own, trusted)):
        state = "" if file.exists() else translated("not there")
        if not used:
            state = translated("not used: this folder is not trusted")
        print(f"{file} ({state})" if state else str(file))
    return 0


def schema() -> int:
    print(schema_text(), end="")
    return 0


def settings_of(folder: Path) -> ResolvedSettings:
    """The settings that hold for a folder; what is left out is told on standard error."""
    trusted = is_trusted(checked_folder(folder))
    layered = read_settings(folder, trusted=trusted)
    own = folder / FILE_NAME
    unused = [] if trusted or not own.exists() else [f"{own} is not used: agentkit trust {folder}"]
    for notice in (*unused, *layered.notices):
        print(spoken("note:", notice), file=sys.stderr)
    return layered


def checked_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a directory. Name the folder of a project.")
    return folder


def _values(layered: ResolvedSettings, below: Key) -> Iterator[tuple[Key, Any]]:
    """Every setting with its value; of a provider, unless it is asked for, those that are given."""
    for key, value in _leaves((), layered.settings.model_dump()):
        if key[0] != "providers" or below[:2] == key[:2] or key in layered.origins:
            yield key, masked(key, value)


def _leaves(above: Key, value: Any) -> Iterator[tuple[Key, Any]]:
    if not isinstance(value, Mapping):
        yield above, value
        return
    for name, each in value.items():
        yield from _leaves((*above, name), each)


def masked(key: Key, value: Any) -> Any:
    if is_secret(key[-1]):
        return HIDDEN
    return without_credentials(value) if isinstance(value, str) and "://" in value else value


def _keys(layered: ResolvedSettings, below: Key) -> Iterator[tuple[str, str]]:
    """Which providers have a key, and from where; those of the settings that have none too."""
    for name, settings in known_providers(layered.settings.providers).items():
        if settings.kind != "openai" or below[:2] not in ((), ("providers",), ("providers", name)):
            continue
        state = _state(name, settings)
        if state != _NOT_SET or name in layered.settings.providers or below[1:] == (name,):
            yield name, state


def _state(provider: str, settings: ProviderSettings) -> str:
    url = server_url(provider, settings)
    if not (origin := key_origin(provider, settings, url)):
        return _NOT_SET
    try:
        if origin != "keyring":
            find_key(provider, settings, url)
    except ConfigError as error:
        return str(error)
    return f"set (from {origin})"


def _object(
    found: list[tuple[Key, Any]], keys: Mapping[str, str], layered: ResolvedSettings
) -> dict[str, Any]:
    return {
        "settings": [
            {"key": format_key(key), "value": value, "origin": layered.origin(key)}
            for key, value in found
        ],
        "keys": [{"provider": provider, "state": state} for provider, state in keys.items()],
    }


def _line(key: Key, value: Any, origin: str) -> str:
    told = f"  # {translated(origin)}" if origin else ""
    if value is None:
        return f"# {translated(f'{format_key(key)} is not set')}"
    return f"{format_key(key)} = {as_toml(value)}{told}"


def as_toml(value: Any) -> str:
    """A value as TOML writes it, with nothing that could drive a terminal."""
    if isinstance(value, float):
        return str(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{format_key((k,))} = {as_toml(v)}" for k, v in value.items()) + "}"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return re.sub(r"[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text)
