"""Read `mcp_servers/mcp.json`, in the forms that other programs use.

One bad entry is an error, for a server that is left out in silence is missed too late. Disabled
entries may name variables that are not set.

What stands for `${...}` in a server's entry, and the lines of a file of variables.

`${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${input:ID}`, `${workspaceFolder}`, `${userHome}` and
`${agentkit:python}` are known; what comes out is not expanded again.

What a server's entry would do, written out for the person who decides on it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentkit.errors import McpError
from agentkit.mcp.results import visible

_LARGEST_FILE = 1_000_000


@dataclass(frozen=True, slots=True)
class Variables:
    """The variables of one server's entry; `lenient` leaves unknown ones as they are. `inputs`
    are defaults by id: another program asks for them, here the environment gives them."""

    place: str
    server: str
    project: Path
    lenient: bool
    inputs: Mapping[str, str | None] = field(default_factory=dict)

    def expanded(self, key: str, text: str) -> str:
        """The text with every variable replaced. Raises McpError for one that is not set."""
        return re.sub(r"\$\{([^}]*)\}", lambda match: self._value(key, match[1]), text)

    def all_expanded(self, key: str, texts: Mapping[str, str]) -> dict[str, str]:
        return {name: self.expanded(f"{key}.{name}", text) for name, text in texts.items()}

    def of_file(self, key: str, path: str) -> dict[str, str]:
        """The variables that a file sets; none where no file is named. Raises McpError."""
        if not path:
            return {}
        found = self.project / self.expanded(key, path)
        try:
            if found.stat().st_size > _LARGEST_FILE:
                raise McpError(f"{self.place}: {key}: {found} is too large.", self.server)
            return parsed(found.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            if self.lenient:
                return {}
            said = getattr(error, "strerror", None) or error
            raise McpError(
                f"{self.place}: {key}: {found} cannot be read: {said}.", self.server
            ) from error

    def _value(self, key: str, written: str) -> str:
        if (known := self._known().get(written)) is not None:
            return known
        name, separator, default = written.removeprefix("env:").partition(":-")
        is_input = name.startswith("input:")
        value = self._input(name.removeprefix("input:")) if is_input else os.environ.get(name)
        if separator:
            return value or default
        if value is not None:
            return value
        if self.lenient:
            return f"${{{written}}}"
        asked = _input_variable(name.removeprefix("input:")) if is_input else name
        raise McpError(
            f"{self.place}: {key}: the variable {asked} is not set. "
            f"Set it, or write ${{{asked}:-default}}.",
            self.server,
        )

    def _known(self) -> dict[str, str]:
        return {
            "agentkit:python": sys.executable,
            "workspaceFolder": str(self.project),
            "workspaceFolderBasename": self.project.name,
            "userHome": str(Path.home()),
        }

    def _input(self, name: str) -> str | None:
        return os.environ.get(_input_variable(name), self.inputs.get(name))


def parsed(text: str) -> dict[str, str]:
    """The variables of `NAME=value` lines; quotes around a value go, comments and other lines are
    passed over."""
    found = {}
    for line in text.splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name.strip()):
            found[name.strip()] = _unquoted(value.strip())
    return found


def _unquoted(value: str) -> str:
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1]
    return value.partition(" #")[0].rstrip()


def _input_variable(name: str) -> str:
    return "AGENTKIT_INPUT_" + re.sub(r"[^A-Za-z0-9]", "_", name).upper()


MCP_JSON = Path("mcp_servers") / "mcp.json"
DEFAULT_TIMEOUT = 60.0

Transport = Literal["stdio", "http", "sse"]
Approval = Literal["ask", "never"]
Sampling = Literal["ask", "never"]


class OAuth(BaseModel):
    """How to sign in at a server; what is left out is found out or registered there."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, populate_by_name=True)

    client_id: str = Field(default="", alias="clientId")
    client_secret: str = Field(default="", alias="clientSecret")
    client_metadata_url: str = Field(default="", alias="clientMetadataUrl")
    scope: str = ""
    redirect_port: int = Field(default=0, ge=0, le=65535, alias="redirectPort")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One server: a command to start, or a URL. `timeout` is in seconds, for each call.

    Tools that match `allow`, if there is any, and not `deny` are lent: patterns of the server's
    own names. `approval` says whether their calls ask the user, where no policy decides;
    `sampling` whether the server may ask for the agent's model, each time with the user's word.
    """

    name: str
    transport: Transport = "stdio"
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    oauth: OAuth | None = None
    disabled: bool = False
    timeout: float = DEFAULT_TIMEOUT
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    approval: Approval = "ask"
    sampling: Sampling = "never"


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
    content = read_json(path)
    warnings = [
        f'{path}: {key!r} is not known here; servers go under "mcpServers".'
        for key in content
        if key not in ("mcpServers", "servers", "inputs")
    ]
    inputs = _inputs(path, content.get("inputs") or [])
    servers = []
    for name, entry in entries(path, content).items():
        parsed = checked_entry(path, name, entry)
        unknown = sorted(parsed.model_extra or {})
        unknown += [f"oauth.{key}" for key in sorted(_oauth(parsed).model_extra or {})]
        warnings += [f"{path}: server {name!r}: the key {key!r} is not known." for key in unknown]
        place = f"{path}: server {name!r}"
        variables = Variables(place, name, project, parsed.disabled, inputs)
        servers.append(_server(name, parsed, variables))
    return McpConfig(tuple(servers), tuple(warnings))


def entries(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """The servers of such a file, as they are written. Raises McpError."""
    found: dict[str, Any] = {}
    for key in ("mcpServers", "servers"):
        servers = content.get(key, {})
        if not isinstance(servers, dict):
            raise McpError(f'{path}: "{key}" must be an object of servers by name.')
        for name in servers.keys() & found.keys():
            raise McpError(f"{path}: the server {name!r} is there twice. Rename one.", name)
        found |= servers
    return found


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file of JSON, comments and commas too many passed over; empty where there
    is no file or nothing in it. Raises McpError that names the place."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(_plain(text)) if text.strip() else {}
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


class _Entry(BaseModel):
    """An entry as it is written, before any variable is expanded."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    type: Literal["stdio", "http", "streamable-http", "streamableHttp", "sse"] | None = None
    command: str = ""
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    envFile: str = ""  # noqa: N815 - as other programs write it
    cwd: str | None = None
    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)
    oauth: OAuth | bool = False
    disabled: bool = False
    timeout: float = Field(default=DEFAULT_TIMEOUT, gt=0, allow_inf_nan=False)
    allow: list[str] = Field(default_factory=list)
    deny: list[str] = Field(default_factory=list)
    approval: Approval = "ask"
    sampling: Sampling = "never"

    @property
    def transport(self) -> Transport:
        if self.type in ("sse", "stdio"):
            return self.type
        return "http" if self.url else "stdio"


class _Input(BaseModel):
    """Something that VS Code asks its user for."""

    id: str
    default: str | None = None


_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_COMMA = re.compile(r'("(?:\\.|[^"\\\n])*")|,(?=\s*[}\]])')


def _plain(text: str) -> str:
    """JSON without the comments and last commas that VS Code allows, every place as it was."""
    for unwanted in (_COMMENT, _COMMA):
        text = unwanted.sub(lambda m: m[1] or re.sub(r"[^\n]", " ", m[0]), text)
    return text


def _inputs(path: Path, written: Any) -> dict[str, str | None]:
    try:
        inputs = [_Input.model_validate(each) for each in written]
    except (TypeError, ValidationError) as error:
        raise McpError(f'{path}: "inputs" must be a list of objects with an "id".') from error
    return {each.id: each.default for each in inputs}


def checked_entry(path: Path, name: str, entry: Any) -> _Entry:
    """An entry as it is written. Raises McpError that says why it cannot be used."""
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


def _server(name: str, entry: _Entry, variables: Variables) -> ServerConfig:
    expanded, all_expanded = variables.expanded, variables.all_expanded
    of_file = variables.of_file("envFile", entry.envFile)
    return ServerConfig(
        name=name,
        transport=entry.transport,
        command=expanded("command", entry.command),
        args=tuple(expanded(f"args[{index}]", arg) for index, arg in enumerate(entry.args)),
        env={**of_file, **all_expanded("env", entry.env)},
        cwd=variables.project / expanded("cwd", entry.cwd or ""),
        url=expanded("url", entry.url),
        headers=all_expanded("headers", entry.headers),
        oauth=_expanded_oauth(entry, variables) if entry.oauth is not False else None,
        disabled=entry.disabled,
        timeout=entry.timeout,
        allow=tuple(entry.allow),
        deny=tuple(entry.deny),
        approval=entry.approval,
        sampling=entry.sampling,
    )


_OAUTH_TEXTS = ("client_id", "client_secret", "client_metadata_url", "scope")


def _oauth(entry: _Entry) -> OAuth:
    return OAuth() if isinstance(entry.oauth, bool) else entry.oauth


def _expanded_oauth(entry: _Entry, variables: Variables) -> OAuth:
    oauth = _oauth(entry)
    texts = {name: getattr(oauth, name) for name in _OAUTH_TEXTS}
    return oauth.model_copy(update=variables.all_expanded("oauth", texts))


def what_it_does(server: ServerConfig) -> str:
    """The exact, whole command, or the URL; of variables and headers the names alone."""
    if server.url:
        told = f" with the headers {', '.join(server.headers)}" if server.headers else ""
        return visible(f"{server.url}{told}")
    line = shlex.join([server.command, *server.args])
    told = f" with {', '.join(server.env)} set" if server.env else ""
    return visible(f"{line}{told}")
