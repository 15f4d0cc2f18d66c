"""`agentkit config set` and `unset`: one setting of agentkit.toml, or of the user's own file."""

from __future__ import annotations

import sys
from pathlib import Path

from agentkit.cli.config import as_toml, checked_folder, masked, settings_of
from agentkit.cli.language import spoken, translated
from agentkit.project.trust import settings_file
from agentkit.settings.edit import SettingsFile
from agentkit.settings.schema import Key, format_key, parse_key
from agentkit.settings.sources import DEFAULT


def set_value(folder: Path, name: str, text: str, user: bool) -> int:
    """Write a setting and say what holds now, where another layer comes before it."""
    key, file = parse_key(name), _file(folder, user)
    value = file.set(key, text)
    print(f"{file.path}: {format_key(key)} = {as_toml(masked(key, value))}")
    _tell_of_another(folder, key, file)
    return 0


def unset(folder: Path, name: str, user: bool) -> int:
    key, file = parse_key(name), _file(folder, user)
    file.unset(key)
    print(f"{file.path}: {translated(f'{format_key(key)} is not set any more.')}")
    _tell_of_another(folder, key, file)
    return 0


def _file(folder: Path, user: bool) -> SettingsFile:
    return settings_file(None if user else checked_folder(folder))


def _tell_of_another(folder: Path, key: Key, file: SettingsFile) -> None:
    if not folder.is_dir():
        return
    origin = settings_of(folder).origin(key)
    if origin not in (DEFAULT, str(file.path)):
        print(spoken("note:", f"what holds in {folder} is given by {origin}"), file=sys.stderr)
