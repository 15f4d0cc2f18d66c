"""`agentkit mcp approve, import, install, login and logout`: each shows what it does, then asks."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from agentkit.cli.asking import agreed
from agentkit.cli.errors import REFUSED
from agentkit.cli.mcp_clients import chosen, may_start, running
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles, harmless
from agentkit.errors import ConfigError, McpError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import MCP_JSON, read_config
from agentkit.mcp.hidden import visible
from agentkit.mcp.imports import (
    PROGRAMS,
    Program,
    add_to_project,
    found_servers,
    install_path,
    own_entry,
)
from agentkit.mcp.imports import install as write_entry
from agentkit.mcp.oauth import SIGN_IN_SECONDS, auth_for, forget
from agentkit.mcp.pins import Pins


async def approve(folder: Path, server: str, yes: bool) -> int:
    """Show what a server's tools say now that they did not say before, and agree to it."""
    out, log = consoles()
    async with running(folder, log, server) as servers:
        if server not in servers.clients:
            raise McpError(servers.problems[server], server)
        served, changes = servers.served(server), servers.changes.get(server, ())
    if not changes:
        log.print(f"Nothing has changed: {len(served)} tools are as agreed.", markup=False)
        return 0
    for change in changes:
        _say(out, f"{change.tool} ({'new' if change.before is None else 'changed'})")
        if change.before is not None:
            _say(out, f"  before: {change.before}")
        _say(out, f"  now:    {change.now}")
    if not agreed(f"Agree to these {len(changes)} tools?", yes):
        return REFUSED
    (config,) = chosen(read_config(folder).servers, [server])
    Pins(folder).approve(config, served)
    log.print("Agreed.", markup=False)
    return 0


async def import_servers(folder: Path, program: str, names: list[str], yes: bool) -> int:
    """Copy another program's servers into mcp_servers/mcp.json, after showing them."""
    out, log = consoles()
    found = found_servers(known(program), folder)
    for name in names:
        if name not in found:
            there = ", ".join(found) or "none"
            raise McpError(f"{program} has no server {name!r}. It has: {there}.", name)
    wanted = {name: entry for name, entry in found.items() if not names or name in names}
    if not wanted:
        log.print(f"{program} has no servers on this machine.", markup=False)
        return 0
    _say(out, as_json(wanted))
    if not agreed(f"Add these to {folder / MCP_JSON}?", yes):
        return REFUSED
    added = add_to_project(folder, wanted)
    kept = [name for name in wanted if name not in added]
    log.print(f"Added: {', '.join(added) or 'none'}.", markup=False)
    if kept:
        log.print(f"There already, and left as they are: {', '.join(kept)}.", markup=False)
    if added:
        log.print(f"They may start once you run: agentkit trust {folder}", markup=False)
    return 0


async def install(folder: Path, program: str, name: str, yes: bool) -> int:
    """Write this folder, as a server, into another program's list, after showing the entry."""
    out, log = consoles()
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder. Name the folder of a project.")
    path = install_path(known(program), folder)
    called = name or folder.resolve().name
    _say(out, as_json({called: own_entry(folder)}))
    if not agreed(f"Add this to {path}?", yes):
        return REFUSED
    write_entry(known(program), folder, called)
    log.print(f"Written to {path}. Start {program} anew.", markup=False)
    return 0


async def login(folder: Path, server: str) -> int:
    """Sign in at a server in the browser, and keep the tokens."""
    out, log = consoles()
    (config,) = chosen(read_config(folder).servers, [server])
    if not config.url:
        raise McpError(f"{server!r} is a command, which has no sign-in.", server)
    may_start(folder, [config])

    async def browse(url: str) -> None:
        import webbrowser

        _say(out, f"Sign in here: {visible(url)}")
        webbrowser.open(url)

    auths = {server: auth_for(config, browse)}
    async with McpServers([config], auths=auths, connect_timeout=SIGN_IN_SECONDS) as servers:
        if server in servers.problems:
            raise McpError(servers.problems[server], server)
    log.print(f"{server} can be used.", markup=False)
    return 0


async def logout(folder: Path, server: str) -> int:
    """Forget the tokens of a server."""
    _, log = consoles()
    (config,) = chosen(read_config(folder).servers, [server])
    log.print("Forgotten." if forget(config) else "There was nothing to forget.", markup=False)
    return 0


def known(program: str) -> Program:
    """A program whose lists we know. Raises ConfigError."""
    for each in PROGRAMS:
        if each == program:
            return each
    raise ConfigError(f"{program!r} is not known here. Known are: {', '.join(PROGRAMS)}.")


def _say(out: Console, text: str) -> None:
    out.print(harmless(text), markup=False)
