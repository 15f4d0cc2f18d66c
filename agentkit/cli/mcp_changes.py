"""`agentkit mcp approve, import, install, login and logout`: each shows what it does, then asks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.cells import set_cell_size
from rich.console import Console

from agentkit.cli.asking import agreed
from agentkit.cli.errors import REFUSED
from agentkit.cli.language import labelled, translated
from agentkit.cli.mcp_clients import chosen, may_start, must_run, running
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles, harmless
from agentkit.errors import ConfigError, McpError
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import MCP_JSON, read_config
from agentkit.mcp.external_configs import (
    PROGRAMS,
    Program,
    add_to_project,
    config_paths,
    find_servers,
    hide_secrets,
    own_entry,
)
from agentkit.mcp.external_configs import install as write_entry
from agentkit.mcp.oauth import SIGN_IN_SECONDS, auth_for, delete_tokens
from agentkit.mcp.pins import Pins, ToolChange
from agentkit.mcp.results import visible


async def approve(folder: Path, server: str, yes: bool, json: bool) -> int:
    """Show what a server's tools say now that they did not say before, and agree to it."""
    out, log = consoles()
    async with running(folder, log, server) as servers:
        must_run(servers, server)
        served, changes = servers.server_tools(server), servers.changes.get(server, ())
    if not json:
        _show_changes(changes, out)
        if not changes:
            told = f"Nothing has changed: {len(served)} tools are as agreed."
            log.print(translated(told), markup=False)
            return 0
    done = bool(changes) and _may(f"Agree to these {len(changes)} tools?", yes, json)
    if done:
        (config,) = chosen(read_config(folder).servers, [server])
        Pins(folder).approve(config, served)
    if json:
        print(as_json({"changes": [asdict(change) for change in changes], "agreed": done}))
    elif done:
        log.print(translated("Agreed."), markup=False)
    return 0 if done or json else REFUSED


async def import_servers(
    folder: Path, program: str, names: list[str], yes: bool, json: bool
) -> int:
    """Copy another program's servers into mcp_servers/mcp.json, after showing them."""
    out, log = consoles()
    wanted = _wanted(find_servers(known(program), folder), program, names)
    shown = {name: hide_secrets(entry) for name, entry in wanted.items()}
    if not json:
        if not wanted:
            log.print(translated(f"{program} has no servers on this machine."), markup=False)
            return 0
        _say(out, as_json(shown))
    done = bool(wanted) and _may(f"Add these to {folder / MCP_JSON}?", yes, json)
    added = add_to_project(folder, wanted) if done else []
    if json:
        print(as_json({"found": shown, "added": added}))
    elif done:
        _say_added(folder, wanted, added, log)
    return 0 if done or json else REFUSED


async def install(folder: Path, program: str, name: str, yes: bool, json: bool) -> int:
    """Write this folder, as a server, into another program's list, after showing the entry."""
    out, log = consoles()
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder. Name the folder of a project.")
    path = config_paths(known(program), folder)[0]
    called = name or folder.resolve().name
    entry = {called: own_entry(known(program), folder)}
    if not json:
        _say(out, as_json(entry))
    done = _may(f"Add this to {path}?", yes, json)
    if done:
        write_entry(known(program), folder, called)
    if json:
        print(as_json({"file": str(path), "entry": entry, "written": done}))
    elif done:
        log.print(translated(f"Written to {path}. Start {program} anew."), markup=False)
    return 0 if done or json else REFUSED


async def login(folder: Path, server: str, json: bool) -> int:
    """Sign in at a server in the browser, and keep the tokens."""
    out, log = consoles()
    (config,) = chosen(read_config(folder).servers, [server])
    if not config.url:
        raise McpError(f"{server!r} is a command, which has no sign-in.", server)
    await may_start(folder, [config])

    async def browse(url: str) -> None:
        import webbrowser

        _say(log if json else out, labelled("Sign in here:", visible(url)))
        webbrowser.open(url)

    auths = {server: auth_for(config, browse)}
    async with McpServers([config], auths=auths, connect_timeout=SIGN_IN_SECONDS) as servers:
        if server in servers.problems:
            raise McpError(servers.problems[server], server)
    if json:
        print(as_json({"server": server, "usable": True}))
    else:
        log.print(translated(f"{server} can be used."), markup=False)
    return 0


async def logout(folder: Path, server: str, json: bool) -> int:
    """Forget the tokens of a server."""
    _, log = consoles()
    (config,) = chosen(read_config(folder).servers, [server])
    forgotten = delete_tokens(config)
    if json:
        print(as_json({"server": server, "forgotten": forgotten}))
    else:
        told = "Forgotten." if forgotten else "There was nothing to forget."
        log.print(translated(told), markup=False)
    return 0


def known(program: str) -> Program:
    """A program whose lists we know. Raises ConfigError."""
    for each in PROGRAMS:
        if each == program:
            return each
    raise ConfigError(f"{program!r} is not known here. Known are: {', '.join(PROGRAMS)}.")


def _may(question: str, yes: bool, json: bool) -> bool:
    """Whether to go on. A program that reads JSON is not asked: it says --yes, or only looks."""
    return yes or (not json and agreed(question, yes=False))


def _wanted(found: Mapping[str, Any], program: str, names: list[str]) -> dict[str, Any]:
    """The servers of these names, or all. Raises McpError for a name that is not there."""
    for name in names:
        if name not in found:
            there = ", ".join(found) or "none"
            raise McpError(f"{program} has no server {name!r}. It has: {there}.", name)
    return {name: entry for name, entry in found.items() if not names or name in names}


def _say_added(folder: Path, wanted: Mapping[str, Any], added: list[str], log: Console) -> None:
    kept = [name for name in wanted if name not in added]
    told = f"Added: {', '.join(added)}." if added else "Added: none."
    log.print(translated(told), markup=False)
    if kept:
        told = f"There already, and left as they are: {', '.join(kept)}."
        log.print(translated(told), markup=False)
    if added:
        log.print(translated(f"They may start once you run: agentkit trust {folder}"), markup=False)


def _show_changes(changes: Iterable[ToolChange], out: Console) -> None:
    for change in changes:
        _say(out, f"{change.tool} ({translated('new' if change.before is None else 'changed')})")
        for label, told in (("before:", change.before), ("now:", change.now)):
            if told is not None:
                _say(out, f"  {set_cell_size(translated(label), 7)} {told}")


def _say(out: Console, text: str) -> None:
    out.print(harmless(text), markup=False)
