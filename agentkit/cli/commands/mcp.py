"""`agentkit mcp`: serve a folder over MCP, and list, call, inspect and test other servers."""

from __future__ import annotations

import json as json_module
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Annotated, Any

from rich.cells import set_cell_size
from rich.console import Console
from rich.text import Text
from typer import Argument, Option

from agentkit.cli.command import Folder, Json, command, complete_servers, group
from agentkit.cli.console import open_consoles, print_json, print_notes
from agentkit.cli.i18n import _
from agentkit.errors import ConfigError, McpError, TrustError
from agentkit.findings import for_folder, join_names, quantity

if TYPE_CHECKING:
    from agentkit.mcp.client import McpServers
    from agentkit.mcp.config import ServerConfig
    from agentkit.tools.tool import Tool

FAILED = 10
"""The exit code where a check failed, as of any McpError."""

app = group("mcp", _("Serve a folder to other programs over MCP, and use MCP servers in it."))

Server = Annotated[
    str, Argument(help=_("A server of mcp_servers/mcp.json."), autocompletion=complete_servers)
]


@command(
    app,
    "list",
    _("List the servers of mcp_servers/mcp.json and what each runs, without starting any."),
    "agentkit mcp list",
)
async def list_servers(folder: Folder = Path(), json: Json = False) -> None:
    from agentkit.mcp.config import read_config

    out, log = open_consoles()
    config = read_config(folder)
    faults = (server.fault for server in config.servers if server.fault)
    print_notes((*config.warnings, *faults), log)
    if json:
        print_json([_server_record(server) for server in config.servers])
        return
    for server in config.servers:
        state = " (disabled)" if server.disabled else ""
        out.print(Text(f"{server.name}{state}: {server.summary}"))
    if not config.servers:
        log.print(Text(_nothing_enabled(config.servers, folder)))


@command(app, "tools", _("List the tools of the servers."), "agentkit mcp tools time")
async def list_tools(
    server: Annotated[
        str, Argument(help=_("One server; default: all."), autocompletion=complete_servers)
    ] = "",
    folder: Folder = Path(),
    json: Json = False,
) -> None:
    from agentkit.mcp.config import read_config

    out, log = open_consoles()
    known = read_config(folder).servers
    if not (server or any(not each.disabled for each in known)):
        log.print(Text(_nothing_enabled(known, folder)))
        tools: tuple[Tool, ...] = ()
    else:
        async with start_servers(folder, log, server) as servers:
            tools = servers.tools
    if json:
        print_json([_tool_record(tool) for tool in tools])
        return
    for tool in tools:
        first, _newline, rest = tool.description.strip().partition("\n")
        approval = "" if tool.needs_approval else " (runs without approval)"
        out.print(Text(f"{tool.name}{approval}: {first}{' …' if rest else ''}"))


@command(
    app,
    "call",
    _("Call one tool and print its result."),
    """agentkit mcp call time__get_current_time '{"timezone": "Asia/Shanghai"}'""",
)
async def call(
    tool: Annotated[str, Argument(help=_("Such as time__convert_time, or time convert_time."))],
    arguments: Annotated[
        list[str] | None, Argument(help=_('A JSON object, such as {"a": 1}.'))
    ] = None,
    folder: Folder = Path(),
    json: Json = False,
) -> None:
    from agentkit.mcp.config import read_config
    from agentkit.mcp.results import plain_text, strip_delimiters
    from agentkit.mcp.tools import unique_names

    out, log = open_consoles()
    given = list(arguments or ())
    if given and tool in [each.name for each in read_config(folder).servers]:
        names, (tool,) = [tool], unique_names([(tool, given.pop(0))])
    else:
        names = _servers_of_tool(folder, tool)
    values = _read_arguments(" ".join(given))
    async with start_servers(folder, log, *names) as servers:
        tools = {each.name: each for each in servers.tools}
        if tool not in tools:
            raise McpError(f"There is no tool {tool!r}. Available: {', '.join(tools) or 'none'}.")
        returned = await tools[tool].run(values)
    if returned.passages:  # they are part of the structured content
        result = json_module.dumps(returned.structured, ensure_ascii=False)
    else:
        result = strip_delimiters(plain_text(returned.content))
    if json:
        print_json({"tool": tool, "result": result})
    else:
        out.print(Text(result))


@command(
    app,
    "inspect",
    _("Print what a server reports: version, tools, resources, prompts."),
    "agentkit mcp inspect time",
)
async def inspect(server: Server, folder: Folder = Path(), json: Json = False) -> None:
    out, log = open_consoles()
    async with start_servers(folder, log, server) as servers:
        client = servers.clients[server]
        report: dict[str, Any] = {
            "server": _model_record(client.server_info),
            "protocol": client.protocol_version,
            "capabilities": _model_record(client.server_capabilities),
            "instructions": client.instructions,
            "tools": [_model_record(tool) for tool in servers.server_tools(server)],
            "withheld": [asdict(change) for change in servers.changes.get(server, ())],
            "resources": [asdict(each) for each in await servers.resources()],
            "prompts": [asdict(each) for each in await servers.prompts()],
        }
    if json:
        print_json(report)
    else:
        _print_report(report, out)


@command(
    app,
    "logs",
    _("Print the end of what a server wrote to standard error."),
    "agentkit mcp logs time -n 20",
)
async def logs(
    server: Server,
    folder: Folder = Path(),
    lines: Annotated[int, Option("--lines", "-n", min=1, help=_("How many."))] = 50,
    json: Json = False,
) -> None:
    from agentkit.mcp.client import logs_folder
    from agentkit.mcp.config import read_config
    from agentkit.mcp.stdio import log_path, read_log

    out, log = open_consoles()
    path = log_path(logs_folder(folder), server)
    if not path.exists():  # one that mcp.json no longer names may have left a log
        select_servers(read_config(folder).servers, [server])
    found = read_log(path, lines)
    if json:
        print_json(found)
        return
    for line in found:
        out.print(Text(line))
    if not found:
        log.print(Text(f"{server} wrote nothing to standard error."))


@command(
    app,
    "test",
    _("Check that a server behaves as any MCP server should."),
    "agentkit mcp test time",
)
async def check(server: Server, folder: Folder = Path(), json: Json = False) -> int:
    from agentkit.mcp.checks import run_checks

    out, log = open_consoles()
    async with start_servers(folder, log, server) as servers:
        results = await run_checks(servers.clients[server])
    failed, skipped = (sum(r.outcome == kind for r in results) for kind in ("failed", "skipped"))
    if json:
        print_json([{"name": r.name, "outcome": r.outcome, "said": r.detail} for r in results])
        return FAILED if failed else 0
    for result in results:
        detail = f": {result.detail}" if result.detail else ""
        out.print(Text(f"{set_cell_size(result.outcome, 8)}{result.name}{detail}"))
    log.print(Text(f"{quantity(len(results), 'check')}, {failed} failed, {skipped} skipped"))
    return FAILED if failed else 0


@asynccontextmanager
async def start_servers(folder: Path, log: Console, *names: str) -> AsyncIterator[McpServers]:
    """The named servers, or all that are not disabled, running. Failures are printed while another
    server runs. Raises McpError where none does, and TrustError for a folder that may not start
    any."""
    from agentkit.mcp.client import folder_servers
    from agentkit.mcp.config import read_config
    from agentkit.project.trust import take, trusted_code

    configs = select_servers(read_config(folder).servers, [name for name in names if name])
    await require_trust(folder, configs)
    found = take(folder)
    code = partial(trusted_code, folder, found.code)
    code()
    chosen = [config.name for config in configs]
    configs = select_servers(read_config(folder, found.code).servers, chosen)
    servers = folder_servers(folder, configs, elicit=_decline, sample=_decline, code=code)
    async with servers:
        if configs and not servers.clients:
            raise McpError(" ".join(servers.problems.values()), configs[0].name)
        print_notes(servers.problems.values(), log)
        yield servers


async def _decline(request: object) -> None:
    """Nobody is asked. Servers offer those tools, too, that ask the user or the model in a chat."""


def select_servers(servers: Iterable[ServerConfig], names: list[str]) -> list[ServerConfig]:
    """The servers of these names, disabled or not; without names those that are not disabled.
    Raises McpError for an unknown name."""
    known = {server.name: server for server in servers}
    for name in names:
        if name not in known:
            available = ", ".join(known) or "none"
            raise McpError(f"mcp.json has no server {name!r}. Available: {available}.", name)
    if not names:
        return [server for server in known.values() if not server.disabled]
    return [replace(known[name], disabled=False) for name in names]


async def require_trust(folder: Path, servers: Iterable[ServerConfig]) -> None:
    """Ask for trust in the folder on a terminal. Raises TrustError, which says what would be
    started, where the folder is not trusted."""
    from agentkit.cli.commands.setup import offer_trust
    from agentkit.project.trust import is_trusted

    offer_trust(folder)
    if is_trusted(folder):
        return
    lines = "; ".join(f"{server.name}: {server.summary}" for server in servers)
    raise TrustError(
        f"{folder.resolve()} is not trusted, and this would start {lines or 'nothing'}. "
        f"Look at it, then run: {for_folder('agentkit trust', folder)}"
    )


def _nothing_enabled(known: Iterable[ServerConfig], folder: Path) -> str:
    """What to do where no server is enabled."""
    from agentkit._named_code import MCP_JSON

    place = folder / MCP_JSON
    disabled = [server.name for server in known]
    if not disabled:
        add = for_folder("agentkit mcp add NAME", folder, "-C")
        command = for_folder("agentkit mcp import claude", folder, "-C")
        return f"There are no servers in {place}. Add one: {add} -- COMMAND, or import: {command}"
    command = for_folder(f"agentkit mcp tools {disabled[0]}", folder, "-C")
    return (
        f"No server is enabled in {place}; disabled: {join_names(disabled)}. Remove "
        f'"disabled" there, or try one: {command}'
    )


def _servers_of_tool(folder: Path, tool: str) -> list[str]:
    """The servers that may have a tool of this name: all of them, since names that clash are
    changed only where several servers run. A disabled one counts only where no other does."""
    from agentkit.mcp.config import read_config
    from agentkit.mcp.tools import may_belong_to

    able = [each for each in read_config(folder).servers if may_belong_to(each.name, tool)]
    active = [each.name for each in able if not each.disabled]
    return active or [each.name for each in able] or [tool.partition("__")[0]]


def _read_arguments(text: str) -> Mapping[str, Any]:
    from agentkit.mcp.guard import json_fault

    try:
        arguments = json_module.loads(text or "{}")
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"The arguments are not valid JSON: {json_fault(error)}. Write '{{\"a\": 1}}'."
        ) from error
    if not isinstance(arguments, dict):
        raise ConfigError("The arguments must be a JSON object, such as '{\"a\": 1}'.")
    return arguments


def _print_report(report: Mapping[str, Any], out: Console) -> None:
    from agentkit.text.hidden import visible

    for key, value in report.items():
        if isinstance(value, list):
            out.print(Text(f"{key}: {len(value)}"))
            for each in value:
                name = each.get("uri") or each.get("name") or each.get("tool")
                about = visible(str(each.get("description") or each.get("now") or "")).strip()
                out.print(Text(indent(f"{name}: {about}", "      ")[4:]))
        elif value:
            text = value if isinstance(value, str) else json_module.dumps(value)
            out.print(Text(f"{key}: {text}"))


def _server_record(server: ServerConfig) -> dict[str, Any]:
    copied = ("name", "transport", "disabled", "timeout", "approval", "sampling", "allow", "deny")
    return {**{name: getattr(server, name) for name in copied}, "starts": server.summary}


def _tool_record(tool: Tool) -> dict[str, Any]:
    return {
        "name": tool.name,
        "description": tool.description,
        "parameters": dict(tool.parameters),
        "needs_approval": tool.needs_approval,
    }


def _model_record(value: Any) -> Any:
    return None if value is None else value.model_dump(mode="json", exclude_none=True)
