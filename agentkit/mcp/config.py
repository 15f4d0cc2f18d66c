"""Read `mcp_servers/mcp.json`, in the formats that other programs use.

One invalid entry is an error: a server left out silently would be missed too late. Entries that
are disabled may name variables that are not set.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentkit._code import Code
from agentkit._files import read_regular
from agentkit._named_code import MCP_JSON, known_variables, read_jsonc
from agentkit.errors import McpError, file_error, value_error
from agentkit.mcp.guard import json_fault
from agentkit.redaction import is_secret_name, redact, redact_arguments
from agentkit.text.hidden import visible

DEFAULT_TIMEOUT = 60.0
_MAX_ENV_FILE = 1_000_000

Transport = Literal["stdio", "http", "sse"]
Approval = Literal["ask", "never"]
Sampling = Literal["ask", "never"]


class OAuth(BaseModel):
    """How to sign in to a server; what is left out is discovered or registered there."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, populate_by_name=True)

    client_id: str = Field(default="", alias="clientId")
    client_secret: str = Field(default="", alias="clientSecret")
    client_metadata_url: str = Field(default="", alias="clientMetadataUrl")
    scope: str = ""
    redirect_port: int = Field(default=0, ge=0, le=65535, alias="redirectPort")


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """One server: a command to start, or a URL. `timeout` is in seconds, for each call.

    The tools available are those that match `allow` (all where it is empty) and not `deny`:
    patterns of the server's own names. `approval` says whether their calls need approval, where no
    policy decides; `sampling` whether the server may use the agent's model, with approval.
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
    fault: str = ""
    """Why it cannot be started: a variable or a file of variables that is missing."""
    code: Callable[[], Code] | None = field(default=None, compare=False, repr=False)
    """Reads the code that may run, right before the start. Raises TrustError."""

    @property
    def summary(self) -> str:
        """The command line or the URL, for the user who decides whether to trust it, without
        secrets; of variables and headers the names only."""
        if self.url:
            names = f" with the headers {', '.join(self.headers)}" if self.headers else ""
            return visible(f"{redact(self.url)}{names}", kept="")
        names = f" with {', '.join(self.env)} set" if self.env else ""
        command = shlex.join([self.command, *redact_arguments(self.args)])
        return visible(f"{command}{names}", kept="")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not be logged: of headers, and of variables named like a secret."""
        named = (value for name, value in self.env.items() if is_secret_name(name))
        words = (word for value in self.headers.values() for word in value.split())
        return (*named, *words)


@dataclass(frozen=True, slots=True)
class McpConfig:
    """The servers of a project, and a warning for each unknown key."""

    servers: tuple[ServerConfig, ...] = ()
    warnings: tuple[str, ...] = ()


def read_config(project: Path, code: Code | None = None) -> McpConfig:
    """Read the servers of `project/mcp_servers/mcp.json`, from `code` where that was read before;
    none where the file is missing.

    A variable that is not set is the fault of its server. Raises McpError that names the file, the
    server and the key.
    """
    project = project.resolve()
    path = project / MCP_JSON
    found = None if code is None else code.files.get(MCP_JSON.as_posix(), b"")
    content = read_json(path, found)
    warnings = [
        f'{path}: unknown key {key!r}; servers go under "mcpServers".'
        for key in content
        if key not in ("mcpServers", "servers", "inputs")
    ]
    inputs = _read_inputs(path, content.get("inputs") or [])
    servers = []
    for name, value in read_entries(path, content).items():
        entry = parse_entry(path, name, value)
        unknown = sorted(entry.model_extra or {})
        if isinstance(entry.oauth, OAuth):
            unknown += [f"oauth.{key}" for key in sorted(entry.oauth.model_extra or {})]
        warnings += [f"{path}: server {name!r}: unknown key {key!r}." for key in unknown]
        servers.append(_expand(name, entry, _Variables(path, name, project, inputs)))
    return McpConfig(tuple(servers), tuple(warnings))


def read_json(path: Path, found: bytes | None = None) -> dict[str, Any]:
    """Read a JSON object that may have comments and trailing commas; empty where the file is
    missing or empty. `found` is what was read of it before. Raises McpError with the line and
    column."""
    try:
        text = (read_regular(path) if found is None else found).decode("utf-8-sig")
        content = read_jsonc(text)
    except FileNotFoundError:
        return {}
    except json.JSONDecodeError as error:
        raise McpError(
            f"{path}: line {error.lineno}, column {error.colno}: {error.msg}. Correct the JSON."
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise McpError(file_error(path, error)) from error
    except (ValueError, RecursionError) as error:
        raise McpError(f"{path}: {json_fault(error)}. Correct the JSON.") from error
    if not isinstance(content, dict):
        raise McpError(f'{path} must contain an object: {{"mcpServers": {{...}}}}.')
    return content


def read_entries(path: Path, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the servers of such a file by name, unparsed. Raises McpError."""
    found: dict[str, Any] = {}
    for key in ("mcpServers", "servers"):
        servers = content.get(key, {})
        if not isinstance(servers, dict):
            raise McpError(f'{path}: "{key}" must be an object of servers by name.')
        for name in servers.keys() & found.keys():
            raise McpError(f"{path}: server {name!r} is defined twice. Rename one.", name)
        found |= servers
    return found


class _Entry(BaseModel):
    """An entry of the file, before variables are expanded."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    type: Literal["stdio", "http", "streamable-http", "streamableHttp", "sse"] | None = None
    command: str = ""
    args: list[str] = Field(default_factory=list)
    env: dict[str, str] = Field(default_factory=dict)
    envFile: str = ""  # noqa: N815 - the name that other programs use
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


def parse_entry(path: Path, name: str, value: Any) -> _Entry:
    """Validate an entry. Raises McpError that says why it cannot be used."""
    try:
        entry = _Entry.model_validate(value)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'entry'}: {value_error(fault)}"
            for fault in error.errors()
        )
        raise McpError(f"{path}: server {name!r}: {faults}", name) from error
    if bool(entry.command) == bool(entry.url):
        raise McpError(f'{path}: server {name!r}: give either "command" or "url".', name)
    if (entry.transport == "stdio") != bool(entry.command):
        raise McpError(
            f"{path}: server {name!r}: the type {entry.type!r} does not fit; stdio goes with "
            '"command", http and sse with "url".',
            name,
        )
    return entry


class _Input(BaseModel):
    """A value that VS Code asks its user for."""

    id: str
    default: str | None = None


def _read_inputs(path: Path, value: Any) -> dict[str, str | None]:
    try:
        inputs = [_Input.model_validate(each) for each in value]
    except (TypeError, ValidationError) as error:
        raise McpError(f'{path}: "inputs" must be a list of objects with an "id".') from error
    return {each.id: each.default for each in inputs}


def _expand(name: str, entry: _Entry, variables: _Variables) -> ServerConfig:
    expand, expand_all = variables.expand, variables.expand_all
    oauth = OAuth() if entry.oauth is True else entry.oauth or None
    if oauth:
        known = oauth.model_dump(include=set(OAuth.model_fields))
        texts = {key: value for key, value in known.items() if isinstance(value, str)}
        oauth = oauth.model_copy(update=expand_all("oauth", texts))
    config = ServerConfig(
        name=name,
        transport=entry.transport,
        command=expand("command", entry.command),
        args=tuple(expand(f"args[{index}]", arg) for index, arg in enumerate(entry.args)),
        env={**variables.read_file("envFile", entry.envFile), **expand_all("env", entry.env)},
        cwd=variables.project / expand("cwd", entry.cwd or ""),
        url=expand("url", entry.url),
        headers=expand_all("headers", entry.headers),
        oauth=oauth,
        disabled=entry.disabled,
        timeout=entry.timeout,
        allow=tuple(entry.allow),
        deny=tuple(entry.deny),
        approval=entry.approval,
        sampling=entry.sampling,
    )
    return config if entry.disabled else replace(config, fault=variables.fault)


class _Variables:
    """Expands `${...}` in the texts of one entry; the result is not expanded again.

    Known are `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${input:ID}`, `${workspaceFolder}`,
    `${userHome}` and `${agentkit:python}`. Those that are not set stay as they are, and `fault`
    names the first. `inputs` are defaults by id: other programs prompt for them, here the
    environment sets them.
    """

    def __init__(
        self,
        path: Path,
        server: str,
        project: Path,
        inputs: Mapping[str, str | None],
    ) -> None:
        self.project = project
        self._place = f"{path}: server {server!r}"
        self.fault = ""
        self._inputs = inputs
        self._known = known_variables(project)

    def expand(self, key: str, text: str) -> str:
        """Replace every variable that is set."""
        return re.sub(r"\$\{([^}]*)\}", lambda match: self._value(key, match[1]), text)

    def expand_all(self, key: str, texts: Mapping[str, str]) -> dict[str, str]:
        return {name: self.expand(f"{key}.{name}", text) for name, text in texts.items()}

    def read_file(self, key: str, path: str) -> dict[str, str]:
        """Read the variables that a file sets; none where it is not named or cannot be read."""
        if not path:
            return {}
        file = self.project / self.expand(key, path)
        try:
            if file.stat().st_size > _MAX_ENV_FILE:
                self._note_fault(key, f"{file} is too large.")
                return {}
            return _parse_env_file(read_regular(file).decode("utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            self._note_fault(key, file_error(file, error))
            return {}

    def _note_fault(self, key: str, fault: str) -> None:
        self.fault = self.fault or f"{self._place}: {key}: {fault}"

    def _value(self, key: str, reference: str) -> str:
        if reference in self._known:
            return self._known[reference]
        name, separator, default = reference.removeprefix("env:").partition(":-")
        variable, value = name, None
        if name.startswith("input:"):
            input_id = name.removeprefix("input:")
            variable = "AGENTKIT_INPUT_" + re.sub(r"[^A-Za-z0-9]", "_", input_id).upper()
            value = self._inputs.get(input_id)
        value = os.environ.get(variable, value)
        if separator:
            return value or default
        if value is not None:
            return value
        step = f"Set it, or write ${{{variable}:-default}}."
        self._note_fault(key, f"the variable {variable} is not set. {step}")
        return f"${{{reference}}}"


def _parse_env_file(text: str) -> dict[str, str]:
    """Parse `NAME=value` lines; quotes around a value are removed, other lines are ignored."""
    found = {}
    for line in text.splitlines():
        name, separator, value = line.strip().removeprefix("export ").partition("=")
        if separator and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name.strip()):
            value = value.strip()
            quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
            found[name.strip()] = value[1:-1] if quoted else value.partition(" #")[0].rstrip()
    return found
