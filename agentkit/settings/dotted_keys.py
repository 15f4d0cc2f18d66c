"""Dotted names of settings, as in TOML: knowledge.results, prices."openai:gpt-5-mini".input."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from agentkit.errors import ConfigError
from agentkit.redaction import is_secret_name
from agentkit.settings.profile import SettingsTable
from agentkit.settings.schema import Settings

Key = tuple[str, ...]

PLACEHOLDERS = frozenset(("NAME", "MODEL"))
"""Stand-ins for names that the user chooses, in `known_keys`."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def parse_key(text: str) -> Key:
    """Split a dotted key into its parts. Raises ConfigError if it is not a TOML key."""
    try:
        table: Any = tomllib.loads(f"{text} = 0")
    except tomllib.TOMLDecodeError:
        table = {}
    parts: list[str] = []
    while isinstance(table, dict) and len(table) == 1:
        ((part, table),) = table.items()
        parts.append(part)
    if not parts or table != 0:
        raise ConfigError(
            f"Invalid key {text!r}. Write it as knowledge.results, and quote names with other "
            'characters, as in prices."openai:gpt-5-mini".input.'
        )
    return tuple(parts)


def format_key(key: Sequence[str]) -> str:
    """Write a key in TOML syntax."""
    return ".".join(
        part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in key
    )


def type_of(key: Key) -> Any:
    """Return the type of a key's value. Raises ConfigError with the nearest key."""
    kind: Any = Settings
    for depth, part in enumerate(key):
        below = _child_type(kind, part)
        if below is None:
            raise unknown_key_error(key[: depth + 1])
        kind = below
    return kind


def unknown_key_error(key: Key) -> ConfigError:
    """Describe an unknown key, with the nearest one and without its value."""
    if is_secret_name(key[-1]) and (key[0] == "providers" or "key" in key[-1].lower()):
        return ConfigError(
            f"{format_key(key)}: API keys are not allowed in settings, where others may read them. "
            "Name a variable that holds the key as api_key_env of the provider, or store the key "
            f"in the system's keyring: agentkit config key set {(*key[1:2], 'PROVIDER')[0]}"
        )
    near = _nearest_key(key)
    hint = f" Did you mean {near!r}?" if near else ""
    return ConfigError(f"Unknown setting {format_key(key)!r}.{hint}")


def _nearest_key(key: Key) -> str:
    """Return the most similar known key of the same table, else of any table, else ""."""
    siblings = _names_below(key[:-1])
    if near := get_close_matches(key[-1], siblings, n=1):
        return format_key((*key[:-1], *near))
    everywhere = {names[-1]: names for names in reversed(list(known_keys()))}
    near = get_close_matches(key[-1], everywhere, n=1)
    return format_key(everywhere[near[0]]) if near else ""


def known_keys(kind: Any = Settings, above: Key = ()) -> Iterator[Key]:
    """Yield every key, tables included, with PLACEHOLDERS for names that the user chooses."""
    for name, field in _fields(kind).items():
        yield (*above, name)
        yield from known_keys(field, (*above, name))


def parse_value(text: str, kind: Any) -> Any:
    """Parse a value from a variable or the command line: TOML, or plain text if the setting takes
    text."""
    value = _parse_toml(text)
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    accepted = [get_args(each)[0] if get_origin(each) is Annotated else each for each in choices]
    takes_list = any(get_origin(each) is list for each in accepted)
    if str not in accepted and get_origin(kind) is not Literal:
        return value
    return value if isinstance(value, str) or (takes_list and isinstance(value, list)) else text


def is_table(kind: Any) -> bool:
    """Whether a type is a table with keys of its own."""
    return bool(_fields(kind)) or get_origin(kind) is dict


def _parse_toml(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text


def _names_below(key: Key) -> Sequence[str]:
    kind: Any = Settings
    for part in key:
        kind = _child_type(kind, part)
    return [name for name in _fields(kind) if name not in PLACEHOLDERS]


def _child_type(kind: Any, part: str) -> Any:
    """Return the type one part further down a key, None if the part is unknown."""
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    return Any if kind is Any else _fields(kind).get(part)


def _fields(kind: Any) -> Mapping[str, Any]:
    if isinstance(kind, type) and issubclass(kind, SettingsTable):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if get_origin(kind) is dict and get_args(kind)[1] is not Any:
        free = "MODEL" if get_args(kind)[1].__name__ == "PriceSettings" else "NAME"
        return {free: get_args(kind)[1]}
    return {}
