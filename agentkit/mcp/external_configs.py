"""Read and write the MCP server lists of other programs: Claude, Claude Code, Cursor, VS Code.

Files are only added to: existing content stays, and an existing name is not replaced.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from agentkit._named_code import MCP_JSON
from agentkit.errors import McpError, file_error
from agentkit.mcp.config import parse_entry, read_entries, read_json
from agentkit.redaction import redact, redact_arguments
from agentkit.settings.sources import write_private

Program = Literal["claude", "claude-code", "cursor", "vscode"]
PROGRAMS: tuple[Program, ...] = ("claude", "claude-code", "cursor", "vscode")

_SECRET_KEYS = ("env", "headers", "oauth")
"""The keys whose values are often secret."""


def config_paths(program: Program, project: Path) -> list[Path]:
    """The files in which a program keeps its servers, the user's own first."""
    home, settings = Path.home(), _settings_folder()
    return {
        "claude": [
            settings / "Claude" / "claude_desktop_config.json",
            home / ".claude.json",
            project / ".mcp.json",
        ],
        "claude-code": [home / ".claude.json", project / ".mcp.json"],
        "cursor": [home / ".cursor" / "mcp.json", project / ".cursor" / "mcp.json"],
        "vscode": [settings / "Code" / "User" / "mcp.json", project / ".vscode" / "mcp.json"],
    }[program]


def find_servers(program: Program, project: Path) -> dict[str, Any]:
    """Read a program's servers, unparsed; of two with one name, the project's. Defaults of VS
    Code's inputs are written into `${input:...}`."""
    found: dict[str, Any] = {}
    for path in config_paths(program, project):
        content = read_json(path)
        found |= _with_input_defaults(read_entries(path, content), content.get("inputs", []))
        found |= read_entries(path, _project_part(content, project))
    return found


def hide_secrets(entry: Any) -> Any:
    """Replace the values of an entry that may be secret, for display."""
    if not isinstance(entry, dict):
        return entry
    return {key: _hidden(key, value) for key, value in entry.items()}


def _hidden(key: str, value: Any) -> Any:
    if key in _SECRET_KEYS and isinstance(value, dict):
        return _mask(value)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return redact_arguments(value)
    return redact(value) if isinstance(value, str) else value


def add_to_project(project: Path, servers: Mapping[str, Any]) -> list[str]:
    """Write servers into a project's mcp.json and return the names that were free. Raises
    McpError, and writes nothing, where an entry is invalid: it would stop the others."""
    path = project / MCP_JSON
    content = read_json(path)
    existing = read_entries(path, content)
    new = {name: entry for name, entry in servers.items() if name not in existing}
    if new:
        for name, entry in new.items():
            parse_entry(path, name, entry)
        key = "servers" if "servers" in content and "mcpServers" not in content else "mcpServers"
        _add_entries(path, content, key, new)
    return list(new)


def own_entry(
    program: Program,
    project: Path,
    *,
    model: str = "",
    base_url: str = "",
    env: Mapping[str, str] = {},
) -> dict[str, Any]:
    """The entry with which a program starts a project of ours as a server: with this model, and
    these variables beside its own environment."""
    args = ["-P", "-m", "agentkit", "mcp", "serve", "--folder", str(project.resolve())]
    args += [
        *(("--model", model) if model else ()),
        *(("--base-url", base_url) if base_url else ()),
    ]
    kind = {"type": "stdio"} if program in ("vscode", "claude-code") else {}
    return kind | {"command": sys.executable, "args": args} | ({"env": dict(env)} if env else {})


def install(
    program: Program, project: Path, name: str, entry: Mapping[str, Any] | None = None
) -> Path:
    """Write a project, or a given entry for it, into a program's own list. Raises McpError where
    the name exists, or where the file has comments, which would be lost."""
    path = config_paths(program, project)[0]
    content = read_json(path)
    if name in read_entries(path, content):
        raise McpError(f"{path} already has a server {name!r}. Give another --name, or remove it.")
    key = "servers" if program == "vscode" else "mcpServers"
    _add_entries(path, content, key, {name: entry or own_entry(program, project)})
    return path


def _mask(values: Mapping[str, Any]) -> dict[str, Any]:
    """Replace values, except those that only name a variable."""
    return {
        name: value if isinstance(value, str) and value.startswith("${") else "…"
        for name, value in values.items()
    }


def _project_part(content: Mapping[str, Any], project: Path) -> dict[str, Any]:
    """What Claude keeps for this folder only, in the user's own file."""
    projects = content.get("projects")
    own = projects.get(str(project.resolve())) if isinstance(projects, dict) else None
    return own if isinstance(own, dict) else {}


def _with_input_defaults(servers: dict[str, Any], inputs: Any) -> dict[str, Any]:
    defaults = {
        each["id"]: str(each["default"])
        for each in (inputs if isinstance(inputs, list) else ())
        if isinstance(each, dict) and "id" in each and each.get("default") is not None
    }

    def fill(value: Any) -> Any:
        if isinstance(value, str):
            for name, default in defaults.items():
                value = value.replace(f"${{input:{name}}}", f"${{input:{name}:-{default}}}")
            return value
        if isinstance(value, dict):
            return {key: fill(each) for key, each in value.items()}
        return [fill(each) for each in value] if isinstance(value, list) else value

    return {name: fill(entry) for name, entry in servers.items()}


def _add_entries(
    path: Path, content: Mapping[str, Any], key: str, entries: Mapping[str, Any]
) -> None:
    """Write a file atomically with its old permissions; a symbolic link stays one. Raises McpError
    where the file has comments."""
    with suppress(FileNotFoundError):
        text = path.read_text(encoding="utf-8-sig")
        try:
            json.loads(text or "{}")
        except ValueError as error:
            raise McpError(
                f"{path} has comments, which writing would lose. Add {', '.join(entries)} by hand."
            ) from error
    try:
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        new = {**content, key: {**content.get(key, {}), **entries}}
        write_private(path, json.dumps(new, indent=2, ensure_ascii=False) + "\n")
        path.chmod(mode)
    except OSError as error:
        raise McpError(file_error(path, error, "written")) from error


def _settings_folder() -> Path:
    """The directory of desktop programs' settings on this system."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
