"""`agentkit mcp list, tools, call, inspect and logs`: the servers that a folder names."""

from __future__ import annotations

import json as json_format
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from textwrap import indent
from typing import Any

from rich.console import Console

from agentkit.cli.language import translated
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles, harmless, warn
from agentkit.cli.trust import offer_trust
from agentkit.errors import ConfigError, McpError, TrustError
from agentkit.mcp.client import McpServers, folder_servers, logs_folder
from agentkit.mcp.config import ServerConfig, read_config
from agentkit.mcp.results import plain_text, strip_delimiters, visible
from agentkit.mcp.stdio import log_path, read_log
from agentkit.mcp.tools import may_belong_to
from agentkit.project.trust import is_trusted
from agentkit.tools.tool import Tool


async def list_servers(folder: Path, json: bool) -> int:
    """The servers in mcp.json and what each would start, none of them started."""
    out, log = consoles()
    config = read_config(folder)
    warn(list(config.warnings), log)
    if json:
        print(as_json([_listed(server) for server in config.servers]))
        return 0
    for server in config.servers:
        state = f" ({translated('disabled')})" if server.disabled else ""
        _say(out, f"{server.name}{state}: {server.summary}")
    if not config.servers:
        told = "No servers here. Name them in mcp_servers/mcp.json."
        log.print(translated(told), markup=False)
    return 0


async def list_tools(folder: Path, server: str, json: bool) -> int:
    """What the servers lend, or one of them."""
    out, log = consoles()
    async with running(folder, log, server) as servers:
        tools = servers.all_tools
    if json:
        print(as_json([_tool(tool) for tool in tools]))
        return 0
    for tool in tools:
        first, _, rest = tool.description.strip().partition("\n")
        asks = "" if tool.needs_approval else f" ({translated('does not ask')})"
        _say(out, f"{tool.name}{asks}: {first}{' …' if rest else ''}")
    return 0


async def call(folder: Path, name: str, arguments: str, json: bool) -> int:
    """Call a tool, as the user's own act: nobody is asked again."""
    out, log = consoles()
    given = _object(arguments)
    async with running(folder, log, *_lenders(folder, name)) as servers:
        tools = {tool.name: tool for tool in servers.all_tools}
        if name not in tools:
            known = ", ".join(tools) or "none"
            raise McpError(f"There is no tool {name!r}. There is: {known}.")
        called = await tools[name].run(given)
    if called.passages:  # these are part of the structured content
        result = json_format.dumps(called.structured, ensure_ascii=False)
    else:
        result = strip_delimiters(plain_text(called.content))
    if json:
        print(as_json({"tool": name, "result": result}))
    else:
        _say(out, result)
    return 0


async def inspect(folder: Path, server: str, json: bool) -> int:
    """Everything that a server says of itself."""
    out, log = consoles()
    async with running(folder, log, server) as servers:
        must_run(servers, server)
        client = servers.clients[server]
        told = {
            "server": _plain(client.server_info),
            "protocol": client.protocol_version,
            "capabilities": _plain(client.server_capabilities),
            "instructions": client.instructions,
            "tools": [_plain(tool) for tool in servers.server_tools(server)],
            "withheld": [asdict(change) for change in servers.changes.get(server, ())],
            "resources": [asdict(each) for each in await servers.resources()],
            "prompts": [asdict(each) for each in await servers.prompts()],
        }
    if json:
        print(as_json(told))
        return 0
    for key, value in told.items():
        if isinstance(value, list):
            _say(out, f"{key}: {len(value)}")
            for each in value:
                name = each.get("uri") or each.get("name") or each.get("tool")
                said = visible(str(each.get("description") or each.get("now") or "")).strip()
                _say(out, indent(f"{name}: {said}", "      ")[4:])
        elif value:
            _say(out, f"{key}: {value if isinstance(value, str) else json_format.dumps(value)}")
    return 0


async def logs(folder: Path, server: str, lines: int, json: bool) -> int:
    """The end of what a server wrote to standard error."""
    out, log = consoles()
    path = log_path(logs_folder(folder), _meant(folder, server))
    if not path.exists():  # one that mcp.json no longer names may have left a log
        list(chosen(read_config(folder).servers, [server]))
    found = read_log(path, lines)
    if json:
        print(as_json(found))
        return 0
    for line in found:
        _say(out, line)
    if not found:
        told = f"{server} has written nothing to standard error."
        log.print(translated(told), markup=False)
    return 0


@asynccontextmanager
async def running(folder: Path, log: Console, *names: str) -> AsyncIterator[McpServers]:
    """The named servers, or all that are not disabled, started. What fails is said. Raises
    TrustError for a folder that may not start any."""
    config = read_config(folder)
    wanted = list(chosen(config.servers, [name for name in names if name]))
    await may_start(folder, wanted)
    async with folder_servers(folder, wanted) as servers:
        warn(list(servers.problems.values()), log)
        yield servers


def chosen(servers: Iterable[ServerConfig], names: list[str]) -> Iterable[ServerConfig]:
    """The servers of these names, disabled or not; without names those that are not disabled."""
    known = {server.name: server for server in servers}
    for name in names:
        if name not in known:
            there = ", ".join(known) or "none"
            raise McpError(f"mcp.json names no server {name!r}. It names: {there}.", name)
    if not names:
        return [server for server in known.values() if not server.disabled]
    return [replace(known[name], disabled=False) for name in names]


async def may_start(folder: Path, servers: Iterable[ServerConfig]) -> None:
    """Ask for trust in the folder where a person is there. Raises TrustError that says what would
    be started, where the folder is not trusted."""
    await offer_trust(folder)
    if is_trusted(folder):
        return
    lines = "; ".join(f"{server.name}: {server.summary}" for server in servers)
    raise TrustError(
        f"{folder.resolve()} is not trusted, and this would start {lines or 'nothing'}. "
        f"Look at it, then run: agentkit trust {folder}"
    )


def _lenders(folder: Path, tool: str) -> list[str]:
    """The servers that may lend a tool of this name: all of them, for names that clash are others
    where one server runs alone. A disabled one is meant only where no other is."""
    able = [each for each in read_config(folder).servers if may_belong_to(each.name, tool)]
    active = [each.name for each in able if not each.disabled]
    return active or [each.name for each in able] or [tool.partition("__")[0]]


def _meant(folder: Path, server: str) -> str:
    """The server whose cleaned name this is, or the name itself."""
    names = [each.name for each in read_config(folder).servers]
    same = [name for name in names if log_path(folder, name) == log_path(folder, server)]
    return server if server in names or len(same) != 1 else same[0]


def must_run(servers: McpServers, server: str) -> None:
    """Raises McpError that says why a server does not run."""
    if server not in servers.clients:
        raise McpError(servers.problems.get(server, f"{server!r} does not run."), server)


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json_format.loads(text or "{}")
    except ValueError as error:
        raise ConfigError(f"The arguments are no JSON: {error}. Write '{{\"a\": 1}}'.") from error
    if not isinstance(found, dict):
        raise ConfigError("The arguments must be a JSON object, such as '{\"a\": 1}'.")
    return found


def _listed(server: ServerConfig) -> dict[str, Any]:
    return {
        "name": server.name,
        "transport": server.transport,
        "starts": server.summary,
        "disabled": server.disabled,
        "timeout": server.timeout,
        "approval": server.approval,
        "sampling": server.sampling,
        "allow": list(server.allow),
        "deny": list(server.deny),
    }


def _tool(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        "needs_approval": tool.needs_approval,
    }


def _plain(value: Any) -> Any:
    return None if value is None else value.model_dump(mode="json", exclude_none=True)


def _say(out: Console, text: str) -> None:
    out.print(harmless(text), markup=False)
