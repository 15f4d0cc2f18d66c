"""An ASGI handler at a loopback URL of its own, for as long as a block runs.

The path cannot be guessed, and requests that name another Host or come from a web page are refused.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from agentkit.mcp.access import Access, Guard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response


@asynccontextmanager
async def at_loopback(
    answer: Callable[[Request], Awaitable[Response]],
) -> AsyncIterator[str]:
    """The URL at which a handler answers whoever knows it."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import Route

    from agentkit.mcp.http import listening

    class Quiet(uvicorn.Server):
        """Leaves the signals to those around it."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    path = f"/{secrets.token_urlsafe()}"
    app = Starlette(routes=[Route(path, answer, methods=["GET", "POST", "DELETE"])])
    config = uvicorn.Config(
        Guard(app, Access()), log_config=None, access_log=False, lifespan="off", ws="none"
    )
    with listening("127.0.0.1", 0) as taken:
        server = Quiet(config)
        serving = asyncio.create_task(server.serve(sockets=[taken]))
        try:
            yield f"http://127.0.0.1:{taken.getsockname()[1]}{path}"
        finally:
            server.should_exit = True
            server.force_exit = True
            await serving
