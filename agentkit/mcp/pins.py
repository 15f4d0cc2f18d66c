"""Pin the descriptions of each server's tools at approval, and detect later changes.

A server seen for the first time is approved: the folder that names it had to be trusted. Later, a
tool that is new or described differently is withheld until `agentkit mcp approve`. Servers offer
more tools to clients with more features, such as a user who can be asked: when a feature is offered
for the first time, new tools are approved. Pins are kept in the user's configuration directory,
where a downloaded folder cannot bring its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from agentkit.errors import McpError
from agentkit.findings import for_folder
from agentkit.mcp.config import ServerConfig
from agentkit.settings.sources import user_folder, write_private
from agentkit.text.hidden import visible

if TYPE_CHECKING:
    from mcp_types import Tool as ServerTool

_LOCK_SECONDS = 5.0
_MAX_DESCRIPTION = 2000

Pinned = dict[str, dict[str, str]]
"""By tool name: the `hash` of the whole definition, and the `description` for comparison."""


@dataclass(frozen=True, slots=True)
class ToolChange:
    """A tool whose description is not as approved; `before` is None for a new one."""

    tool: str
    before: str | None
    now: str


class Pins:
    """The pinned tools of one project's servers."""

    def __init__(self, project: Path) -> None:
        self.folder = project
        self._project = str(project.resolve())

    def changes(
        self, config: ServerConfig, tools: Sequence[ServerTool], features: Iterable[str] = ()
    ) -> tuple[ToolChange, ...]:
        """Compare tools with those approved. A server seen for the first time, or with another
        command than before, is approved as it is; so are the new tools of one that is offered
        features of a client for the first time. Raises McpError."""
        known, offered = self._read_pinned(config)
        if known is None or not offered.issuperset(features):
            new = [tool for tool in tools if tool.name not in (known or {})]
            self.approve(config, new, features)
            known, _offered = self._read_pinned(config)
        return tuple(
            ToolChange(name, pinned.get("description"), pin["description"])
            for name, pin in _pin(tools).items()
            if (pinned := (known or {}).get(name, {})).get("hash") != pin["hash"]
        )

    def approve(
        self, config: ServerConfig, tools: Sequence[ServerTool], features: Iterable[str] = ()
    ) -> None:
        """Pin these tools as they are now; others stay pinned, which a server may offer to another
        client. Raises McpError where that cannot be stored."""
        path = _path()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock", timeout=_LOCK_SECONDS):
                pins, (known, offered) = _read(path), self._read_pinned(config)
                pins.setdefault(self._project, {})[config.name] = {
                    "server": _identity(config),
                    "features": sorted(offered.union(features)),
                    "tools": {**(known or {}), **_pin(tools)},
                }
                write_private(path, json.dumps(pins, indent=1, ensure_ascii=False))
        except (OSError, Timeout) as error:
            raise McpError(f"Cannot write {path}: {error}.", config.name) from error

    def _read_pinned(self, config: ServerConfig) -> tuple[Pinned | None, frozenset[str]]:
        """The pinned tools of a server, None where it is a new one, and the features that it was
        offered."""
        entry = _read(_path()).get(self._project, {}).get(config.name)
        if not isinstance(entry, dict) or entry.get("server") != _identity(config):
            return None, frozenset()
        tools = entry.get("tools")
        return tools if isinstance(tools, dict) else None, frozenset(entry.get("features") or ())


def _review_command(server: str, folder: Path) -> str:
    return for_folder(f"agentkit mcp approve {server}", folder, "-C")


def describe_changes(server: str, changes: Sequence[ToolChange], folder: Path) -> str:
    """One line for the user about tools of a project's server that are withheld."""
    names = ", ".join(visible(change.tool) for change in changes[:5])
    more = f" and {len(changes) - 5} more" if len(changes) > 5 else ""
    return (
        f"The MCP server {server!r} has changed the descriptions of tools since you approved "
        f"them: {names}{more}. They are withheld. Review them with: "
        + _review_command(server, folder)
    )


def withheld_reasons(server: str, changes: Sequence[ToolChange], folder: Path) -> Mapping[str, str]:
    """By name of each withheld tool, the error message for its caller."""
    return {
        change.tool: f"The MCP server {server!r} has changed the description of {change.tool}. The "
        f"user must review it first: {_review_command(server, folder)}"
        for change in changes
    }


def _pin(tools: Sequence[ServerTool]) -> Pinned:
    return {
        tool.name: {
            "hash": _hash(
                _sorted(tool.model_dump(mode="json", by_alias=True, exclude={"meta", "icons"}))
            ),
            "description": visible((tool.description or "")[:_MAX_DESCRIPTION])[:_MAX_DESCRIPTION],
        }
        for tool in tools
    }


def _sorted(value: Any, is_default: bool = False) -> Any:
    """A definition with its lists sorted, and the lists that defaults have as text: servers that
    make them of sets order them differently at each start."""
    if isinstance(value, dict):
        return {key: _sorted(each, key == "default") for key, each in value.items()}
    if is_default and isinstance(value, str):
        return sorted(value.split(","))
    if isinstance(value, list):
        return sorted(map(_sorted, value), key=_hash)
    return value


def _identity(config: ServerConfig) -> str:
    """Hash the command or the URL: another one is another server."""
    return _hash([config.transport, config.command, list(config.args), config.url])


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _path() -> Path:
    return user_folder() / "mcp_pins.json"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise McpError(f"Cannot read {path}: {error}. Correct or remove it.") from error
    return found if isinstance(found, dict) else {}
