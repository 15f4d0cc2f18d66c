"""Which folders may run code here: those whose exact contents the user has trusted.

tools/ and mcp_servers/ run code and agentkit.toml names where text is sent, so trust is
remembered by a hash of the three, in the user's own configuration folder, where no downloaded
folder can bring its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from agentkit.errors import TrustError
from agentkit.settings.schema import FILE_NAME
from agentkit.settings.sources import user_folder

GUARDED = (FILE_NAME, "tools", "mcp_servers")
_MOST_BYTES = 64_000_000


def fingerprint(folder: Path, settings: bytes | None = None) -> str:
    """A hash of everything in a folder that needs trust; "" where there is nothing. With
    `settings`, as if agentkit.toml held that.

    Raises TrustError when it cannot be read or is too large.
    """
    digest = hashlib.sha256()
    size = 0
    for name, content in _contents(folder, settings):
        size += len(content)
        if size > _MOST_BYTES:
            raise TrustError(f"{folder}: tools/ and mcp_servers/ hold too much to be checked.")
        digest.update(f"{len(name)}:{name}:{len(content)}:".encode() + content)
    return digest.hexdigest() if size else ""


def _contents(folder: Path, settings: bytes | None) -> Iterator[tuple[str, bytes]]:
    """Names and contents of what trust covers, agentkit.toml first."""
    if settings is not None:
        yield FILE_NAME, settings
    for path in guarded_files(folder):
        if settings is not None and path == folder / FILE_NAME:
            continue
        try:
            yield path.relative_to(folder).as_posix(), path.read_bytes()
        except OSError as error:
            raise TrustError(f"{path} cannot be read: {error.strerror}.") from error


def guarded_files(folder: Path) -> Iterator[Path]:
    """The files that trust covers, sorted: all but caches, hidden folders, and hidden files that
    are not Python. A hidden Python file counts, because it can be run like any other."""
    for name in GUARDED:
        path = folder / name
        if path.is_file():
            yield path
        for found in sorted(path.rglob("*")):
            inside = found.relative_to(folder).parts
            if found.is_file() and not _is_ignored(inside):
                yield found


def _is_ignored(inside: tuple[str, ...]) -> bool:
    """Whether a path below the folder lies in a cache or a hidden folder, or is itself hidden and
    not a Python file."""
    *parents, name = inside
    if any(part.startswith(".") or part == "__pycache__" for part in parents):
        return True
    return name.startswith(".") and not name.endswith(".py")


def is_trusted(folder: Path, *shipped: Path) -> bool:
    """Whether the user has trusted this folder as it is now, or it equals a shipped one."""
    current = fingerprint(folder)
    if not current or _remembered().get(str(folder.resolve())) == current:
        return True
    return any(fingerprint(path) == current for path in shipped)


def trust(folder: Path, contents: str = "") -> None:
    """Remember that the user trusts this folder as it is now, or with the contents of that
    fingerprint. Raises TrustError."""
    path = _store()
    known = _remembered() | {str(folder.resolve()): contents or fingerprint(folder)}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_suffix(f".{os.getpid()}.tmp")
        new.write_text(json.dumps(known, indent=1), encoding="utf-8")
        new.chmod(0o600)
        new.replace(path)
    except OSError as error:
        raise TrustError(f"{path} cannot be written: {error.strerror}.") from error


def _remembered() -> dict[str, str]:
    try:
        found = json.loads(_store().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _store() -> Path:
    return user_folder() / "trust.json"
