"""Settings in layers: defaults < user file < agentkit.toml < environment < options.

Tables are merged key by key; any other value, a list too, replaces the one below it. Every value
remembers where it comes from, and what is wrong is said of the place it stands in. A layer that
moves a provider to another address takes nothing of the key from the layers below it, for a key
must not reach another server.

Settings out of the environment: AGENTKIT_MODEL, AGENTKIT_KNOWLEDGE__RESULTS.

Two underscores lead into a table. A name that is free (a provider's, a model's) is the one a table
below has, else the variable's in small letters; what a variable's name cannot spell goes into the
table's own variable, written in TOML: AGENTKIT_PRICES='{"openai:gpt-5-mini" = {...}}'. A variable
that is empty counts as not set.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentkit.errors import ConfigError
from agentkit.settings.schema import (
    FILE_NAME,
    Key,
    Settings,
    kind_of,
    known,
    parsed,
    typed,
    unknown,
    written,
)

PREFIX = "AGENTKIT_"
RESERVED = frozenset(
    PREFIX + name
    for name in (
        "DEBUG", "LANG", "SCREEN_READER", "MCP_DEPTH", "CHAOS_SEEDS", "SMOLLM2_QUESTIONS",
        "WRITE_SCREENS",
    )
)  # fmt: skip
RESERVED_BEGINNINGS = (PREFIX + "TEST_", PREFIX + "INPUT_")


def from_variables(
    environ: Mapping[str, str], names: Iterable[str] = ()
) -> tuple[list[tuple[str, Key, Any]], list[str]]:
    """(variable, key, value) of each setting, and what to tell the user of names that are none.
    `names` are the free names that are known.

    A wrong name inside one of our tables raises ConfigError, as in a file; another one may belong
    to another program or a newer agentkit, and is only said."""
    spelled = {_spelled(name): name for name in names}
    found: list[tuple[str, Key, Any]] = []
    notices: list[str] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or not environ[name] or is_reserved(name):
            continue
        key = _key_of(name, spelled)
        if key[0] not in Settings.model_fields:
            notices.append(_unknown(name))
            continue
        try:
            kind = kind_of(key)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
        found.append((name, key, typed(environ[name], kind)))
    return found, notices


def _key_of(name: str, spelled: Mapping[str, str]) -> Key:
    first, *rest = name.removeprefix(PREFIX).lower().split("__")
    return (first, *(spelled.get(part, part) if n == 0 else part for n, part in enumerate(rest)))


def _spelled(name: str) -> str:
    """A free name as a variable can spell it."""
    return re.sub(r"\W", "_", name.lower(), flags=re.ASCII)


def name_of(key: Key) -> str:
    """The variable that sets a key."""
    return PREFIX + "__".join(key).upper()


def is_reserved(name: str) -> bool:
    """Whether a variable is ours and no setting."""
    return name in RESERVED or name.startswith(RESERVED_BEGINNINGS)


def _unknown(name: str) -> str:
    names = {name_of(key) for key in known()} | RESERVED
    plain = sorted(each.removeprefix(PREFIX) for each in names)
    near = get_close_matches(name.removeprefix(PREFIX), plain, n=1)
    hint = f" Did you mean {PREFIX}{near[0]}?" if near else ""
    return f"{name} sets nothing: it is no setting.{hint}"


DEFAULT, OPTION = "default", "option"
_MOST_BYTES = 1_000_000
_KEY_PLACES = ("api_key_env", "api_key_file")


@dataclass(frozen=True)
class Given:
    """One value, and who says so: a file's path, a variable's name, or an option."""

    key: Key
    value: Any
    origin: str


@dataclass(frozen=True)
class Layered:
    """The settings that hold, and for each key that is not at its default, who gave it."""

    settings: Settings
    origins: Mapping[Key, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def origin(self, key: Key) -> str:
        """Who gave the value of a key."""
        return self.origins.get(key, DEFAULT)


Layer = Sequence[Given]


def user_folder() -> Path:
    """Where a user's own configuration lies."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "agentkit"


def user_file() -> Path:
    return user_folder() / "config.toml"


def read_settings(
    folder: Path, *, trusted: bool = True, overrides: Mapping[str, Any] | None = None
) -> Layered:
    """The settings of a folder. Of one that is not trusted, agentkit.toml is not read. An override
    of None counts as not given. Raises ConfigError."""
    files = (file_layer(user_file()), file_layer(folder / FILE_NAME) if trusted else ())
    environment, notices = environment_layer(files)
    return combined((*files, environment, options_layer(overrides or {})), notices)


def combined(layers: Iterable[Layer], notices: Sequence[str] = ()) -> Layered:
    """Layers as one, the later before the earlier. Raises ConfigError."""
    values: dict[str, Any] = {}
    origins: dict[Key, str] = {}
    for layer in layers:
        for key in _keys_left_behind(layer, values):
            _drop(values, origins, key)
        for given in layer:
            _put(values, origins, given)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explained(error, origins)) from None
    return Layered(settings, origins, tuple(notices))


def file_layer(path: Path) -> Layer:
    """What a file says; one that is not there says nothing. Raises ConfigError."""
    if not os.path.exists(path):
        return ()
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{path} is too large for settings: 1 MB is the most.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    return layer_of(text, str(path))


def layer_of(text: str, origin: str) -> Layer:
    """What a TOML text says. Raises ConfigError."""
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{origin} is no TOML: {error}") from None
    return _spread(Given((name,), value, origin) for name, value in found.items())


def environment_layer(below: Iterable[Layer]) -> tuple[Layer, list[str]]:
    """What the environment says, and notices of variables that say nothing. Raises ConfigError."""
    names = {given.key[1] for layer in below for given in layer if len(given.key) > 1}
    found, notices = from_variables(os.environ, names)
    return _spread(Given(key, value, name) for name, key, value in found), notices


def options_layer(overrides: Mapping[str, Any]) -> Layer:
    """What options say, by dotted keys."""
    given = [(parsed(name), value) for name, value in overrides.items() if value is not None]
    for key, _ in given:
        kind_of(key)
    return _spread(Given(key, value, OPTION) for key, value in given)


def _spread(layer: Iterable[Given]) -> Layer:
    """Tables down to their values; an empty table stays."""
    return [leaf for given in layer for leaf in _leaves(given)]


def _leaves(given: Given) -> Iterator[Given]:
    if not isinstance(given.value, Mapping) or not given.value:
        yield given
        return
    for name, value in given.value.items():
        yield from _leaves(Given((*given.key, name), value, given.origin))


def _keys_left_behind(layer: Layer, values: Mapping[str, Any]) -> list[Key]:
    """Where the layers below keep keys of providers that this layer moves."""
    moved = [
        given.key[:2]
        for given in layer
        if given.key[0] == "providers"
        and given.key[2:] == ("base_url",)
        and _at(values, given.key) != given.value
    ]
    return [(*provider, place) for provider in moved for place in _KEY_PLACES]


def _at(values: Any, key: Key) -> Any:
    for part in key:
        values = values.get(part) if isinstance(values, dict) else None
    return values


def _drop(values: dict[str, Any], origins: dict[Key, str], key: Key) -> None:
    table = _at(values, key[:-1])
    if isinstance(table, dict):
        table.pop(key[-1], None)
    origins.pop(key, None)


def _put(values: dict[str, Any], origins: dict[Key, str], given: Given) -> None:
    table = values
    for part in given.key[:-1]:
        if not isinstance(table.get(part), dict):
            table[part] = {}
        table = table[part]
    is_empty_table = given.value == {} and isinstance(table.get(given.key[-1]), dict)
    if is_empty_table:
        return
    for key in [key for key in origins if key[: len(given.key)] == given.key]:
        del origins[key]
    table[given.key[-1]] = dict(given.value) if isinstance(given.value, Mapping) else given.value
    origins[given.key] = given.origin


def _explained(error: ValidationError, origins: Mapping[Key, str]) -> str:
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(dict.fromkeys(_fault(fault, origins) for fault in faults))


def _fault(fault: Mapping[str, Any], origins: Mapping[Key, str]) -> str:
    """One fault, with the place where it stands and never with the value."""
    place = tuple(map(str, fault["loc"]))
    key = next((k for k in origins if place[: len(k)] == k), place)
    origin = origins.get(key) or _beside(place, origins)
    is_unknown = fault["type"] == "extra_forbidden"
    why = fault["msg"].removeprefix("Value error, ")
    said = str(unknown(place)) if is_unknown else f"{written(key)}: {why}"
    return said if origin in ("", OPTION) else f"{origin}: {said}"


def _beside(place: Key, origins: Mapping[Key, str]) -> str:
    """Who gave what stands below a place, or beside it in its table."""
    for table in (place, place[:-1]):
        for key, origin in origins.items():
            if table and key[: len(table)] == table:
                return origin
    return ""
