"""Settings in layers: defaults < user file < agentkit.toml < environment < options.

Tables are merged key by key; any other value, a list too, replaces the one below it. Every value
remembers where it comes from, and what is wrong is said of the place it stands in. A layer that
moves a provider to another address takes nothing of the key from the layers below it, for a key
must not reach another server.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agentkit.errors import ConfigError
from agentkit.setting_names import Key, kind_of, parsed, unknown, written
from agentkit.settings import FILE_NAME, Settings
from agentkit.variables import from_variables

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
