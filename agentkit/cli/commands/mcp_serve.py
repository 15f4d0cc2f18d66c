"""`agentkit mcp serve`: serve a folder over standard input and output, or over HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from agentkit._sync import in_background
from agentkit.cli.command import BaseUrl, Folder, Model, command
from agentkit.cli.commands.mcp_changes import app  # which has the other commands
from agentkit.cli.errors import INTERRUPTED
from agentkit.cli.i18n import _
from agentkit.cli.serving import AllowHost, KeyEnv, log, log_notices, open_served, read_key
from agentkit.errors import AgentkitError, McpError
from agentkit.project.changes import watch_trusted_files
from agentkit.project.trust import take
from agentkit.settings.schema import FILE_NAME

if TYPE_CHECKING:
    from agentkit.agent.agent import Agent
    from agentkit.mcp.server.app import AgentServer
    from agentkit.project.project import Project
    from agentkit.settings.schema import Settings
    from agentkit.tools.tool import Tool

_STOP_SECONDS = 1.0
"""Time to close a folder after a signal."""

_MOST_NESTED = 1
"""An agent may use another as a server, but not one that uses a third: that may be itself."""


@command(
    app,
    "serve",
    _(
        "Serve the documents, the agent and the folder's tools over standard input and output, or "
        "over HTTP."
    ),
    "agentkit mcp serve --folder my-app",
    "agentkit mcp serve --http 8765",
)
async def serve(
    folder: Folder = Path(),
    model: Model = None,
    base_url: BaseUrl = None,
    http: Annotated[
        str, Option("--http", help=_("Serve at [HOST:]PORT, path /mcp, instead of stdio."))
    ] = "",
    key_env: KeyEnv = "",
    host: AllowHost = None,
) -> None:
    if not http and (key_env or host):
        raise typer.BadParameter("--key-env and --allow-host go with --http.")
    if http:
        await _serve_http(folder, model, base_url, http, key_env, host or [])
    else:
        await _serve_stdio(folder, model, base_url)


async def _serve_stdio(folder: Path, model: str | None, base_url: str | None) -> None:
    """Serve until the client leaves, or a signal comes. Whatever a tool prints goes to standard
    error."""
    from agentkit.mcp.server import claim_stdout, serve_stdio

    wire = claim_stdout()
    loop, serving = asyncio.get_running_loop(), asyncio.current_task()
    assert serving is not None
    stopped: list[int] = []

    def stop(number: int) -> None:
        # A thread that waits for standard input cannot be stopped: only leaving ends it.
        loop.call_later(_STOP_SECONDS, os._exit, 128 + number)
        stopped.append(128 + number)
        serving.cancel()

    loop.add_signal_handler(signal.SIGINT, lambda: os._exit(INTERRUPTED))
    loop.add_signal_handler(signal.SIGTERM, stop, signal.SIGTERM)
    try:
        async with _project_server(folder, model, base_url) as (server, _settings):
            if sys.stdin.isatty():
                log(f"serving {server.name} to an MCP client over stdio; Ctrl-C stops")
            await serve_stdio(server, wire)
    finally:
        if stopped:
            os._exit(stopped[0])


async def _serve_http(
    folder: Path,
    model: str | None,
    base_url: str | None,
    address: str,
    key_env: str,
    hosts: Iterable[str],
) -> None:
    """Serve until SIGINT or SIGTERM."""
    from agentkit._asgi_server import ServerLimits
    from agentkit.mcp.server.http import (
        Access,
        KeyVerifier,
        McpLimits,
        check_address,
        host_and_port,
        mcp_app,
        serve_http,
    )

    host, port = host_and_port(address)
    verifier = KeyVerifier(read_key(key_env)) if key_env else None
    check_address(host, verifier is not None)
    access = Access(hosts=(*hosts, host), verifier=verifier)
    async with _project_server(folder, model, base_url) as (server, settings):
        mcp = settings.mcp
        limits = McpLimits(mcp.sessions, mcp.running, mcp.per_minute)
        await serve_http(
            mcp_app(server, access, limits),
            host,
            port,
            limits=ServerLimits(**settings.http.model_dump()),
            has_verifier=verifier is not None,
            on_ready=lambda url: log(f"serving {server.name} at {url}; Ctrl-C stops"),
        )


@asynccontextmanager
async def _project_server(
    folder: Path, model: str | None, base_url: str | None
) -> AsyncIterator[tuple[AgentServer, Settings]]:
    """Serve a project's documents, agent and tools; yields the server and the settings."""
    from agentkit.mcp.server import build_server
    from agentkit.mcp.server.indexing import BackgroundIndex
    from agentkit.mcp.stdio import depth

    if depth() > _MOST_NESTED:
        raise McpError(
            f"{folder} is not served: agents have started each other as MCP servers {depth()} "
            "times. Take `agentkit mcp serve` out of mcp_servers/mcp.json."
        )
    project = open_served(folder, model, base_url)
    async with project, AsyncExitStack() as stack:
        agent = project.agent
        log_notices(project)
        indexing = None
        if agent.knowledge is not None:
            indexing = BackgroundIndex(
                agent.knowledge,
                folder / "knowledge",
                max_file_mb=project.settings.knowledge.max_file_mb,
                report=lambda line: log(f"note: {line}"),
            )
            await stack.enter_async_context(in_background(indexing.run()))
        server = build_server(
            project.path.resolve().name,
            knowledge=agent.knowledge,
            agent=agent,
            tools=own_tools(agent),
            policy=agent.policy,
            indexing=indexing,
            links=project.settings.mcp.resource_links,
        )
        refresh = Refresh(project, server, log)
        watching = watch_trusted_files(project.path, refresh.check)
        await stack.enter_async_context(in_background(watching))
        yield server, project.settings


class Refresh:
    """Publishes tools and starts servers again once their changes are trusted; says what waits for
    trust, or for another start."""

    def __init__(
        self, project: Project, server: AgentServer, report: Callable[[str], None]
    ) -> None:
        self._project, self._server, self._report = project, server, report
        self._settings = self._read_settings()
        self._last = ""

    async def check(self) -> None:
        """Compare the files with those in use."""
        try:
            notice = await self._project.refresh_tools()
            if not notice and await asyncio.to_thread(self._read_settings) != self._settings:
                notice = f"{FILE_NAME} or the trust in it changed. Start again to use what is new."
            await self._server.replace_tools(own_tools(self._project.agent))
        except AgentkitError as error:
            notice = str(error)
        if notice and notice != self._last:
            self._report(f"note: {notice}")
        self._last = notice

    def _read_settings(self) -> tuple[bytes | None, bool]:
        found = take(self._project.path)
        return found.settings, found.is_trusted


def own_tools(agent: Agent) -> list[Tool]:
    """An agent's tools without remote ones, which have no model of their arguments."""
    return [tool for tool in agent.tools if tool.model is not None]
