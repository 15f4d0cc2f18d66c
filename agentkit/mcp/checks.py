"""Check the MCP servers of a folder, and the behaviour of one server.

`agentkit doctor` checks mcp.json and whether the servers start. `agentkit mcp test` runs ten checks
that any server should pass: read-only, a few seconds, no fixtures; no tool is called except one
that does not exist. `make conformance` runs the published suite.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from agentkit._code import Code
from agentkit._named_code import MCP_JSON
from agentkit.errors import McpError
from agentkit.findings import Finding, for_folder, from_error, join_names, ok, quantity
from agentkit.mcp.client import folder_servers
from agentkit.mcp.config import ServerConfig, read_config, read_entries, read_json
from agentkit.mcp.session import all_pages, all_tools

if TYPE_CHECKING:
    from mcp import Client

SECONDS = 20.0
UNKNOWN, UNKNOWN_URI = "agentkit_no_such_tool", "agentkit-no-such://resource"
_SECRET = re.compile(r"key|token|secret|password|authorization", re.IGNORECASE)


def check_config(folder: Path, commands: bool = True) -> list[Finding]:
    """Check the entries of mcp.json; `commands`: also that those of enabled ones are installed."""
    try:
        config = read_config(folder)
    except McpError as error:
        return [from_error("mcp", error, f"Correct {MCP_JSON}.")]
    found = [Finding("warning", "mcp", line, f"Correct {MCP_JSON}.") for line in config.warnings]
    found += _find_secrets(folder)
    enabled = [server for server in config.servers if not server.disabled]
    step = f'Do so, or set "disabled": true in {MCP_JSON}.'
    found += [from_error("mcp", McpError(each.fault), step) for each in enabled if each.fault]
    if commands:
        found += [finding for server in enabled if (finding := _find_missing_command(server))]
    disabled = len(config.servers) - len(enabled)
    names = join_names([server.name for server in enabled]) or "none"
    return [ok("mcp", f"enabled: {names}; disabled: {disabled}"), *found]


async def check_start(folder: Path, code: Callable[[], Code] | None = None) -> list[Finding]:
    """Start the enabled servers with the code that may run, and stop them again; not those with a
    fault that check_config names."""
    servers = read_config(folder).servers
    enabled = [server for server in servers if not (server.disabled or server.fault)]
    async with folder_servers(folder, enabled, code=code) as running:
        problems, started = dict(running.problems), set(running.clients)
        counts = {server.name: len(running.server_tools(server.name)) for server in enabled}
    return [
        _check_started(folder, name, counts[name], problems.get(name), name in started)
        for name in counts
    ]


def _check_started(
    folder: Path, name: str, count: int, problem: str | None, started: bool
) -> Finding:
    if problem is None:
        return ok("mcp", f"{name} starts, with {quantity(count, 'tool')}")
    step = for_folder(f"agentkit mcp {'inspect' if started else 'logs'} {name}", folder, "-C")
    return (
        Finding("warning", "mcp", problem, step)
        if started
        else from_error("mcp", McpError(problem), step)
    )


def _find_missing_command(server: ServerConfig) -> Finding | None:
    if server.url or shutil.which(server.command, path=server.env.get("PATH")):
        return None
    if server.cwd and shutil.which(str(server.cwd / server.command)):
        return None
    message = f"{server.name}: the command {server.command!r} was not found"
    step = f'Install it, or set "disabled": true in {MCP_JSON}.'
    return Finding("problem", "mcp", message, step)


def _find_secrets(folder: Path) -> Iterator[Finding]:
    """Secrets written into the file itself, where git and backups include them."""
    path = folder / MCP_JSON
    for name, entry in read_entries(path, read_json(path)).items():
        for field in ("env", "headers"):
            values = entry.get(field) if isinstance(entry, Mapping) else None
            for key, value in (values or {}).items():
                if isinstance(value, str) and _SECRET.search(key) and value and "${" not in value:
                    variable = re.sub(r"\W", "_", key).upper()
                    step = f'Set it in the environment, and write "${{{variable}}}" there.'
                    message = f"{name}: {key} is written in {MCP_JSON}"
                    yield Finding("warning", "mcp", message, step)


@dataclass(frozen=True, slots=True)
class ServerCheckResult:
    """The outcome of one check; `detail` is what was found, or why it failed or was skipped."""

    name: str
    outcome: Literal["ok", "failed", "skipped"]
    detail: str = ""


class CheckFailed(Exception):
    """The server does not do what the check expects."""


class CheckSkipped(Exception):
    """The check does not apply to the server."""


async def run_checks(client: Client) -> list[ServerCheckResult]:
    """Run every check against a running server, one after another."""
    return [await _run(client, *check) for check in CHECKS]


Check = Callable[["Client"], Awaitable[str]]


async def _run(client: Client, name: str, capability: str, check: Check) -> ServerCheckResult:
    if capability and getattr(client.server_capabilities, capability) is None:
        return ServerCheckResult(name, "skipped", f"it has no {capability}")
    try:
        async with asyncio.timeout(SECONDS):
            return ServerCheckResult(name, "ok", await check(client))
    except CheckSkipped as skipped:
        return ServerCheckResult(name, "skipped", str(skipped))
    except TimeoutError:
        return ServerCheckResult(name, "failed", f"no answer within {SECONDS:g} s")
    except Exception as error:
        reason = " ".join(str(error).split())[:300]
        return ServerCheckResult(name, "failed", reason or type(error).__name__)


async def _identity(client: Client) -> str:
    info = client.server_info
    if info is None:
        raise CheckSkipped("it reports no name and version")
    if not info.name or not info.version:
        raise CheckFailed("its name or version is empty")
    return f"{info.name} {info.version}, protocol {client.protocol_version}"


async def _tools(client: Client) -> str:
    tools = await all_tools(client)
    invalid = [tool for tool in tools if not tool.name or len(tool.name) > 128]
    if invalid:
        raise CheckFailed(f"{len(invalid)} tools have no name or one of more than 128 characters")
    return quantity(len(tools), "tool")


async def _schemas(client: Client) -> str:
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]

    tools = await all_tools(client)
    for tool in tools:
        for schema in filter(None, (tool.input_schema, tool.output_schema)):
            try:
                validator_for(schema).check_schema(schema)
            except SchemaError as error:
                raise CheckFailed(f"{tool.name}: {error.message}") from error
        if tool.input_schema.get("type") != "object":
            raise CheckFailed(f"{tool.name}: the type of its input schema is not object")
    return f"{len(tools)} valid"


async def _descriptions(client: Client) -> str:
    undescribed = [tool.name for tool in await all_tools(client) if not tool.description]
    if undescribed:
        raise CheckFailed(f"no description: {', '.join(undescribed[:5])}")
    return "all have one"


async def _concurrent_requests(client: Client) -> str:
    results: list[Any] = await asyncio.gather(
        *(client.list_tools(cache_mode="bypass") for _ in range(8))
    )
    if len({len(each.tools) for each in results}) != 1:
        raise CheckFailed("eight equal concurrent requests had different results")
    return "8 concurrent"


async def _count(client: Client, name: str) -> str:
    fetch = client.list_resources if name == "resources" else client.list_prompts
    return quantity(len(await all_pages(fetch, name)), name.removesuffix("s"))


async def _refusal(request: Awaitable[Any], name: str) -> str:
    """How a server refused a request. Raises CheckFailed where it answered or ended."""
    from mcp import MCPError
    from mcp_types import CONNECTION_CLOSED

    try:
        result = await request
    except MCPError as error:
        if error.code == CONNECTION_CLOSED:
            raise CheckFailed("the server ended instead of answering") from error
        return f"refused with {error.code}"
    if getattr(result, "is_error", False):
        return "refused in the result"
    raise CheckFailed(f"{name} succeeded")


CHECKS: tuple[tuple[str, str, Check], ...] = (
    ("reports its name and version", "", _identity),
    ("lists tools", "tools", _tools),
    ("tools have valid schemas", "tools", _schemas),
    ("tools have descriptions", "tools", _descriptions),
    (
        "refuses an unknown tool",
        "tools",
        lambda client: _refusal(client.call_tool(UNKNOWN, {}), "a call of an unknown tool"),
    ),
    ("answers concurrent requests", "tools", _concurrent_requests),
    ("lists resources", "resources", lambda client: _count(client, "resources")),
    (
        "refuses an unknown resource",
        "resources",
        lambda client: _refusal(client.read_resource(UNKNOWN_URI), "reading an unknown resource"),
    ),
    ("lists prompts", "prompts", lambda client: _count(client, "prompts")),
    (
        "refuses an unknown prompt",
        "prompts",
        lambda client: _refusal(client.get_prompt(UNKNOWN), "getting an unknown prompt"),
    ),
)
"""Each with the server's capability that it needs."""
