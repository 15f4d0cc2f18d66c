"""The shipped server within another app, as `agentkit serve` mounts it:
`python -m tests.conformance.shipped_server FOLDER PORT`."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

from starlette.applications import Starlette
from starlette.routing import Mount

from agentkit.mcp.server import build_server
from agentkit.mcp.server.http import mcp_app, serve_http
from agentkit.project.project import Project


async def serve(folder: str, port: int) -> None:
    async with Project.open(folder, model="extractive") as project:
        inner = mcp_app(build_server("mounted", knowledge=project.knowledge, agent=project.agent))
        outer = Starlette(routes=[Mount("/", app=inner)], lifespan=inner.router.lifespan_context)
        ready = partial(print, file=sys.stderr, flush=True)
        await serve_http(outer, "127.0.0.1", port, on_ready=ready)


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))
