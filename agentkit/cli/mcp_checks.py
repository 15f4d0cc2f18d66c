"""`agentkit mcp test`: check that a server behaves as any MCP server should."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from rich.cells import set_cell_size

from agentkit.cli.language import translated
from agentkit.cli.mcp_clients import must_run, running
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles, harmless
from agentkit.mcp.checks import run_checks

FAILED = 10
"""The exit code where a check failed, as of any McpError."""


async def check_server(folder: Path, server: str, json: bool) -> int:
    """Run the ten checks against a server."""
    out, log = consoles()
    async with running(folder, log, server) as servers:
        must_run(servers, server)
        results = await run_checks(servers.clients[server])
    failed, skipped = (sum(r.outcome == kind for r in results) for kind in ("failed", "skipped"))
    if json:
        print(as_json([asdict(result) for result in results]))
        return FAILED if failed else 0
    for result in results:
        outcome = set_cell_size(translated(result.outcome), 8)
        detail = f": {translated(result.said)}" if result.said else ""
        out.print(harmless(f"{outcome}{result.name}{detail}"), markup=False)
    summary = f"{len(results)} checks, {failed} failed, {skipped} skipped"
    log.print(translated(summary), markup=False)
    return FAILED if failed else 0
