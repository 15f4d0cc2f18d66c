"""The servers of a project, with all that keeps them in bounds: pins, logs, sign-ins, one root."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from agentkit.agent.approval import Policy
from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.host import Elicit, Host, Sample
from agentkit.mcp.oauth import auth_for, uses_oauth
from agentkit.mcp.pins import Pins


def folder_servers(
    folder: Path,
    configs: Iterable[ServerConfig],
    *,
    policy: Policy | None = None,
    elicit: Elicit | None = None,
    sample: Sample | None = None,
    on_change: Callable[[], None] | None = None,
) -> McpServers:
    """Servers as a project uses them: enter it to start them. `policy` is the agent's, `elicit`
    asks the user, `sample` the model; without the last two servers may not ask. `on_change` is
    called when the tools are others than before."""
    active = [config for config in configs if not config.disabled]
    return McpServers(
        active,
        log_folder=logs_folder(folder),
        host=Host(folder, elicit, sample),
        pins=Pins(folder),
        policy=policy,
        auths={config.name: auth_for(config) for config in active if uses_oauth(config)},
        on_change=on_change,
    )


def logs_folder(folder: Path) -> Path:
    """Where the logs of a folder's servers are."""
    return folder / ".agentkit" / "logs"
