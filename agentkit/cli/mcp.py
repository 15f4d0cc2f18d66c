"""`agentkit mcp serve`: a project for other programs, over standard input and output or HTTP."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.agent.agent import Agent
from agentkit.cli.errors import INTERRUPTED
from agentkit.cli.language import spoken, translated
from agentkit.errors import ConfigError, McpError
from agentkit.knowledge.tools import knowledge_tools
from agentkit.mcp.server import build_server, claim_stdout
from agentkit.mcp.server import serve_stdio as over_stdio
from agentkit.mcp.server.http import Access, KeyVerifier, check_address, host_and_port
from agentkit.mcp.stdio import depth
from agentkit.project.project import Project
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from mcp.server import Server

DEEPEST = 1
"""An agent may use another as a server, but not one that uses a third: that one may be itself."""


@dataclass(frozen=True, slots=True)
class Http:
    """Where to serve: `address` is [HOST:]PORT, `key_env` names the variable of the key."""

    address: str
    key_env: str = ""
    hosts: tuple[str, ...] = ()


async def serve(folder: Path, model: str | None, base_url: str | None) -> int:
    """Serve until the client leaves. Whatever a tool prints goes to standard error."""
    wire = claim_stdout()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: os._exit(INTERRUPTED))
    async with _served(folder, model, base_url) as server:
        if sys.stdin.isatty():
            _say(translated(f"serving {server.name} to an MCP client over stdio; Ctrl-C ends"))
        await over_stdio(server, wire)
    return 0


async def serve_http(folder: Path, model: str | None, base_url: str | None, http: Http) -> int:
    """Serve until SIGINT or SIGTERM."""
    from agentkit.mcp.server.http import mcp_app
    from agentkit.mcp.server.http import serve_http as over_http

    host, port = host_and_port(http.address)
    verifier = KeyVerifier(_key(http.key_env)) if http.key_env else None
    check_address(host, verifier is not None)
    access = Access(hosts=(*http.hosts, host), verifier=verifier)
    async with _served(folder, model, base_url) as server:
        await over_http(
            mcp_app(server, access),
            host,
            port,
            has_verifier=verifier is not None,
            on_ready=lambda url: _say(translated(f"serving {server.name} at {url}; Ctrl-C ends")),
        )
    return 0


@asynccontextmanager
async def _served(
    folder: Path, model: str | None, base_url: str | None
) -> AsyncIterator[Server[Any]]:
    if depth() > DEEPEST:
        raise McpError(
            f"{folder} is not served: agents have started each other as MCP servers "
            f"{depth()} times over. Take `agentkit mcp serve` out of mcp_servers/mcp.json."
        )
    async with Project.open(folder, model=model, base_url=base_url) as project:
        agent = project.agent
        for notice in project.notices:
            _say(spoken("note:", notice))
        yield build_server(
            project.path.resolve().name,
            knowledge=agent.knowledge,
            agent=agent,
            tools=own_tools(agent),
            policy=agent.policy,
        )


def own_tools(agent: Agent) -> list[Tool]:
    """An agent's tools without its knowledge's, which are offered in another form, and without
    those that other servers lend (they have no model of their arguments)."""
    known = {tool.name for tool in knowledge_tools(agent.knowledge)} if agent.knowledge else set()
    return [t for t in agent.tools if t.name not in known and t.model is not None]


def _key(variable: str) -> str:
    key = os.environ.get(variable, "")
    if not key:
        raise ConfigError(f"The variable {variable} holds no key. Set it, or drop --key-env.")
    return key


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
