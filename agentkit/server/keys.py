"""Keys of the HTTP server: named, with roles, revocable; only their hashes are stored.

They are stored in the user's own configuration folder, by project: a downloaded folder cannot bring
a key along. A running server reads a change at the next request.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from agentkit.errors import ConfigError, file_error
from agentkit.server.auth import LOCAL, ROLES, Identity, Role
from agentkit.settings.sources import user_folder, write_private

PREFIX = "agentkit-"
"""What every key begins with."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_LOCK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Key:
    """A stored key. `hash` is the SHA-256 of the key, which has 256 random bits."""

    name: str
    hash: str
    roles: tuple[Role, ...]
    created: str
    revoked: str = ""

    @property
    def identity(self) -> Identity:
        return Identity(self.name, frozenset(self.roles))


class KeyStore:
    """The keys of one project folder."""

    def __init__(self, folder: Path, path: Path | None = None) -> None:
        self._project = str(folder.resolve())
        self._path = path or user_folder() / "server_keys.json"
        self._version: tuple[int, ...] = ()
        self._keys: tuple[Key, ...] = ()

    def list(self) -> tuple[Key, ...]:
        """All keys, revoked ones included. Raises ConfigError for a damaged file."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            self._version, self._keys = (), ()
            return ()
        version = (status.st_mtime_ns, status.st_size, status.st_ino)
        if version != self._version:
            self._keys = tuple(map(_read_key, self._read().get(self._project, ())))
            self._version = version
        return self._keys

    def find(self, secret: str) -> Identity | None:
        """The identity of a key, None for an unknown or revoked one. Only hashes are compared, so
        that the time of a comparison tells nothing of a key."""
        digest = hash_key(secret)
        found = next((key for key in self.list() if key.hash == digest), None)
        return None if found is None or found.revoked else found.identity

    def add(self, name: str, roles: Iterable[Role] = ROLES) -> str:
        """Create a key and return it: it is not stored and cannot be shown again. Sessions belong
        to the name, so a new key of a revoked name continues them. Raises ConfigError for a name
        that has a key, and for an invalid one."""
        if not _NAME.fullmatch(name) or name == LOCAL.name:
            raise ConfigError(
                f"{name!r} cannot be the name of a key. Use up to 64 letters, digits, dots, "
                f"hyphens, underscores and @, and not {LOCAL.name!r}."
            )
        chosen = tuple(sorted(set(roles)))
        if not chosen:
            raise ConfigError(
                f"The key {name!r} has no role. Choose of: {', '.join(sorted(ROLES))}."
            )
        secret = PREFIX + secrets.token_urlsafe(32)

        def added(keys: tuple[Key, ...]) -> tuple[Key, ...]:
            if any(key.name == name and not key.revoked for key in keys):
                raise ConfigError(
                    f"There is a key {name!r} already. Choose another name, or first run: "
                    f"agentkit keys revoke {name}"
                )
            kept = (key for key in keys if key.name != name)
            return (*kept, Key(name, hash_key(secret), chosen, _now()))

        self._change(added)
        return secret

    def revoke(self, name: str) -> None:
        """Refuse a key from now on. Raises ConfigError where no valid key has the name."""

        def revoked(keys: tuple[Key, ...]) -> tuple[Key, ...]:
            if not any(key.name == name and not key.revoked for key in keys):
                known = ", ".join(key.name for key in keys if not key.revoked) or "none"
                raise ConfigError(f"No key is called {name!r}. There is: {known}.")
            return tuple(
                replace(key, revoked=_now()) if key.name == name and not key.revoked else key
                for key in keys
            )

        self._change(revoked)

    def _change(self, change: Callable[[tuple[Key, ...]], tuple[Key, ...]]) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{self._path}.lock", timeout=_LOCK_SECONDS):
                stored = self._read() if self._path.exists() else {}
                keys = change(tuple(map(_read_key, stored.get(self._project, ()))))
                stored[self._project] = [asdict(key) for key in keys]
                write_private(self._path, json.dumps(stored, indent=1))
        except OSError as error:
            raise ConfigError(file_error(self._path, error, "written")) from error

    def _read(self) -> dict[str, Any]:
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(file_error(self._path, error)) from error
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ConfigError(f"{self._path} is damaged. Move it away, and make new keys.")
        return found


class SingleKey:
    """One key with all roles, from the environment."""

    def __init__(self, secret: str) -> None:
        self._hash = hash_key(secret)

    def find(self, secret: str) -> Identity | None:
        return Identity("key", ROLES) if hash_key(secret) == self._hash else None


def hash_key(secret: str) -> str:
    """The hash by which a key is stored."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _read_key(record: dict[str, Any]) -> Key:
    try:
        roles = tuple(role for role in record["roles"] if role in ROLES)
        return Key(
            str(record["name"]),
            str(record["hash"]),
            roles,
            str(record.get("created", "")),
            str(record.get("revoked", "")),
        )
    except (KeyError, TypeError) as error:
        raise ConfigError(f"A stored key is damaged ({error!r}). Make new keys.") from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
