"""Checks of the project folder: documents, trust, permissions, disk space, secrets."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentkit.errors import KnowledgeError, McpError, TrustError
from agentkit.findings import Finding, Level, for_folder, from_error, join_names, ok, quantity
from agentkit.knowledge.embedders.e5.embedder import default_cache
from agentkit.knowledge.loaders.files import discover
from agentkit.mcp.config import MCP_JSON, read_entries, read_json
from agentkit.project.project import Project
from agentkit.project.trust import guarded_files, is_trusted
from agentkit.settings.schema import Settings
from agentkit.settings.sources import user_file, user_folder

_LOW_SPACE, _MIN_SPACE = 1e9, 100e6
_MAX_FILES = 200
_WRITE = os.W_OK | os.X_OK


def project(folder: Path) -> list[Finding]:
    """Check that the folder is a project with readable documents."""
    if not Project.exists(folder):
        step = f"Create one: {for_folder('agentkit init', folder)}. Or try the demo: agentkit demo"
        return [Finding("note", "project", f"{folder.resolve()} is not a project yet", step)]
    knowledge = folder / "knowledge"
    place = shlex.quote(str(knowledge))
    if not os.path.isdir(knowledge):
        return [Finding("note", "project", "no folder knowledge/", f"mkdir {place}")]
    try:
        documents = list(discover(knowledge))
    except KnowledgeError as error:
        return [from_error("project", error)]
    unreadable = [str(p.relative_to(folder)) for p in documents if not _has_access(p, os.R_OK)]
    if unreadable:
        count = quantity(len(unreadable), "document")
        message = f"{count} cannot be read: {join_names(unreadable)}"
        return [Finding("warning", "project", message, f"chmod -R u+r {place}")]
    if not documents:
        return [Finding("note", "project", "knowledge/ is empty", "Add documents to it.")]
    return [ok("project", f"{folder.resolve()}, {quantity(len(documents), 'document')}")]


def trust(folder: Path) -> list[Finding]:
    """Check that the settings, tools and servers are trusted."""
    try:
        files = list(guarded_files(folder))
        trusted = is_trusted(folder)
    except TrustError as error:
        return [from_error("trust", error, "Change its permissions, then try again.")]
    if not files:
        return [ok("trust", "not needed: no settings, tools or servers")]
    if trusted:
        return [ok("trust", f"trusted ({quantity(len(files), 'file')})")]
    names = join_names([path.relative_to(folder).as_posix() for path in files])
    message = f"not trusted, so not used: {names}"
    step = f"Review, then run: {for_folder('agentkit trust', folder)}"
    return [Finding("warning", "trust", message, step)]


def writable(folder: Path) -> list[Finding]:
    """Check that the index, the user's files and the embedder's cache can be written."""
    own = folder / ".agentkit"
    place = own if os.path.exists(own) else folder
    found = []
    if not _has_access(place, _WRITE):
        found.append(_not_writable(place, has_index=os.path.isdir(own / "index")))
    for path, content in ((user_folder(), "trust"), (default_cache(), "the embedder's graph")):
        if not _has_access(_existing_parent(path), _WRITE):
            message = f"{path} cannot be written: {content} is not stored"
            step = f"chmod u+rwx {_existing_parent(path)}"
            found.append(Finding("warning", "folder", message, step))
    return found or [ok("folder", f"{place} can be written")]


def disk(folder: Path) -> list[Finding]:
    """Check the free disk space."""
    return free_space(shutil.disk_usage(_existing_parent(folder)).free)


def free_space(free: float) -> list[Finding]:
    """Judge a number of free bytes."""
    if free >= _LOW_SPACE:
        return [ok("disk", f"{free / 1e9:.0f} GB free")]
    level: Level = "problem" if free < _MIN_SPACE else "warning"
    return [Finding(level, "disk", f"only {free / 1e6:.0f} MB free", "Free some disk space.")]


def secrets(folder: Path, settings: Settings) -> list[Finding]:
    """Check that other users cannot read files with keys."""
    if os.name != "posix":
        return []
    paths = sorted(set(_secret_files(folder, settings)))
    exposed = [path for path in paths if _is_readable_by_others(path)]
    if not exposed:
        count = quantity(len(paths), "file")
        return [ok("secrets", f"no file with keys is readable by other users ({count})")]
    return [
        Finding("warning", "secrets", f"{path} is readable by other users", f"chmod 600 {path}")
        for path in exposed
    ]


def _not_writable(place: Path, has_index: bool) -> Finding:
    step = f"chmod u+rwx {place}"
    if has_index:
        return Finding(
            "warning", "folder", f"{place} cannot be written: the index is read-only", step
        )
    return Finding("problem", "folder", f"{place} cannot be written: no index can be created", step)


def _secret_files(folder: Path, settings: Settings) -> Iterator[Path]:
    """Yield files that may hold keys: .env files, key files of settings and MCP servers, and the
    user's own files."""
    yield from folder.glob(".env*")
    for provider in settings.providers.values():
        if provider.api_key_file:
            yield Path(provider.api_key_file)
    yield from (folder / name for name in _environment_files(folder))
    own = [path for path in sorted(user_folder().rglob("*")) if path != user_file()]
    yield from own[:_MAX_FILES]


def _environment_files(folder: Path) -> Iterable[str]:
    path = folder / MCP_JSON
    try:
        servers = read_entries(path, read_json(path)).values()
    except McpError:
        return []
    named = [server.get("envFile") for server in servers if isinstance(server, dict)]
    return [name for name in named if isinstance(name, str) and "$" not in name]


def _is_readable_by_others(path: Path) -> bool:
    try:
        found = path.stat()
        open_to_others = found.st_mode & (stat.S_IRGRP | stat.S_IROTH)
        return stat.S_ISREG(found.st_mode) and found.st_size > 0 and bool(open_to_others)
    except OSError:
        return False


def _has_access(path: Path, mode: int) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, mode, effective_ids=effective)


def _existing_parent(path: Path) -> Path:
    """Return the path, or its closest parent that exists."""
    return next((place for place in (path, *path.parents) if os.path.exists(place)), path)
