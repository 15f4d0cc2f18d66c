"""`agentkit mcp serve`: a project for other programs, over standard input and output."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from agentkit.cli.errors import INTERRUPTED
from agentkit.mcp.server import build_server, claim_stdout, serve_stdio
from agentkit.project.project import Project


async def serve(folder: Path, model: str | None, base_url: str | None) -> int:
    """Serve until the client leaves. Whatever a tool prints goes to standard error."""
    wire = claim_stdout()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: os._exit(INTERRUPTED))
    async with Project.open(folder, model=model, base_url=base_url) as project:
        agent = project.agent
        name = project.path.resolve().name
        if sys.stdin.isatty():
            print(f"serving {name} to an MCP client over stdio; Ctrl-C ends", file=sys.stderr)
        await serve_stdio(build_server(name, knowledge=agent.knowledge, agent=agent), wire)
    return 0
