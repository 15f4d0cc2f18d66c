"""What each server's tools said of themselves when the user last agreed, and what has changed.

The first sight of a server is agreement: the folder that names it had to be trusted. Later a tool
that is new or says something else is withheld until `agentkit mcp approve`. Pins are kept in the
user's own configuration folder, where no downloaded folder can bring its own.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from agentkit.errors import McpError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.results import visible
from agentkit.settings.sources import user_folder

if TYPE_CHECKING:
    from mcp_types import Tool as ServedTool

_WAIT = 5.0
_KEPT_OF_DESCRIPTION = 2000

Pinned = dict[str, dict[str, str]]
"""Tools by name: `hash` of all that was said, and the `description` for people to compare."""


@dataclass(frozen=True, slots=True)
class Change:
    """A tool that is not as it was agreed to; `before` is None for a new one."""

    tool: str
    before: str | None
    now: str


class Pins:
    """The pins of one project's servers."""

    def __init__(self, project: Path) -> None:
        self._project = str(project.resolve())

    def changes(self, config: ServerConfig, tools: Sequence[ServedTool]) -> tuple[Change, ...]:
        """The tools that are not as agreed. A server seen for the first time, or started by
        another command than before, is agreed to as it is. Raises McpError."""
        known = self._known(config)
        if known is None:
            self.approve(config, tools)
            return ()
        now = _pinned(tools)
        return tuple(
            Change(name, known[name]["description"] if name in known else None, said["description"])
            for name, said in now.items()
            if known.get(name, {}).get("hash") != said["hash"]
        )

    def approve(self, config: ServerConfig, tools: Sequence[ServedTool]) -> None:
        """Agree to these tools as they are now. Raises McpError where it cannot be kept."""
        entry = {"server": _identity(config), "tools": _pinned(tools)}
        path = _store()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock", timeout=_WAIT):
                known = _read(path)
                known.setdefault(self._project, {})[config.name] = entry
                write_private(path, json.dumps(known, indent=1, ensure_ascii=False))
        except (OSError, Timeout) as error:
            raise McpError(f"{path} cannot be written: {error}.", config.name) from error

    def _known(self, config: ServerConfig) -> Pinned | None:
        entry = _read(_store()).get(self._project, {}).get(config.name)
        if not isinstance(entry, dict) or entry.get("server") != _identity(config):
            return None
        tools = entry.get("tools")
        return tools if isinstance(tools, dict) else None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)


def _pinned(tools: Sequence[ServedTool]) -> Pinned:
    return {
        tool.name: {
            "hash": _hash(tool.model_dump(mode="json", by_alias=True, exclude={"meta", "icons"})),
            "description": visible(tool.description or "")[:_KEPT_OF_DESCRIPTION],
        }
        for tool in tools
    }


def _identity(config: ServerConfig) -> str:
    """What is started or called: another one is another server."""
    return _hash([config.transport, config.command, list(config.args), config.url])


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise McpError(f"{path} cannot be read: {error}. Mend or remove it.") from error
    return found if isinstance(found, dict) else {}


def _store() -> Path:
    return user_folder() / "mcp_pins.json"


def changed_line(server: str, changes: Sequence[Change]) -> str:
    """One line for people about tools that are withheld."""
    names = ", ".join(visible(change.tool) for change in changes[:5])
    more = f" and {len(changes) - 5} more" if len(changes) > 5 else ""
    return (
        f"The MCP server {server!r} describes tools otherwise than when you agreed to them: "
        f"{names}{more}. They are left out; look at them with: agentkit mcp approve {server}"
    )


def withheld_reasons(server: str, changes: Sequence[Change]) -> Mapping[str, str]:
    """For each tool that is withheld, what its caller is told."""
    return {
        change.tool: f"The MCP server {server!r} has changed what it says of {change.tool}. The "
        f"user must look at it first: agentkit mcp approve {server}"
        for change in changes
    }
