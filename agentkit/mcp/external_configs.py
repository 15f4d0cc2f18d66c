"""Other programs' lists of MCP servers: theirs read into a project, a project written into theirs.

A file is only added to: what stands in it stays, and a name that is taken is not taken again.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from agentkit.errors import McpError
from agentkit.mcp.config import MCP_JSON, parse_entry, read_entries, read_json
from agentkit.mcp.pins import write_private

Program = Literal["claude", "cursor", "vscode"]
PROGRAMS: tuple[Program, ...] = ("claude", "cursor", "vscode")


def places(program: Program, project: Path) -> list[Path]:
    """Where a program keeps its servers, the user's own file first."""
    home, folder = Path.home(), _settings()
    return {
        "claude": [
            folder / "Claude" / "claude_desktop_config.json",
            home / ".claude.json",
            project / ".mcp.json",
        ],
        "cursor": [home / ".cursor" / "mcp.json", project / ".cursor" / "mcp.json"],
        "vscode": [folder / "Code" / "User" / "mcp.json", project / ".vscode" / "mcp.json"],
    }[program]


def found_servers(program: Program, project: Path) -> dict[str, Any]:
    """A program's servers as they are written there; of two with one name, the project's. The
    defaults of VS Code's inputs are written into its `${input:...}`."""
    found: dict[str, Any] = {}
    for path in places(program, project):
        content = read_json(path)
        found |= _without_inputs(read_entries(path, content), content.get("inputs", []))
        own = _of_project(content, project)
        found |= read_entries(path, own)
    return found


def shown_entry(entry: Any) -> Any:
    """An entry for people to look at: whole, but for what is kept secret in it."""
    if not isinstance(entry, dict):
        return entry
    return {key: _hidden(value) if key in _SECRET else value for key, value in entry.items()}


def add_to_project(project: Path, servers: Mapping[str, Any]) -> list[str]:
    """Write servers into a project's mcp.json; the names that were free. Raises McpError, and
    writes nothing, where one could not be used: it would keep the others from starting."""
    path = project / MCP_JSON
    content = read_json(path)
    taken = read_entries(path, content)
    new = {name: entry for name, entry in servers.items() if name not in taken}
    if new:
        for name, entry in new.items():
            parse_entry(path, name, entry)
        _check_comments(path, ", ".join(new))
        key = "servers" if "servers" in content and "mcpServers" not in content else "mcpServers"
        _rewrite(path, {**content, key: {**content.get(key, {}), **new}})
    return list(new)


def own_entry(program: Program, project: Path) -> dict[str, Any]:
    """How a program starts a project of ours as a server."""
    folder = str(project.resolve())
    args = ["-m", "agentkit", "mcp", "serve", "--folder", folder]
    kind = {"type": "stdio"} if program == "vscode" else {}
    return kind | {"command": sys.executable, "args": args}


def install_path(program: Program, project: Path) -> Path:
    """The file that `install` writes to: the user's own."""
    return places(program, project)[0]


def install(program: Program, project: Path, name: str) -> Path:
    """Write a project of ours into a program's list. Raises McpError where the name is taken, or
    where the file has comments, which would be lost."""
    path = install_path(program, project)
    content = read_json(path)
    if name in read_entries(path, content):
        raise McpError(f"{path} has a server {name!r} already. Give another --name, or remove it.")
    _check_comments(path, name)
    key = "servers" if program == "vscode" else "mcpServers"
    entry = {name: own_entry(program, project)}
    _rewrite(path, {**content, key: {**content.get(key, {}), **entry}})
    return path


_SECRET = ("env", "headers", "oauth")
"""The keys whose values are passwords and the like, as often as not."""


def _hidden(values: Any) -> Any:
    """Names, with the values that only name a variable."""
    if not isinstance(values, dict):
        return values
    return {
        name: value if isinstance(value, str) and value.startswith("${") else "…"
        for name, value in values.items()
    }


def _of_project(content: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """What a program keeps for this folder alone, in the user's own file."""
    projects = content.get("projects")
    own = projects.get(str(project.resolve())) if isinstance(projects, dict) else None
    return own if isinstance(own, dict) else {}


def _without_inputs(servers: dict[str, Any], inputs: Any) -> dict[str, Any]:
    defaults = {
        each["id"]: str(each["default"])
        for each in (inputs if isinstance(inputs, list) else ())
        if isinstance(each, dict) and "id" in each and each.get("default") is not None
    }

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            for name, default in defaults.items():
                value = value.replace(f"${{input:{name}}}", f"${{input:{name}:-{default}}}")
            return value
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        return [filled(each) for each in value] if isinstance(value, list) else value

    return {name: filled(entry) for name, entry in servers.items()}


def _check_comments(path: Path, wanted: str) -> None:
    """Raises McpError where a file is more than plain JSON."""
    with suppress(FileNotFoundError):
        text = path.read_text(encoding="utf-8-sig")
        try:
            json.loads(text or "{}")
        except ValueError as error:
            raise McpError(
                f"{path} has comments, which writing would lose. Add {wanted} by hand."
            ) from error


def _rewrite(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file whole or not at all, with the rights that it had; a link stays a link."""
    try:
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        write_private(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        path.chmod(mode)
    except OSError as error:
        raise McpError(f"{path} cannot be written: {error.strerror}.") from error


def _settings() -> Path:
    """Where programs with windows keep their settings on this system."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
