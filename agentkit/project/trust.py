"""Trust in folders: the user allows the exact contents of agentkit.toml, tools/ and mcp_servers/.

Code in tools/ and mcp_servers/ is executed, and agentkit.toml decides where text is sent. Trust is
stored as a hash of the three in the user's own configuration folder, which no download can change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agentkit.errors import TrustError, file_error
from agentkit.project.demo import demo_path
from agentkit.settings.edit import SettingsFile
from agentkit.settings.schema import FILE_NAME
from agentkit.settings.sources import user_folder, write_private

GUARDED = (FILE_NAME, "tools", "mcp_servers")
_MAX_BYTES = 64_000_000


def is_trusted(folder: Path) -> bool:
    """Whether a folder's contents need no trust, are trusted by the user, or equal the demo's."""
    current = fingerprint(folder)
    if not current or _trusted_folders().get(str(folder.resolve())) == current:
        return True
    return fingerprint(demo_path()) == current


def trust(folder: Path, contents: str = "") -> None:
    """Record that the user trusts a folder with the contents of a fingerprint, by default the
    current ones. Raises TrustError."""
    path = _store()
    known = _trusted_folders() | {str(folder.resolve()): contents or fingerprint(folder)}
    try:
        write_private(path, json.dumps(known, indent=1))
    except OSError as error:
        raise TrustError(file_error(path, error, "written")) from error


def fingerprint(folder: Path, settings: bytes | None = None) -> str:
    """Hash everything in a folder that needs trust; "" where there is nothing. `settings` replaces
    the contents of agentkit.toml. Raises TrustError if files cannot be read or are too large."""
    digest = hashlib.sha256()
    size = 0
    for name, content in _contents(folder, settings):
        size += len(content)
        if size > _MAX_BYTES:
            raise TrustError(f"{folder}: tools/ and mcp_servers/ are too large to be checked.")
        digest.update(f"{len(name)}:{name}:{len(content)}:".encode() + content)
    return digest.hexdigest() if size else ""


def guarded_files(folder: Path) -> Iterator[Path]:
    """Yield the files that trust covers, sorted: all but caches, hidden folders, and hidden files
    other than Python, since a hidden Python file can be executed like any other."""
    for name in GUARDED:
        path = folder / name
        if path.is_file():
            yield path
        for found in sorted(path.rglob("*")):
            if found.is_file() and not _is_ignored(found.relative_to(folder)):
                yield found


def settings_file(folder: Path | None) -> SettingsFile:
    """Open the agentkit.toml of a folder for editing, or the user's settings with None. A trusted
    folder stays trusted."""
    return SettingsFile(folder, _keep_trust)


@contextmanager
def _keep_trust(folder: Path, settings: bytes) -> Iterator[None]:
    """Keep trust in a folder while its agentkit.toml is replaced. Trust extends to these settings
    and the contents before the change, so that no file added meanwhile becomes trusted."""
    expected = fingerprint(folder, settings) if is_trusted(folder) else ""
    yield
    if expected:
        trust(folder, expected)


def _contents(folder: Path, settings: bytes | None) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the files that trust covers, agentkit.toml first."""
    if settings is not None:
        yield FILE_NAME, settings
    for path in guarded_files(folder):
        if settings is not None and path == folder / FILE_NAME:
            continue
        try:
            yield path.relative_to(folder).as_posix(), path.read_bytes()
        except OSError as error:
            raise TrustError(file_error(path, error)) from error


def _is_ignored(path: Path) -> bool:
    *parents, name = path.parts
    if any(part.startswith(".") or part == "__pycache__" for part in parents):
        return True
    return name.startswith(".") and not name.endswith(".py")


def _trusted_folders() -> dict[str, str]:
    try:
        found = json.loads(_store().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _store() -> Path:
    return user_folder() / "trust.json"
