"""`agentkit mcp test`: our own checks, and the published conformance scenarios."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path

from rich.cells import set_cell_size
from rich.console import Console

from agentkit.cli.asking import agreed
from agentkit.cli.language import translated
from agentkit.cli.mcp_clients import chosen, must_run, running
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles, harmless
from agentkit.mcp.checks import Checked, check
from agentkit.mcp.config import ServerConfig, read_config
from agentkit.mcp.node import NodeFolder, cache_folder
from agentkit.mcp.oauth import auth_for, token_path, uses_oauth
from agentkit.mcp.suite import SUITE, Suite

FAILED = 10
"""The exit code of a server that does not do as it should, as of any McpError."""

_SIZE = "up to 250 MB"


async def check_server(folder: Path, server: str, published: bool | None, json: bool) -> int:
    """Try on a server what any server should do. `published` says whether to put the published
    scenarios to it: yes, no, or where they are installed or the user agrees."""
    out, log = consoles()
    found = []
    async with running(folder, log, server) as servers:
        must_run(servers, server)
        for checked in await check(servers.clients[server]):
            found.append(_shown(checked, out, json))
    if suite := await _suite(published, server, log):
        (config,) = chosen(read_config(folder).servers, [server])
        async for checked in _published(config, suite):
            found.append(_shown(checked, out, json))
    if json:
        print(as_json([asdict(each) for each in found]))
    failed, skipped = (sum(e.outcome == what for e in found) for what in ("failed", "skipped"))
    if not json:
        told = f"{len(found)} checks, {failed} failed, {skipped} skipped"
        log.print(translated(told), markup=False)
    return FAILED if failed else 0


async def _published(config: ServerConfig, suite: Suite) -> AsyncIterator[Checked]:
    from agentkit.mcp.published import published, reached

    signs_in = uses_oauth(config) and (config.oauth or token_path(config).exists())
    async with reached(config, auth_for(config) if signs_in else None) as server:
        async for checked in published(server, suite):
            yield checked


async def _suite(wanted: bool | None, server: str, log: Console) -> Suite | None:
    """The published suite, installed if the user agrees. Raises McpError."""
    if wanted is False:
        return None
    folder = NodeFolder(cache_folder(), (SUITE,))
    if not folder.is_ready:
        if wanted is None and not _may_install(folder, server, log):
            return None
        log.print(translated(f"installing {SUITE} into {folder.place} ..."), markup=False)
        await asyncio.to_thread(folder.install)
    return Suite(folder)


def _may_install(folder: NodeFolder, server: str, log: Console) -> bool:
    what = f"{SUITE} ({_SIZE}, by npm) into {folder.place}"
    if sys.stdin.isatty() and shutil.which("npm"):
        return agreed(f"Install {what}, to put the published scenarios to it?", yes=False)
    told = (
        f"The published scenarios were not run. `agentkit mcp test {server} --published` "
        f"installs {what}."
    )
    log.print(translated(told), markup=False)
    return False


def _shown(checked: Checked, out: Console, json: bool) -> Checked:
    if not json:
        outcome = set_cell_size(translated(checked.outcome), 8)
        said = f": {translated(checked.said)}" if checked.said else ""
        out.print(harmless(f"{outcome}{checked.name}{said}"), markup=False)
    return checked
