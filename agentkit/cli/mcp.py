"""`agentkit mcp serve`: a project for other programs, over standard input and output."""

from __future__ import annotations

from pathlib import Path

from agentkit.mcp.server import build_server, claim_stdout, serve_stdio
from agentkit.project.project import Project


async def serve(folder: Path, model: str | None, base_url: str | None) -> int:
    """Serve until the client leaves. Whatever a tool prints goes to standard error."""
    wire = claim_stdout()
    async with Project.open(folder, model=model, base_url=base_url) as project:
        agent = project.agent
        name = project.path.resolve().name
        await serve_stdio(build_server(name, knowledge=agent.knowledge, agent=agent), wire)
    return 0
