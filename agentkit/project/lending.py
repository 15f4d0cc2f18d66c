"""The MCP servers of a folder, started for its agent. Only a folder that names some loads this, for
what speaks MCP takes a twentieth of a second to load."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from agentkit.agent.approval import Approve, Policy
from agentkit.backends.base import Model
from agentkit.mcp.client import McpServers, folder_servers
from agentkit.mcp.client_features import Elicit, sampler
from agentkit.mcp.config import read_config


@dataclass
class Lent:
    """Servers that run, None where none shall, and what is to be said of them."""

    servers: McpServers | None = None
    notices: list[str] = field(default_factory=list)


async def start_servers(
    stack: AsyncExitStack,
    folder: Path,
    *,
    policy: Policy,
    elicit: Elicit | None,
    approve: Approve,
    model: Callable[[], Model],
    on_change: Callable[[], None],
) -> Lent:
    """Start the servers that are not disabled; they end with the stack. Raises ConfigError."""
    config = read_config(folder)
    active = [server for server in config.servers if not server.disabled]
    if not active:
        return Lent(None, list(config.warnings))
    servers = folder_servers(
        folder,
        active,
        policy=policy,
        elicit=elicit,
        sample=sampler(model, approve, policy),
        on_change=on_change,
    )
    await stack.enter_async_context(servers)
    return Lent(servers, [*config.warnings, *servers.problems.values()])
