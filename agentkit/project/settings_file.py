"""Change one key of a settings file: comments and layout stay, and nothing unsound is written.

The one file that loads tomlkit. A folder that was trusted stays so, for the user made the change;
the trust is of what else the folder held before, so that nothing slips in beside it.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError
from agentkit.project.demo import demo_path
from agentkit.project.trust import fingerprint, is_trusted, trust
from agentkit.settings.schema import (
    FILE_NAME,
    SCHEMA_LINE,
    Key,
    is_table,
    kind_of,
    typed,
    write_schema,
    written,
)
from agentkit.settings.sources import Layered, combined, file_layer, layer_of, user_file

Table = MutableMapping[str, Any]


@dataclass(frozen=True)
class SettingsFile:
    """A folder's agentkit.toml, or with `folder` None the user's own file."""

    folder: Path | None

    @property
    def path(self) -> Path:
        return user_file() if self.folder is None else self.folder / FILE_NAME

    def set(self, key: Key, text: str) -> Any:
        """Give a key the value that a text spells; returns it. Raises ConfigError, and then the
        file is as it was."""
        kind = kind_of(key)
        value = typed(text, kind)
        before = self._read()
        draft = _edited(before, lambda table: _put(table, key, value))
        if not is_table(kind):
            value = _at(self._checked(draft).settings.model_dump(), key)
        self._save(before, _edited(before, lambda table: _put(table, key, value)))
        return value

    def unset(self, key: Key) -> None:
        """Take a key out. Raises ConfigError where it is not there."""
        kind_of(key)
        before = self._read()
        if _at(tomllib.loads(before.removeprefix("\ufeff")), key) is None:
            raise ConfigError(
                f"{written(key)} does not stand in {self.path}. See where it comes from: "
                "agentkit config show --origin"
            )
        self._save(before, _edited(before, lambda table: _take(table, key)))

    def _read(self) -> str:
        """The text, with its line ends as they are; a new file's begins with the schema's place."""
        file_layer(self.path)
        if self.path.exists():
            with self.path.open(encoding="utf-8", newline="") as file:
                return file.read()
        return SCHEMA_LINE if self.folder else ""

    def _checked(self, text: str) -> Layered:
        """The settings that a text would make, with those of the user below a folder's."""
        below = (file_layer(user_file()),) if self.folder else ()
        return combined((*below, layer_of(text.removeprefix("\ufeff"), str(self.path))))

    def _save(self, before: str, after: str) -> None:
        self._checked(after)
        trusted = ""
        if self.folder and is_trusted(self.folder, demo_path()):
            trusted = fingerprint(self.folder, after.encode())
        is_new = not self.path.exists()
        self._replace(before, after)
        if self.folder and is_new:
            write_schema(self.folder)
        if self.folder and trusted:
            trust(self.folder, trusted)

    def _replace(self, before: str, after: str) -> None:
        """Whole or not at all, and only where nobody else wrote meanwhile."""
        path = self.path.resolve()
        new = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(after.encode())
            if path.exists():
                shutil.copymode(path, new)
            if path.exists() and self._read() != before:
                raise ConfigError(f"{path} has changed meanwhile. Try again.")
            new.replace(path)
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}.") from error
        finally:
            new.unlink(missing_ok=True)


def _edited(text: str, change: Callable[[Table], None]) -> str:
    """A text of TOML with a change that touches nothing else. Raises ConfigError where the layout
    does not allow that."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    wanted = tomllib.loads(text)
    change(wanted)
    try:
        document = tomlkit.parse(text)
        change(document)
        after = tomlkit.dumps(document)
        sound = _filled(tomllib.loads(after)) == _filled(wanted)
    except (TOMLKitError, tomllib.TOMLDecodeError, KeyError, TypeError):
        sound = False
    if not sound:
        raise ConfigError("The file's layout does not allow this change. Make it by hand.")
    return mark + after


def _put(table: Table, key: Key, value: Any) -> None:
    for part in key[:-1]:
        if not isinstance(table.get(part), MutableMapping):
            table[part] = {}
        table = table[part]
    table[key[-1]] = value


def _take(table: Table, key: Key) -> None:
    for part in key[:-1]:
        table = table[part]
    del table[key[-1]]


def _filled(table: Any) -> Any:
    """Without tables that hold nothing: a header may go with its last key."""
    if not isinstance(table, dict):
        return table
    filled = {name: _filled(value) for name, value in table.items()}
    return {name: value for name, value in filled.items() if value != {}}


def _at(table: Any, key: Key) -> Any:
    for part in key:
        table = table.get(part) if isinstance(table, MutableMapping) else None
    return table
