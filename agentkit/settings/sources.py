"""Layers of settings: defaults < user file < agentkit.toml < environment < options.

Tables are merged key by key; any other value, lists included, replaces the one below it. Each
value keeps its origin, which errors name. A layer that changes a provider's base_url drops the
api_key_env and api_key_file of the layers below it: a key must not reach another server.

In the environment two underscores lead into a table: AGENTKIT_KNOWLEDGE__RESULTS. Names that the
user chooses (of providers, models) are those in the files, else lower case. A name that a variable
cannot spell goes into the variable of its table, in TOML:
AGENTKIT_PRICES='{"openai:gpt-5-mini" = {...}}'. Empty variables are ignored.
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

from agentkit._files import read_regular
from agentkit.errors import ConfigError, file_error, value_error
from agentkit.settings.dotted_keys import (
    Key,
    format_key,
    known_keys,
    parse_key,
    parse_value,
    type_of,
    unknown_key_error,
)
from agentkit.settings.schema import FILE_NAME, Settings

DEFAULT, OPTION = "default", "option"
PREFIX = "AGENTKIT_"
RESERVED = frozenset(
    PREFIX + name
    for name in (
        "DEBUG", "LANG", "SCREEN_READER", "MCP_DEPTH", "CHAOS_SEEDS", "SMOLLM2_QUESTIONS",
        "WRITE_SCREENS",
    )
)  # fmt: skip
"""Variables of agentkit that are not settings."""

_RESERVED_PREFIXES = (PREFIX + "TEST_", PREFIX + "INPUT_")
_MAX_BYTES = 1_000_000
_KEY_SOURCES = ("api_key_env", "api_key_file")


@dataclass(frozen=True)
class Setting:
    """One value and its origin: the path of a file, the name of a variable, or OPTION."""

    key: Key
    value: Any
    origin: str


Layer = Sequence[Setting]


@dataclass(frozen=True)
class ResolvedSettings:
    """Merged settings, the origin of each value that is not a default, and notices to show."""

    settings: Settings
    origins: Mapping[Key, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def origin(self, key: Key) -> str:
        return self.origins.get(key, DEFAULT)


def user_folder() -> Path:
    """Return the folder of the user's own configuration."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "agentkit"


def cache_folder() -> Path:
    """Return the folder for files that can be made again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "agentkit"


def user_file() -> Path:
    return user_folder() / "config.toml"


def write_private(path: Path, text: str) -> None:
    """Write a file that only the user can read, atomically. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def read_settings(
    folder: Path,
    *,
    trusted: bool = True,
    overrides: Mapping[str, Any] | None = None,
    content: bytes | None = None,
) -> ResolvedSettings:
    """Read the settings of a folder; agentkit.toml only if it is trusted, from `content` where it
    was read before. Overrides of None are ignored. Raises ConfigError."""
    own = file_layer(folder / FILE_NAME, content) if trusted else ()
    files = (file_layer(user_file()), own)
    names = {setting.key[1] for layer in files for setting in layer if len(setting.key) > 1}
    environment, notices = _environment_layer(os.environ, names)
    return merge_layers((*files, environment, _options_layer(overrides or {})), notices)


def merge_layers(layers: Iterable[Layer], notices: Sequence[str] = ()) -> ResolvedSettings:
    """Merge and validate layers; later ones take precedence. Raises ConfigError."""
    merged: dict[Key, Setting] = {}
    for layer in layers:
        for setting in layer:
            if _moves_provider(setting, merged):
                for source in _KEY_SOURCES:
                    merged.pop((*setting.key[:2], source), None)
        for setting in layer:
            _merge(setting, merged)
    origins = {key: setting.origin for key, setting in merged.items()}
    try:
        settings = Settings.model_validate(_nested(merged.values()))
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        messages = dict.fromkeys(_describe_fault(fault, origins) for fault in faults)
        raise ConfigError("; ".join(messages)) from None
    return ResolvedSettings(settings, origins, tuple(notices))


def file_layer(path: Path, content: bytes | None = None) -> Layer:
    """Read the settings of a file, none if it does not exist; `content` is what was read of it
    before. Raises ConfigError."""
    if content is None and not os.path.exists(path):
        return ()
    try:
        size = path.stat().st_size if content is None else len(content)
        if size > _MAX_BYTES:
            raise ConfigError(f"{path} is larger than 1 MB, the limit of a settings file.")
        content = read_regular(path) if content is None else content
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(file_error(path, error)) from error
    return text_layer(text, str(path))


def text_layer(text: str, origin: str) -> Layer:
    """Parse the settings of a TOML text. Raises ConfigError."""
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{origin}: invalid TOML: {error}") from None
    return list(_leaves((), found, origin)) if found else ()


def _environment_layer(environ: Mapping[str, str], names: Iterable[str]) -> tuple[Layer, list[str]]:
    """Read the settings of the environment, and notices of unknown variables. `names` are the
    user's names of providers and models.

    An unknown key inside a known table raises ConfigError, as in a file; any other variable may
    belong to another program or a newer agentkit, and yields a notice."""
    spellings = {re.sub(r"\W", "_", name.lower(), flags=re.ASCII): name for name in names}
    settings: list[Setting] = []
    notices: list[str] = []
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or not environ[variable] or is_reserved(variable):
            continue
        key = tuple(variable.removeprefix(PREFIX).lower().split("__"))
        key = (*key[:1], *(spellings.get(name, name) for name in key[1:2]), *key[2:])
        if key[0] not in Settings.model_fields:
            notices.append(_unknown_variable(variable))
            continue
        try:
            kind = type_of(key)
        except ConfigError as error:
            raise ConfigError(f"{variable}: {error}") from None
        settings += _leaves(key, parse_value(environ[variable], kind), variable)
    return settings, notices


def is_reserved(variable: str) -> bool:
    """Whether a variable belongs to agentkit but is not a setting."""
    return variable in RESERVED or variable.startswith(_RESERVED_PREFIXES)


def _unknown_variable(variable: str) -> str:
    names = {"__".join(key).upper() for key in known_keys()}
    names |= {name.removeprefix(PREFIX) for name in RESERVED}
    near = get_close_matches(variable.removeprefix(PREFIX), sorted(names), n=1)
    hint = f" Did you mean {PREFIX}{near[0]}?" if near else ""
    return f"{variable} is ignored: unknown setting.{hint}"


def _options_layer(overrides: Mapping[str, Any]) -> Layer:
    """Read overrides, by dotted keys. Raises ConfigError."""
    settings: list[Setting] = []
    for name, value in overrides.items():
        if value is not None:
            key = parse_key(name)
            type_of(key)
            settings += _leaves(key, value, OPTION)
    return settings


def _leaves(key: Key, value: Any, origin: str) -> Iterator[Setting]:
    """Yield the values of nested tables; an empty table is a value."""
    if isinstance(value, Mapping) and value:
        for name, below in value.items():
            yield from _leaves((*key, name), below, origin)
    else:
        yield Setting(key, value, origin)


def _moves_provider(setting: Setting, merged: Mapping[Key, Setting]) -> bool:
    """Whether a layer gives a provider another address than the layers below it."""
    if setting.key[0] != "providers" or setting.key[2:] != ("base_url",):
        return False
    below = merged.get(setting.key)
    return below is None or below.value != setting.value


def _merge(setting: Setting, merged: dict[Key, Setting]) -> None:
    """Put a setting in place of its key, and of tables or values that it replaces."""
    key = setting.key
    below = [known for known in merged if known[: len(key)] == key]
    if setting.value == {} and any(len(known) > len(key) for known in below):
        return
    above = [key[:length] for length in range(1, len(key))]
    for known in (*below, *above):
        merged.pop(known, None)
    merged[key] = setting


def _nested(settings: Iterable[Setting]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for setting in settings:
        table = values
        for part in setting.key[:-1]:
            table = table.setdefault(part, {})
        table[setting.key[-1]] = setting.value
    return values


def _describe_fault(fault: Mapping[str, Any], origins: Mapping[Key, str]) -> str:
    """Describe a validation error with its origin and key, never with the value."""
    place = tuple(map(str, fault["loc"]))
    key = next((k for k in origins if place[: len(k)] == k), place)
    origin = origins.get(key) or _origin_near(place, origins)
    if fault["type"] == "extra_forbidden":
        message = str(unknown_key_error(place))
    else:
        message = f"{format_key(key)}: {value_error(fault, 'a table, such as [knowledge]')}"
    return message if origin in ("", OPTION) else f"{origin}: {message}"


def _origin_near(place: Key, origins: Mapping[Key, str]) -> str:
    """Return the origin of a value below a key, else in the same table, else ""."""
    for table in (place, place[:-1]):
        for key, origin in origins.items():
            if table and key[: len(table)] == table:
                return origin
    return ""
