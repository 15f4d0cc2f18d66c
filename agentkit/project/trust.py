"""Trust in folders: the user allows the exact contents of agentkit.toml, tools/, mcp_servers/ and
the code elsewhere that the servers of mcp.json run.

Code is executed, and agentkit.toml decides where text is sent. Trust is stored as hashes of these
files in the user's own configuration folder, which no download can change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from agentkit._code import (
    CODE_FOLDERS,
    MAX_BYTES,
    MAX_NAMED_BYTES,
    Code,
    CodeTooLarge,
    read_code,
)
from agentkit._named_code import code_names
from agentkit.errors import TrustError, file_error
from agentkit.findings import for_folder, join_names
from agentkit.project.demo import demo_path
from agentkit.settings.edit import SettingsFile
from agentkit.settings.schema import FILE_NAME
from agentkit.settings.sources import user_folder, write_private

GUARDED = (FILE_NAME, *CODE_FOLDERS)
Fingerprint = dict[str, str]
"""File name -> hash of its contents."""
Change = Literal["new", "changed", "removed"]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What needs trust in a folder, as it was read once: settings, and the code that may run."""

    settings: bytes | None
    code: Code

    @property
    def fingerprint(self) -> Fingerprint:
        """The hash of each file; none where nothing needs trust."""
        files = self.code.files
        if self.settings is not None:
            files = {FILE_NAME: self.settings} | files
        hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        return hashes if any(files.values()) else {}

    @property
    def is_trusted(self) -> bool:
        """Whether it needs no trust, is trusted by the user, or equals the demo's."""
        current = self.fingerprint
        known = _trusted_folders().get(self._place)
        return not current or known == current or fingerprint(demo_path()) == current

    @property
    def changes(self) -> dict[str, Change]:
        """What differs from the contents that the user trusted last, by file; none where the folder
        was never trusted."""
        if not isinstance(known := _trusted_folders().get(self._place), dict):
            return {}
        now = self.fingerprint
        changes: dict[str, Change] = {
            name: "new" if name not in known else "changed" if name in now else "removed"
            for name in {**now, **known}
            if now.get(name) != known.get(name)
        }
        return changes

    @property
    def _place(self) -> str:
        return str(self.code.folder.resolve())


def take(folder: Path) -> Snapshot:
    """Read what needs trust in a folder. Raises TrustError if files cannot be read or are too
    large."""
    path = folder / FILE_NAME
    try:
        settings = path.read_bytes() if path.is_file() else None
        return Snapshot(settings, read_code(folder, code_names(folder)))
    except CodeTooLarge as error:
        raise TrustError(
            f"The code of {folder} is too large to be checked: tools/ and mcp_servers/ may hold "
            f"{MAX_BYTES // 10**6} MB, and code elsewhere that servers of mcp.json run "
            f"{MAX_NAMED_BYTES // 10**6} MB, links included. Move data elsewhere."
        ) from error
    except OSError as error:
        raise TrustError(file_error(Path(error.filename or folder), error)) from error


def is_trusted(folder: Path) -> bool:
    """Whether a folder's contents need no trust, are trusted by the user, or equal the demo's.
    Raises TrustError."""
    return take(folder).is_trusted


def untrusted_notice(found: Snapshot) -> str:
    """What of a folder is not used before the user trusts it, and what changed since they did."""
    folder, changed = found.code.folder, list(found.changes)
    names = [name for name in GUARDED if (folder / name).exists()]
    verb, object_ = ("is", "it") if names == [FILE_NAME] else ("are", "them")
    place = "This folder" if folder == Path() else folder
    why = f"changed after it was trusted ({join_names(changed)})" if changed else "is not trusted"
    return (
        f"{place} {why}, so {', '.join(names)} {verb} not used. Review "
        f"{'the change' if changed else object_}, then run: {for_folder('agentkit trust', folder)}"
    )


def trusted_code(folder: Path, known: Code | None = None) -> Code:
    """Read the code that may run. Raises TrustError where the user has not trusted the present
    contents; it names the files that differ from `known`."""
    now = take(folder)
    if now.is_trusted:
        return now.code
    changed = (known.differences(now.code) or [FILE_NAME]) if known else []
    what = f"{join_names(changed)} changed after it was trusted" if changed else "it is not trusted"
    raise TrustError(
        f"Nothing of {folder.resolve()} is started: {what}. "
        f"Review it, then run: {for_folder('agentkit trust', folder)}"
    )


def trust(folder: Path, contents: Fingerprint | None = None) -> None:
    """Record that the user trusts a folder with the contents of a fingerprint, by default the
    current ones. Raises TrustError."""
    path = _store()
    known = _trusted_folders() | {str(folder.resolve()): contents or fingerprint(folder)}
    try:
        write_private(path, json.dumps(known, indent=1))
    except OSError as error:
        raise TrustError(file_error(path, error, "written")) from error


def fingerprint(folder: Path, settings: bytes | None = None) -> Fingerprint:
    """Hash everything in a folder that needs trust; {} where there is nothing. `settings` replaces
    the contents of agentkit.toml. Raises TrustError if files cannot be read or are too large."""
    found = take(folder)
    return (found if settings is None else replace(found, settings=settings)).fingerprint


def guarded_files(folder: Path) -> list[Path]:
    """List the files that trust covers: the settings and what may be executed. Raises
    TrustError."""
    found = take(folder)
    settings = () if found.settings is None else (FILE_NAME,)
    return [folder / name for name in (*settings, *found.code.files)]


def settings_file(folder: Path | None) -> SettingsFile:
    """Open the agentkit.toml of a folder for editing, or the user's settings with None. A trusted
    folder stays trusted."""
    return SettingsFile(folder, _keep_trust)


@contextmanager
def _keep_trust(folder: Path, settings: bytes) -> Iterator[None]:
    """Keep trust in a folder while its agentkit.toml is replaced. Trust extends to these settings
    and the contents before the change, so that no file added meanwhile becomes trusted."""
    expected = fingerprint(folder, settings) if is_trusted(folder) else {}
    yield
    if expected:
        trust(folder, expected)


def _trusted_folders() -> dict[str, Fingerprint]:
    try:
        found = json.loads(_store().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _store() -> Path:
    return user_folder() / "trust.json"
