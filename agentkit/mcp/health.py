"""The MCP servers of a folder: whether what they start is there, and whether they start."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentkit.errors import McpError
from agentkit.findings import Finding, from_error, join_names, ok
from agentkit.mcp.client import folder_servers
from agentkit.mcp.config import MCP_JSON, ServerConfig, read_config, read_entries, read_json

_SECRET = re.compile(r"key|token|secret|password|authorization", re.IGNORECASE)


def servers(folder: Path, commands: bool = True) -> list[Finding]:
    """The entries of mcp.json, and whether the `commands` of those that are enabled are there."""
    try:
        config = read_config(folder)
    except McpError as error:
        return [from_error("mcp", error, f"Correct {MCP_JSON}.")]
    found = [Finding("warning", "mcp", line, f"Correct {MCP_JSON}.") for line in config.warnings]
    found += _written_secrets(folder)
    enabled = [server for server in config.servers if not server.disabled]
    if commands:
        found += [lacking for server in enabled if (lacking := _lacking(server))]
    disabled = len(config.servers) - len(enabled)
    names = join_names([server.name for server in enabled]) or "none"
    return [ok("mcp", f"enabled: {names}; disabled: {disabled}"), *found]


async def started(folder: Path) -> list[Finding]:
    """Start the enabled servers, and stop them again."""
    enabled = [server for server in read_config(folder).servers if not server.disabled]
    async with folder_servers(folder, enabled) as running:
        problems = dict(running.problems)
        offered = {server.name: len(running.server_tools(server.name)) for server in enabled}
    return [
        from_error("mcp", McpError(problems[name]), f"agentkit mcp logs {name}")
        if name in problems
        else ok("mcp", f"{name} starts, and offers {number} tools")
        for name, number in offered.items()
    ]


def _lacking(server: ServerConfig) -> Finding | None:
    """A command that is not there."""
    if server.url or shutil.which(server.command, path=server.env.get("PATH")):
        return None
    if server.cwd and shutil.which(str(server.cwd / server.command)):
        return None
    told = f"{server.name}: its command {server.command!r} is not there"
    return Finding("problem", "mcp", told, f'Install it, or set "disabled": true in {MCP_JSON}.')


def _written_secrets(folder: Path) -> Iterator[Finding]:
    """Keys that stand in the file itself, where git and backups see them."""
    path = folder / MCP_JSON
    for name, entry in read_entries(path, read_json(path)).items():
        for key, value in _texts(entry):
            if _SECRET.search(key) and value and "${" not in value:
                told = f"{name}: {key} stands in {MCP_JSON} itself"
                step = f'Put it into the environment, and write "${{{_variable(key)}}}" there.'
                yield Finding("warning", "mcp", told, step)


def _texts(entry: Any) -> Iterator[tuple[str, str]]:
    for field in ("env", "headers"):
        held = entry.get(field) if isinstance(entry, Mapping) else None
        for key, value in (held or {}).items():
            if isinstance(value, str):
                yield key, value


def _variable(key: str) -> str:
    return re.sub(r"\W", "_", key).upper()
