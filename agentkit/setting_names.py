"""The names of settings: dotted keys, what each may hold, and the nearest one to a wrong one.

A key is written as TOML writes it: knowledge.results, prices."openai:gpt-5-mini".input.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from agentkit.errors import ConfigError
from agentkit.settings import Section, Settings

Key = tuple[str, ...]

FREE = frozenset(("NAME", "MODEL"))
"""What stands for a name that the user chooses."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SECRET = re.compile(r"(^|[_-])(api_?key|key|token|secret|password|authorization)$", re.IGNORECASE)


def parsed(text: str) -> Key:
    """A dotted key in its parts. Raises ConfigError where it is no key of TOML."""
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
            f"{text!r} is no key of a setting: write it as knowledge.results, and a name with "
            'other characters in quotes, as in prices."openai:gpt-5-mini".input.'
        )
    return tuple(parts)


def written(key: Sequence[str]) -> str:
    """A key as TOML writes it."""
    return ".".join(
        part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in key
    )


def is_secret(name: str) -> bool:
    """Whether what stands under a name of this kind is never to be shown."""
    return bool(_SECRET.search(name))


def kind_of(key: Key) -> Any:
    """The type of what stands under a key. Raises ConfigError with the nearest key."""
    kind: Any = Settings
    for depth, part in enumerate(key):
        below = _below(kind, part)
        if below is None:
            raise unknown(key[: depth + 1])
        kind = below
    return kind


def unknown(key: Key) -> ConfigError:
    """What to say of a key that is none, without the value that stood there."""
    if is_secret(key[-1]) and (key[0] == "providers" or "key" in key[-1].lower()):
        return ConfigError(
            f"{written(key)}: a key does not belong among settings, where others may read it. Name "
            "the variable that holds it as api_key_env of the provider, or put it into the "
            f"system's keyring: agentkit config key set {(*key[1:2], 'PROVIDER')[0]}"
        )
    near = nearest(key)
    return ConfigError(
        f"{written(key)!r} is no setting.{f' Did you mean {near!r}?' if near else ''}"
    )


def nearest(key: Key) -> str:
    """The known key most like a wrong one, "" where none is: of its own table, or of another."""
    siblings = _names(key[:-1])
    if near := get_close_matches(key[-1], siblings, n=1):
        return written((*key[:-1], *near))
    everywhere = {names[-1]: names for names in reversed(list(known()))}
    near = get_close_matches(key[-1], everywhere, n=1)
    return written(everywhere[near[0]]) if near else ""


def known(kind: Any = Settings, above: Key = ()) -> Iterator[Key]:
    """Every key there is, tables too, with FREE for names that the user chooses."""
    for name, field in _fields(kind).items():
        yield (*above, name)
        yield from known(field, (*above, name))


def typed(text: str, kind: Any) -> Any:
    """A value from text, as a variable or a command line gives it: TOML, or the bare text where
    the setting takes text."""
    value = _toml(text)
    taken = [_bare(each) for each in _choices(kind)]
    takes_list = any(get_origin(each) is list for each in taken)
    if str not in taken and get_origin(kind) is not Literal:
        return value
    return value if isinstance(value, str) or (takes_list and isinstance(value, list)) else text


def is_table(kind: Any) -> bool:
    """Whether keys of its own stand below."""
    return bool(_fields(kind)) or get_origin(kind) is dict


def _toml(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
    return found["value"] if len(found) == 1 else text


def _choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _names(key: Key) -> Sequence[str]:
    kind: Any = Settings
    for part in key:
        kind = _below(kind, part)
    return [name for name in _fields(kind) if name not in FREE]


def _below(kind: Any, part: str) -> Any:
    """The type under one more part of a key, None where there is nothing."""
    if get_origin(kind) is dict:
        return get_args(kind)[1]
    return Any if kind is Any else _fields(kind).get(part)


def _fields(kind: Any) -> Mapping[str, Any]:
    if isinstance(kind, type) and issubclass(kind, Section):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    if get_origin(kind) is dict and get_args(kind)[1] is not Any:
        free = "MODEL" if get_args(kind)[1].__name__ == "PriceSettings" else "NAME"
        return {free: get_args(kind)[1]}
    return {}
