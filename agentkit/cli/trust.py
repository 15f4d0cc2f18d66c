"""`agentkit trust`: look at what a folder would run, then allow it."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from agentkit.cli.asking import agreed
from agentkit.cli.errors import REFUSED
from agentkit.cli.language import labelled, translated
from agentkit.cli.render import consoles
from agentkit.errors import ConfigError, McpError
from agentkit.mcp.config import ServerConfig, read_config
from agentkit.project.trust import guarded_files, is_trusted, trust
from agentkit.settings.schema import FILE_NAME
from agentkit.settings.sources import file_layer, merge_layers


async def trust_folder(folder: Path) -> int:
    """Name the files and the exact commands that this covers, ask where a person is there, and
    remember the folder's present contents. Raises ConfigError for settings that cannot be read."""
    out, _ = consoles()
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder. Name the folder of a project.")
    files = [path.relative_to(folder).as_posix() for path in guarded_files(folder)]
    for name in files:
        out.print(f"  {name}", markup=False)
    if not files:
        none = translated("(it holds no agentkit.toml, tools/ or mcp_servers/)")
        out.print(f"  {none}", markup=False)
    merge_layers([file_layer(folder / FILE_NAME)])
    _show_servers(folder, out)
    if files and not agreed(f"Trust {folder.resolve()} as it is now?", not sys.stdin.isatty()):
        return REFUSED
    trust(folder)
    out.print(labelled("Trusted as it is now:", str(folder.resolve())), markup=False)
    return 0


async def offer_trust(folder: Path) -> None:
    """Where a person is there, show what a folder that is not trusted would run, and ask."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or is_trusted(folder):
        return
    out, _ = consoles()
    told = f"{folder.resolve()} is not trusted yet. Trusted, it uses:"
    out.print(translated(told), markup=False)
    await trust_folder(folder)


def _show_servers(folder: Path, out: Console) -> None:
    """What each entry of mcp.json starts; an entry that cannot be read starts nothing."""
    try:
        servers = read_config(folder).servers
    except McpError as error:
        out.print(translated(f"  mcp.json cannot be used: {error}"), markup=False)
        return
    for server in servers:
        line = labelled(f"  {_does(server)}", server.summary)
        out.print(line, markup=False, soft_wrap=True)  # a command is shown as it is, unbroken


def _does(server: ServerConfig) -> str:
    if server.url:
        off = f"the server {server.name}, disabled, calls:"
        return off if server.disabled else f"the server {server.name} calls:"
    off = f"the server {server.name}, disabled, starts:"
    return off if server.disabled else f"the server {server.name} starts:"
