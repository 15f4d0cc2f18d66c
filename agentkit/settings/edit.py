"""Change one key of a settings file, keeping comments and layout.

Nothing invalid is written, and a file that another program changed meanwhile is left alone.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError, file_error
from agentkit.settings.dotted_keys import (
    Key,
    format_key,
    is_table,
    parse_value,
    type_of,
)
from agentkit.settings.schema import FILE_NAME, SCHEMA_LINE, write_schema
from agentkit.settings.sources import (
    ResolvedSettings,
    file_layer,
    merge_layers,
    text_layer,
    user_file,
)

Table = MutableMapping[str, Any]


@dataclass(frozen=True)
class SettingsFile:
    """The agentkit.toml of a folder, or with `folder` None the user's file. A folder's file is
    replaced inside `guard`, which gets its new contents."""

    folder: Path | None
    guard: Callable[[Path, bytes], AbstractContextManager[None]]

    @property
    def path(self) -> Path:
        return user_file() if self.folder is None else self.folder / FILE_NAME

    def set(self, key: Key, text: str) -> Any:
        """Set a key to a value given as text and return the value. Raises ConfigError and leaves
        the file unchanged if the result would be invalid."""
        kind = type_of(key)
        value = parse_value(text, kind)
        before = self._read()
        draft = _edit(before, lambda table: _put(table, key, value))
        if not is_table(kind):
            value = _lookup(self._validate(draft).settings.model_dump(), key)
        self._save(before, _edit(before, lambda table: _put(table, key, value)))
        return value

    def unset(self, key: Key) -> None:
        """Remove a key. Raises ConfigError if the file does not have it."""
        type_of(key)
        before = self._read()
        if _lookup(tomllib.loads(before.removeprefix("\ufeff")), key) is None:
            raise ConfigError(
                f"{format_key(key)} is not in {self.path}. See where it comes from: "
                "agentkit config show --origin"
            )
        self._save(before, _edit(before, lambda table: _delete(table, key)))

    def _read(self) -> str:
        """Read the text with its line ends; a new file of a folder starts with its schema."""
        file_layer(self.path)
        if self.path.exists():
            with self.path.open(encoding="utf-8", newline="") as file:
                return file.read()
        return SCHEMA_LINE if self.folder else ""

    def _validate(self, text: str) -> ResolvedSettings:
        """Validate the text together with the user's settings below it."""
        below = (file_layer(user_file()),) if self.folder else ()
        return merge_layers((*below, text_layer(text.removeprefix("\ufeff"), str(self.path))))

    def _save(self, before: str, after: str) -> None:
        self._validate(after)
        if self.folder is None:
            self._replace(before, after)
            return
        is_new = not self.path.exists()
        with self.guard(self.folder, after.encode()):
            self._replace(before, after)
            if is_new:
                write_schema(self.folder)

    def _replace(self, before: str, after: str) -> None:
        """Replace the file atomically, unless it changed since it was read."""
        path = self.path.resolve()
        new = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            new.write_bytes(after.encode())
            if path.exists():
                shutil.copymode(path, new)
            if path.exists() and self._read() != before:
                raise ConfigError(f"{path} was changed by another program. Try again.")
            new.replace(path)
        except OSError as error:
            raise ConfigError(file_error(path, error, "written")) from error
        finally:
            new.unlink(missing_ok=True)


def _edit(text: str, change: Callable[[Table], None]) -> str:
    """Apply a change to a TOML text and nothing else. Raises ConfigError where the layout does not
    allow that."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = text.removeprefix(mark)
    expected = tomllib.loads(text)
    change(expected)
    try:
        document = tomlkit.parse(text)
        change(document)
        after = tomlkit.dumps(document)
        is_exact = _without_empty(tomllib.loads(after)) == _without_empty(expected)
    except (TOMLKitError, tomllib.TOMLDecodeError, KeyError, TypeError):
        is_exact = False
    if not is_exact:
        raise ConfigError("The layout of the file does not allow this change. Edit it by hand.")
    return mark + after


def _put(table: Table, key: Key, value: Any) -> None:
    for part in key[:-1]:
        if not isinstance(table.get(part), MutableMapping):
            table[part] = {}
        table = table[part]
    table[key[-1]] = value


def _delete(table: Table, key: Key) -> None:
    for part in key[:-1]:
        table = table[part]
    del table[key[-1]]


def _lookup(table: Any, key: Key) -> Any:
    for part in key:
        table = table.get(part) if isinstance(table, MutableMapping) else None
    return table


def _without_empty(table: Any) -> Any:
    """Drop empty tables: removing the last key of a table may remove its header too."""
    if not isinstance(table, dict):
        return table
    filled = {name: _without_empty(value) for name, value in table.items()}
    return {name: value for name, value in filled.items() if value != {}}
