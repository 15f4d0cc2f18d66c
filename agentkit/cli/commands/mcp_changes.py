"""`agentkit mcp add, approve, import, install, login and logout`, which change what is stored."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rich.console import Console
from rich.text import Text
from typer import Argument, Option

from agentkit.cli.command import BaseUrl, Folder, Json, Model, command
from agentkit.cli.commands.mcp import Server, require_trust, select_servers, start_servers
from agentkit.cli.commands.mcp import app as app
from agentkit.cli.console import confirm, open_consoles, print_json, print_notes
from agentkit.cli.errors import REFUSED
from agentkit.cli.i18n import _
from agentkit.errors import ConfigError, McpError, require_directory
from agentkit.findings import for_folder, quantity

if TYPE_CHECKING:
    from agentkit.mcp.config import ServerConfig
    from agentkit.mcp.external_configs import Program
    from agentkit.mcp.pins import ToolChange

ProgramName = Annotated[str, Argument(help="claude, claude-code, cursor or vscode.")]
Yes = Annotated[
    bool, Option("--yes", "-y", help=_("Do not ask. With --json nothing is done without it."))
]


@command(
    app,
    "approve",
    _("Show what changed in a server's tools, and approve it."),
    "agentkit mcp approve time",
)
async def approve(
    server: Server, folder: Folder = Path(), yes: Yes = False, json: Json = False
) -> int:
    from agentkit.mcp.pins import Pins

    out, log = open_consoles()
    async with start_servers(folder, log, server) as servers:
        served, changes = servers.server_tools(server), servers.changes.get(server, ())
    if not json:
        _print_changes(changes, out)
        if not changes:
            log.print(Text(f"No change to the approved {quantity(len(served), 'tool')}."))
            return 0
    is_done = bool(changes) and _may(
        f"Approve {quantity(len(changes), 'changed tool')}?", yes, json
    )
    if is_done:
        Pins(folder).approve(_config(folder, server), served)
    if json:
        print_json({"changes": [asdict(change) for change in changes], "agreed": is_done})
    elif is_done:
        log.print("Approved.")
    return 0 if is_done or json else REFUSED


@command(
    app,
    "add",
    _("Add a server to mcp_servers/mcp.json: its address, or -- and its command."),
    "agentkit mcp add git -- uvx mcp-server-git",
    "agentkit mcp add tickets https://example.org/mcp --header 'Authorization: Bearer ${KEY}'",
)
async def add(
    name: Annotated[str, Argument(help=_("Its name here."))],
    target: Annotated[list[str], Argument(help=_("An address, or a command with arguments."))],
    folder: Folder = Path(),
    env: Annotated[
        list[str] | None,
        Option("--env", help=_("A variable for it: NAME=VALUE, or NAME to pass yours on.")),
    ] = None,
    header: Annotated[
        list[str] | None, Option("--header", help=_("NAME: VALUE, sent to an address."))
    ] = None,
    json: Json = False,
) -> None:
    from agentkit._named_code import MCP_JSON
    from agentkit.mcp.external_configs import add_to_project

    _out, log = open_consoles()
    entry = _new_entry(target, env or (), header or ())
    if not add_to_project(folder, {name: entry}):
        raise McpError(f"{folder / MCP_JSON} has a server {name!r} already. Remove it first.", name)
    if json:
        print_json({"added": [name]})
    else:
        log.print(Text(_to_trust([name], folder)))


@command(
    app,
    "import",
    _("Copy another program's servers into mcp_servers/mcp.json."),
    "agentkit mcp import claude",
    "agentkit mcp import cursor filesystem",
)
async def import_servers(
    program: ProgramName,
    names: Annotated[
        list[str] | None, Argument(help=_("Some of its servers; default: all."))
    ] = None,
    folder: Folder = Path(),
    yes: Yes = False,
    json: Json = False,
) -> int:
    from agentkit._named_code import MCP_JSON
    from agentkit.mcp.external_configs import add_to_project, find_servers, hide_secrets

    out, log = open_consoles()
    entries = _select(find_servers(_known_program(program), folder), program, names or [])
    masked = {name: hide_secrets(entry) for name, entry in entries.items()}
    if not json:
        if not entries:
            log.print(Text(f"{program} has no servers on this machine."))
            return 0
        _print_entries(masked, out)
    is_done = bool(entries) and _may(f"Add these to {folder / MCP_JSON}?", yes, json)
    added = add_to_project(folder, entries) if is_done else []
    if json:
        print_json({"found": masked, "added": added})
    elif is_done:
        kept = [name for name in entries if name not in added]
        log.print(Text(_to_trust(added, folder) if added else "Added: none."))
        if kept:
            log.print(Text(f"Already there, unchanged: {', '.join(kept)}."))
    return 0 if is_done or json else REFUSED


@command(
    app,
    "install",
    _("Add this folder as a server to another program."),
    "agentkit mcp install claude --folder my-app",
    "agentkit mcp install claude-code --model openai:gpt-5-mini --env OPENAI_API_KEY",
)
async def install(
    program: ProgramName,
    folder: Folder = Path(),
    name: Annotated[str, Option(help=_("Its name there."))] = "",
    model: Model = None,
    base_url: BaseUrl = None,
    env: Annotated[
        list[str] | None,
        Option("--env", help=_("A variable for the server: NAME=VALUE, or NAME for yours.")),
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> int:
    from agentkit.mcp.external_configs import config_paths, hide_secrets, own_entry
    from agentkit.mcp.external_configs import install as write_entry

    out, log = open_consoles()
    require_directory(folder)
    known = _known_program(program)
    path, server = config_paths(known, folder)[0], name or folder.resolve().name
    variables = dict(map(_read_variable, env or ()))
    entry = own_entry(known, folder, model=model or "", base_url=base_url or "", env=variables)
    shown = {server: hide_secrets(entry)}
    print_notes(_install_notes(folder, model or "", variables), log)
    if not json:
        _print_entries(shown, out)
    is_done = _may(f"Add this to {path}?", yes, json)
    if is_done:
        write_entry(known, folder, server, entry)
    if json:
        print_json({"file": str(path), "entry": shown, "written": is_done})
    elif is_done:
        log.print(Text(f"Written to {path}. Restart {program}."))
    return 0 if is_done or json else REFUSED


def _new_entry(target: Sequence[str], env: Sequence[str], header: Sequence[str]) -> dict[str, Any]:
    """The entry of a server. Raises ConfigError for options that its kind does not have."""
    scheme, separator, _rest = target[0].partition("://")
    if separator and scheme.lower() not in ("http", "https"):
        raise ConfigError(f"{target[0]}: an address begins with http:// or https://.")
    if not separator:
        if header:
            raise ConfigError("--header is for an address. Give a command its values by --env.")
        given = [text.partition("=") for text in env]
        variables = {key: value if sep else f"${{{key}}}" for key, sep, value in given}
        entry = {"command": target[0], "args": list(target[1:])}
        return entry | ({"env": variables} if variables else {})
    if env or target[1:]:
        raise ConfigError("An address has neither arguments nor --env. Give values by --header.")
    lines = [text.partition(":") for text in header]
    if wrong := [key for key, sep, value in lines if not key.strip() or not value.strip()]:
        raise ConfigError(f"--header {wrong[0]}: write it as 'NAME: VALUE'.")
    headers = {key.strip(): value.strip() for key, _sep, value in lines}
    return {"url": target[0]} | ({"headers": headers} if headers else {})


def _to_trust(added: Sequence[str], folder: Path) -> str:
    trust = for_folder("agentkit trust", folder)
    return f"Added: {', '.join(added)}. To let it start, run: {trust}"


def _read_variable(text: str) -> tuple[str, str]:
    """Parse NAME=VALUE, or NAME for a variable that is set. Raises ConfigError."""
    name, separator, value = text.partition("=")
    if not separator:
        value = os.environ.get(name, "")
    if not name or not value:
        raise ConfigError(f"--env {text}: the variable has no value. Set it, or write NAME=VALUE.")
    return name, value


def _install_notes(folder: Path, model: str, env: Mapping[str, str]) -> Iterator[str]:
    """What will be missing when the program starts the server."""
    from agentkit.settings.keys import PRESETS

    if not (folder / "knowledge").is_dir():
        yield (
            f"{folder.resolve()} has no folder knowledge/: there will be no documents to search. "
            f"Create it, or run: {for_folder('agentkit init', folder)}"
        )
    preset = PRESETS.get(model.partition(":")[0])
    key = preset.api_key_env if preset else None
    if key and key not in env:
        yield f"{model} needs {key}, which the program may not pass on. Add: --env {key}"


@command(app, "login", _("Sign in at a server over HTTP that asks for it."),
         "agentkit mcp login linear")  # fmt: skip
async def login(server: Server, folder: Folder = Path(), json: Json = False) -> None:
    from agentkit.mcp.client import McpServers
    from agentkit.mcp.oauth import SIGN_IN_SECONDS, auth_for
    from agentkit.text.hidden import visible

    out, log = open_consoles()
    config = _config(folder, server)
    if not config.url:
        raise McpError(f"{server!r} is a command, which has no sign-in.", server)
    await require_trust(folder, [config])

    async def browse(url: str) -> None:
        import webbrowser

        (log if json else out).print(Text(f"Sign in here: {visible(url)}"))
        webbrowser.open(url)

    auths = {server: auth_for(config, browse)}
    async with McpServers([config], auths=auths, connect_timeout=SIGN_IN_SECONDS) as servers:
        if not servers.clients:
            raise McpError(servers.problems[server], server)
    if json:
        print_json({"server": server, "usable": True})
    else:
        log.print(Text(f"{server} is ready."))


@command(app, "logout", _("Delete the tokens of a server."), "agentkit mcp logout linear")
async def logout(server: Server, folder: Folder = Path(), json: Json = False) -> None:
    from agentkit.mcp.oauth import delete_tokens

    _out, log = open_consoles()
    forgotten = delete_tokens(_config(folder, server))
    if json:
        print_json({"server": server, "forgotten": forgotten})
    else:
        log.print("Signed out." if forgotten else "There were no tokens.")


def _config(folder: Path, server: str) -> ServerConfig:
    from agentkit.mcp.config import read_config

    return select_servers(read_config(folder).servers, [server])[0]


def _known_program(name: str) -> Program:
    """A program whose configuration we can read. Raises ConfigError."""
    from agentkit.mcp.external_configs import PROGRAMS

    for program in PROGRAMS:
        if program == name:
            return program
    raise ConfigError(f"Unknown program {name!r}. Known: {', '.join(PROGRAMS)}.")


def _may(question: str, yes: bool, json: bool) -> bool:
    """Whether to go on. A program that reads JSON is not asked: it passes --yes, or only looks."""
    return yes or (not json and confirm(question))


def _select(found: Mapping[str, Any], program: str, names: list[str]) -> dict[str, Any]:
    """The servers of these names, or all. Raises McpError for an unknown name."""
    for name in names:
        if name not in found:
            available = ", ".join(found) or "none"
            raise McpError(f"{program} has no server {name!r}. Available: {available}.", name)
    return {name: entry for name, entry in found.items() if not names or name in names}


def _print_entries(entries: Mapping[str, Any], out: Console) -> None:
    import json

    out.print(Text(json.dumps(entries, ensure_ascii=False, indent=2)))


def _print_changes(changes: Iterable[ToolChange], out: Console) -> None:
    for change in changes:
        out.print(Text(f"{change.tool} ({'new' if change.before is None else 'changed'})"))
        for label, text in (("before:", change.before), ("now:   ", change.now)):
            if text is not None:
                out.print(Text(f"  {label} {text}"))
