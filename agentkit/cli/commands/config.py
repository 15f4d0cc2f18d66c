"""`agentkit config`: show and change settings, and store providers' keys in the keyring.

Keys of providers are never printed, only whether there is one and where it comes from. Passwords in
addresses and fields named like a secret are masked.
"""

from __future__ import annotations

import json as json_module
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from agentkit.cli.command import Folder, Json, command, complete_settings, group
from agentkit.cli.i18n import _
from agentkit.cli.text import strip_controls
from agentkit.errors import ConfigError, require_directory
from agentkit.findings import for_folder
from agentkit.text.hidden import TERMINAL_UNSAFE

if TYPE_CHECKING:
    from agentkit.settings.dotted_keys import Key
    from agentkit.settings.edit import SettingsFile
    from agentkit.settings.schema import ProviderSettings
    from agentkit.settings.sources import ResolvedSettings

HIDDEN = "(not shown)"
_NOT_SET = "not set"
_LONGEST_KEY = 8192
_NO_PLUGINS = ("PYDANTIC_DISABLE_PLUGINS", "__all__")
"""pydantic searches all installed packages for plugins, which takes longer than our own work."""

app = group("config", _("Show and change the settings, and where each comes from."))
keys = group("key", _("Store a provider's key in the system's keyring."))
app.add_typer(keys)

SettingName = Annotated[
    str,
    Argument(
        help=_("Such as knowledge.results or providers.work.base_url."),
        autocompletion=complete_settings,
    ),
]
User = Annotated[bool, Option("--user", help=_("In your own file, for all folders."))]
Provider = Annotated[str, Argument(help=_("Such as openai, or one of your own."))]


@command(
    app,
    "show",
    _("Print the settings in force, as TOML; of an API key only whether it is set."),
    "agentkit config show --origin",
    "agentkit config show knowledge.results",
)
def show(
    key: Annotated[
        str,
        Argument(help=_("One setting or table; default: all."), autocompletion=complete_settings),
    ] = "",
    folder: Folder = Path(),
    origin: Annotated[
        bool, Option("--origin", help=_("Print where each value comes from."))
    ] = False,
    json: Json = False,
) -> None:
    os.environ.setdefault(*_NO_PLUGINS)
    from agentkit.settings.dotted_keys import format_key, parse_key, type_of

    below = parse_key(key) if key else ()
    if below:
        type_of(below)
    layered = _read(folder)
    values = [(k, v) for k, v in _values(layered, below) if k[: len(below)] == below]
    states = dict(_key_states(layered, below))
    if json:
        settings = [
            {"key": format_key(k), "value": value, "origin": layered.origin(k)}
            for k, value in values
        ]
        found = [{"provider": provider, "state": state} for provider, state in states.items()]
        from agentkit.cli.console import print_json

        print_json({"settings": settings, "keys": found})
        return
    for k, value in values:
        comment = f"  # {layered.origin(k)}" if origin else ""
        if value is None:
            print(f"# {format_key(k)} is not set")
        else:
            print(f"{format_key(k)} = {_as_toml(value)}{comment}")
    for provider, state in states.items():
        print(f"# {format_key(('providers', provider, 'api_key'))}: {state}")


@command(
    app,
    "set",
    _("Write one setting into agentkit.toml; comments and layout stay."),
    "agentkit config set model ollama:qwen3:8b",
    "agentkit config set knowledge.results 8 --user",
)
def set_value(
    key: SettingName,
    value: Annotated[str, Argument(help=_('Text, or TOML such as 8, true or ["a", "b"].'))],
    folder: Folder = Path(),
    user: User = False,
) -> None:
    from agentkit.settings.dotted_keys import format_key, parse_key

    name, file = parse_key(key), _settings_file(folder, user)
    new = file.set(name, value)
    print(f"{file.path}: {format_key(name)} = {_as_toml(_masked(name, new))}")
    _note_override(folder, name, file)


@command(
    app,
    "unset",
    _("Remove one setting from agentkit.toml."),
    "agentkit config unset knowledge.results",
)
def unset(key: SettingName, folder: Folder = Path(), user: User = False) -> None:
    from agentkit.settings.dotted_keys import format_key, parse_key

    name, file = parse_key(key), _settings_file(folder, user)
    file.unset(name)
    print(f"{file.path}: {format_key(name)} is removed.")
    _note_override(folder, name, file)


@command(app, "path", _("Print the files that settings are read from."), "agentkit config path")
def path(folder: Folder = Path()) -> None:
    from agentkit.project.trust import is_trusted
    from agentkit.settings.schema import FILE_NAME
    from agentkit.settings.sources import user_file

    own = require_directory(folder) / FILE_NAME
    for file, is_used in ((user_file(), True), (own, is_trusted(folder))):
        if not is_used:
            print(f"{file} (not used: this folder is not trusted)")
        else:
            print(file if file.exists() else f"{file} (does not exist)")


@command(
    app,
    "schema",
    _("Print the JSON Schema of agentkit.toml, for editors."),
    "agentkit config schema > agentkit.schema.json",
)
def schema() -> None:
    from agentkit.settings.schema import schema_text

    print(schema_text(), end="")


@command(
    keys,
    "set",
    _("Store a key: typed without echo, or the first line of standard input."),
    "agentkit config key set openai",
)
def set_key(provider: Provider, folder: Folder = Path()) -> None:
    from getpass import getpass

    from agentkit.settings.keys import (
        check_key,
        key_origin,
        keyring_account,
        server_url,
        store_key,
    )

    settings = _provider(folder, provider)
    url = server_url(provider, settings)
    name = keyring_account(provider, url)
    is_typed = sys.stdin.isatty()
    key = getpass(f"Key of {provider}: ") if is_typed else sys.stdin.readline(_LONGEST_KEY)
    store = store_key(name, check_key(key, "the input"))
    print(f"The key of {name} is in the keyring: {store}")
    if (origin := key_origin(provider, settings, url)) != "keyring":
        print(f"note: the key from {origin} takes precedence", file=sys.stderr)


@command(keys, "remove", _("Remove a key from the keyring."), "agentkit config key remove openai")
def remove_key(provider: Provider, folder: Folder = Path()) -> None:
    from agentkit.settings.keys import keyring_account, server_url
    from agentkit.settings.keys import remove_key as delete_key

    name = keyring_account(provider, server_url(provider, _provider(folder, provider)))
    delete_key(name)
    print(f"The key of {name} is removed from the keyring.")


def _read(folder: Path) -> ResolvedSettings:
    """The settings in force for a folder; notices go to standard error."""
    from agentkit.project.trust import is_trusted
    from agentkit.settings.schema import FILE_NAME
    from agentkit.settings.sources import read_settings

    trusted = is_trusted(require_directory(folder))
    layered = read_settings(folder, trusted=trusted)
    own = folder / FILE_NAME
    step = for_folder("agentkit trust", folder)
    unused = [] if trusted or not own.exists() else [f"{own} is not used: {step}"]
    for notice in (*unused, *layered.notices):
        print(strip_controls(f"note: {notice}"), file=sys.stderr)
    return layered


def _settings_file(folder: Path, user: bool) -> SettingsFile:
    from agentkit.project.trust import settings_file

    return settings_file(None if user else require_directory(folder))


def _note_override(folder: Path, key: Key, file: SettingsFile) -> None:
    """Print a note where the value in force comes from elsewhere than the changed file."""
    from agentkit.settings.sources import DEFAULT

    if folder.is_dir():
        origin = _read(folder).origin(key)
        if origin not in (DEFAULT, str(file.path)):
            print(f"note: the value in force in {folder} comes from {origin}", file=sys.stderr)


def _values(layered: ResolvedSettings, below: Key) -> Iterator[tuple[Key, Any]]:
    """Every setting with its value; of a provider only those given, unless it is asked for."""
    for key, value in _leaves((), layered.settings.model_dump()):
        if key[0] != "providers" or below[:2] == key[:2] or key in layered.origins:
            yield key, _masked(key, value)


def _leaves(above: Key, value: Any) -> Iterator[tuple[Key, Any]]:
    if not isinstance(value, Mapping):
        yield above, value
        return
    for name, each in value.items():
        yield from _leaves((*above, name), each)


def _masked(key: Key, value: Any) -> Any:
    from agentkit.redaction import is_secret_name, redact

    if is_secret_name(key[-1]) or "headers" in key:
        return HIDDEN
    if isinstance(value, list):
        return [_masked(key, each) for each in value]
    return redact(value) if isinstance(value, str) else value


def _key_states(layered: ResolvedSettings, below: Key) -> Iterator[tuple[str, str]]:
    """Providers that have a key and where it comes from; those of the settings without one too."""
    from agentkit.settings.keys import known_providers

    for name, settings in known_providers(layered.settings.providers).items():
        if settings.kind != "openai" or below[:2] not in ((), ("providers",), ("providers", name)):
            continue
        state = _key_state(name, settings)
        if state != _NOT_SET or name in layered.settings.providers or below[1:] == (name,):
            yield name, state


def _key_state(provider: str, settings: ProviderSettings) -> str:
    from agentkit.settings.keys import find_key, key_origin, server_url

    url = server_url(provider, settings)
    if not (origin := key_origin(provider, settings, url)):
        return _NOT_SET
    try:
        if origin != "keyring":
            find_key(provider, settings, url)
    except ConfigError as error:
        return str(error)
    return f"set (from {origin})"


def _provider(folder: Path, name: str) -> ProviderSettings:
    from difflib import get_close_matches

    from agentkit.settings.keys import known_providers

    known = {
        provider: settings
        for provider, settings in known_providers(_read(folder).settings.providers).items()
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


def _as_toml(value: Any) -> str:
    """A value as TOML, without characters that could control a terminal."""
    from agentkit.settings.dotted_keys import format_key

    if isinstance(value, float):
        return str(value)
    if isinstance(value, Mapping):
        return (
            "{" + ", ".join(f"{format_key((k,))} = {_as_toml(v)}" for k, v in value.items()) + "}"
        )
    text = json_module.dumps(value, ensure_ascii=False, default=str)
    return TERMINAL_UNSAFE.sub(lambda found: f"\\U{ord(found[0]):08x}", text)
