"""The project's folder: trusted, readable, writable, with room on the disk, its secrets kept."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from agentkit.errors import KnowledgeError, McpError, TrustError
from agentkit.findings import Finding, counted, from_error, join_names, ok
from agentkit.knowledge.embedders.e5.embedder import default_cache
from agentkit.knowledge.loaders.files import discover
from agentkit.mcp.config import MCP_JSON, read_entries, read_json
from agentkit.project.demo import demo_path
from agentkit.project.scaffold import is_project
from agentkit.project.trust import guarded_files, is_trusted
from agentkit.settings.schema import Settings
from agentkit.settings.sources import user_file, user_folder

_LITTLE, _TOO_LITTLE = 1e9, 100e6
_MOST_FILES = 200
_WRITE = os.W_OK | os.X_OK


def project(folder: Path) -> list[Finding]:
    """Whether it is a project at all, with documents that can be read."""
    if not is_project(folder):
        step = "Make it one: agentkit init. Or look at the demo: agentkit demo"
        return [Finding("note", "project", f"{folder.resolve()} is no project yet", step)]
    if not os.path.isdir(folder / "knowledge"):
        return [Finding("note", "project", "there is no knowledge/", "mkdir knowledge")]
    try:
        documents = list(discover(folder / "knowledge"))
    except KnowledgeError as error:
        return [from_error("project", error)]
    closed = [str(p.relative_to(folder)) for p in documents if not _may(p, os.R_OK)]
    if closed:
        told = f"{len(closed)} documents cannot be read: {join_names(closed)}"
        return [Finding("warning", "project", told, "chmod -R u+r knowledge")]
    if not documents:
        return [Finding("note", "project", "knowledge/ is empty", "Put documents into it.")]
    return [ok("project", f"{folder.resolve()}, {counted(len(documents), 'document')}")]


def trust(folder: Path) -> list[Finding]:
    """Whether its settings, tools and servers are used."""
    try:
        files = list(guarded_files(folder))
        trusted = is_trusted(folder, demo_path())
    except TrustError as error:
        return [from_error("trust", error, "Change its permissions, then try again.")]
    if not files:
        return [ok("trust", "nothing here needs it: no settings, tools or servers")]
    if trusted:
        return [ok("trust", f"trusted as it is now ({len(files)} files)")]
    names = join_names([path.relative_to(folder).as_posix() for path in files])
    told = f"not trusted, so not used: {names}"
    return [Finding("warning", "trust", told, "Look at them, then: agentkit trust")]


def writable(folder: Path) -> list[Finding]:
    """Whether the index, and what is kept for the user, can be written."""
    own = folder / ".agentkit"
    place = own if os.path.exists(own) else folder
    found = []
    if not _may(place, _WRITE):
        found.append(_closed(place, has_index=os.path.isdir(own / "index")))
    for kept, what in ((user_folder(), "trust"), (default_cache(), "the embedder's graph")):
        if not _may(_nearest(kept), _WRITE):
            told = f"{kept} cannot be written: {what} is not remembered"
            found.append(Finding("warning", "folder", told, f"chmod u+rwx {_nearest(kept)}"))
    return found or [ok("folder", f"{place} can be written")]


def disk(folder: Path) -> list[Finding]:
    """Whether there is room for an index."""
    return room(shutil.disk_usage(_nearest(folder)).free)


def room(free: float) -> list[Finding]:
    """What so many free bytes mean."""
    if free < _TOO_LITTLE:
        return [Finding("problem", "disk", f"{free / 1e6:.0f} MB are left", "Make room.")]
    if free < _LITTLE:
        return [Finding("warning", "disk", f"{free / 1e6:.0f} MB are left", "Make room soon.")]
    return [ok("disk", f"{free / 1e9:.0f} GB free")]


def secrets(folder: Path, settings: Settings) -> list[Finding]:
    """Files with keys that other users of this machine may read."""
    if os.name != "posix":
        return []
    held = sorted(set(_secret_files(folder, settings)))
    seen = [path for path in held if _seen_by_others(path)]
    if not seen:
        return [
            ok("secrets", f"others can read none of the files that may hold keys ({len(held)})")
        ]
    return [
        Finding("warning", "secrets", f"{path}: other users may read it", f"chmod 600 {path}")
        for path in seen
    ]


def _closed(place: Path, has_index: bool) -> Finding:
    step = f"chmod u+rwx {place}"
    if has_index:
        return Finding("warning", "folder", f"{place} cannot be written: the index stays", step)
    return Finding("problem", "folder", f"{place} cannot be written: no index can be made", step)


def _secret_files(folder: Path, settings: Settings) -> Iterator[Path]:
    """Where keys usually are: .env files, those that settings and servers name, the user's own."""
    yield from folder.glob(".env*")
    for provider in settings.providers.values():
        if provider.api_key_file:
            yield Path(provider.api_key_file)
    yield from (folder / name for name in _environment_files(folder))
    own = [path for path in sorted(user_folder().rglob("*")) if path != user_file()]
    yield from own[:_MOST_FILES]


def _environment_files(folder: Path) -> Iterable[str]:
    path = folder / MCP_JSON
    try:
        servers = read_entries(path, read_json(path)).values()
    except McpError:
        return []
    named = [server.get("envFile") for server in servers if isinstance(server, dict)]
    return [name for name in named if isinstance(name, str) and "$" not in name]


def _seen_by_others(path: Path) -> bool:
    try:
        found = path.stat()
        open_to_others = found.st_mode & (stat.S_IRGRP | stat.S_IROTH)
        return stat.S_ISREG(found.st_mode) and found.st_size > 0 and bool(open_to_others)
    except OSError:
        return False


def _may(path: Path, mode: int) -> bool:
    effective = os.access in os.supports_effective_ids
    return os.access(path, mode, effective_ids=effective)


def _nearest(path: Path) -> Path:
    """The path, or the folder above it that is there."""
    return next((place for place in (path, *path.parents) if os.path.exists(place)), path)
