"""Read `mcp_servers/mcp.json`, in the form that other programs use.

One bad entry is an error, for a server that is left out in silence is missed too late. Disabled
entries may name variables that are not set.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentkit.errors import McpError

MCP_JSON = Path("mcp_servers") / "mcp.json"
DEFAULT_TIMEOUT = 60.0

Transport = Literal["stdio", "http", "sse"]


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One server: a command to start, or a URL. `timeout` is in seconds, for each call."""

    name: str
    transport: Transport = "stdio"
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    disabled: bool = False
    timeout: float = DEFAULT_TIMEOUT


@dataclass(frozen=True, slots=True)
class McpConfig:
    """The servers of a project, and one line for each key that means nothing here."""

    servers: tuple[ServerConfig, ...] = ()
    warnings: tuple[str, ...] = ()


def read_config(project: Path) -> McpConfig:
    """The servers named in `project/mcp_servers/mcp.json`; none where the file is missing.

    Raises McpError that names the file, the server and the key.
    """
    project = project.resolve()
    path = project / MCP_JSON
    content = _content(path)
    entries = content.get("mcpServers", {})
    if not isinstance(entries, dict):
        raise McpError(f'{path}: "mcpServers" must be an object of servers by name.')
    warnings = [
        f'{path}: {key!r} is not known here; servers go under "mcpServers".'
        for key in content
        if key != "mcpServers"
    ]
    servers = []
    for name, entry in entries.items():
        parsed = _entry(path, name, entry)
        unknown = sorted(parsed.model_extra or {})
        warnings += [f"{path}: server {name!r}: the key {key!r} is not known." for key in unknown]
        servers.append(_server(path, name, parsed, project))
    return McpConfig(tuple(servers), tuple(warnings))


class _Entry(BaseModel):
    """An entry as it is written, before any variable is expanded."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    type: Literal["stdio", "http", "streamable-http", "sse"] | None = None
    command: str = ""
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    cwd: str | None = None
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    disabled: bool = False
    timeout: float = Field(default=DEFAULT_TIMEOUT, gt=0, allow_inf_nan=False)

    @property
    def transport(self) -> Transport:
        if self.type in ("sse", "stdio"):
            return self.type
        return "http" if self.url else "stdio"


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise McpError(
            f"{path}: line {error.lineno}, column {error.colno}: {error.msg}. Correct the JSON."
        ) from error
    except (OSError, UnicodeDecodeError, RecursionError) as error:
        raise McpError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise McpError(f'{path} must hold an object: {{"mcpServers": {{...}}}}.')
    return content


def _entry(path: Path, name: str, entry: Any) -> _Entry:
    try:
        parsed = _Entry.model_validate(entry)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'entry'}: {fault['msg']}"
            for fault in error.errors()
        )
        raise McpError(f"{path}: server {name!r}: {faults}", name) from error
    if bool(parsed.command) == bool(parsed.url):
        raise McpError(f'{path}: server {name!r}: give either "command" or "url".', name)
    if (parsed.transport == "stdio") != bool(parsed.command):
        raise McpError(
            f"{path}: server {name!r}: the type {parsed.type!r} does not fit; stdio goes with "
            '"command", http and sse with "url".',
            name,
        )
    return parsed


def _server(path: Path, name: str, entry: _Entry, project: Path) -> ServerConfig:
    variables = _Variables(f"{path}: server {name!r}", name, project, lenient=entry.disabled)
    return ServerConfig(
        name=name,
        transport=entry.transport,
        command=variables.expanded("command", entry.command),
        args=tuple(
            variables.expanded(f"args[{index}]", arg) for index, arg in enumerate(entry.args)
        ),
        env=variables.all_expanded("env", entry.env),
        cwd=project / variables.expanded("cwd", entry.cwd or ""),
        url=variables.expanded("url", entry.url),
        headers=variables.all_expanded("headers", entry.headers),
        disabled=entry.disabled,
        timeout=entry.timeout,
    )


@dataclass(frozen=True, slots=True)
class _Variables:
    """What stands for `${...}` in one server's entry; `lenient` leaves unknown ones as they are."""

    place: str
    server: str
    project: Path
    lenient: bool

    def expanded(self, key: str, text: str) -> str:
        return re.sub(r"\$\{([^}]*)\}", lambda match: self._value(key, match[1]), text)

    def all_expanded(self, key: str, texts: Mapping[str, str]) -> dict[str, str]:
        return {name: self.expanded(f"{key}.{name}", text) for name, text in texts.items()}

    def _value(self, key: str, written: str) -> str:
        if written == "agentkit:python":
            return sys.executable
        if written == "workspaceFolder":
            return str(self.project)
        name, separator, default = written.partition(":-")
        value = os.environ.get(name)
        if separator:
            return value or default
        if value is not None:
            return value
        if self.lenient:
            return f"${{{written}}}"
        raise McpError(
            f"{self.place}: {key}: the variable {name} is not set. "
            f"Set it, or write ${{{name}:-default}}.",
            self.server,
        )
