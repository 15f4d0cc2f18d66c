"""A server at a loopback URL that nobody can guess, for a program that speaks plain HTTP alone.

One over HTTP gets its headers and its sign-in on the way. Each session with another gets a child,
or a connection, of its own, as it would have from any client; the stateless era has one for all.
Made for tests: a request has one answer, and a session without end is held until the block ends.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agentkit.errors import McpError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.loopback import at_loopback
from agentkit.mcp.relay import Relay
from agentkit.mcp.transports import http_client

if TYPE_CHECKING:
    import httpx2
    from starlette.requests import Request
    from starlette.responses import Response

SESSION = "mcp-session-id"
MOST_SESSIONS = 50
SPARE = 2
"""Servers that run before they are wanted: a client waits for an answer, and not for a start."""

_SHARED = ""
"""The session of the stateless era, which names none."""

_OF_CONNECTION = ("host", "content-length", "connection", "transfer-encoding", "content-encoding")
"""Headers that are a connection's own."""


@asynccontextmanager
async def bridged(config: ServerConfig, auth: httpx2.Auth | None) -> AsyncIterator[str]:
    """The URL at which a server can be reached, for as long as the block runs. Raises McpError."""
    if config.transport == "http":
        async with (
            http_client(config, headers=dict(config.headers), auth=auth) as client,
            at_loopback(_Forward(config.url, client).answer) as url,
        ):
            yield url
        return
    sessions = _Sessions(config, auth)
    try:
        await sessions.keep_spare()
        async with at_loopback(sessions.answer) as url:
            yield url
    finally:
        await sessions.close()


class _Forward:
    """Requests handed on to a server over HTTP."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url
        self._client = client

    async def answer(self, request: Request) -> Response:
        import httpx2
        from starlette.background import BackgroundTask
        from starlette.responses import Response, StreamingResponse

        headers = {k: v for k, v in request.headers.items() if k not in _OF_CONNECTION}
        asked = self._client.build_request(
            request.method, self._url, headers=headers, content=await request.body()
        )
        try:
            told = await self._client.send(asked, stream=True)
        except (OSError, McpError, httpx2.HTTPError) as error:
            return Response(f"The server cannot be reached: {error}", status_code=502)
        return StreamingResponse(
            told.aiter_bytes(),
            told.status_code,
            {k: v for k, v in told.headers.items() if k.lower() not in _OF_CONNECTION},
            background=BackgroundTask(told.aclose),
        )


class _Sessions:
    """Sessions over HTTP, each with a server behind it."""

    def __init__(self, config: ServerConfig, auth: httpx2.Auth | None) -> None:
        self._config = config
        self._auth = auth
        self._servers: dict[str, Relay] = {}
        self._spare: deque[Relay] = deque()
        self._starting = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        from starlette.responses import Response

        name = request.headers.get(SESSION, _SHARED)
        if request.method == "DELETE" and name in self._servers:
            await self._servers.pop(name).close()
            return Response(status_code=200)
        if request.method != "POST":
            return Response(status_code=405)
        try:
            return await self._passed_on(json.loads(await request.body()), name)
        except ValueError as error:
            return Response(f"This is no message: {error}", status_code=400)
        except McpError as error:
            return Response(str(error), status_code=502)

    async def keep_spare(self) -> None:
        """Start as many servers as there shall be in reserve. Raises McpError."""
        async with self._starting:
            while len(self._spare) < SPARE:
                server = Relay(self._config, self._auth)
                await server.open()
                self._spare.append(server)

    async def close(self) -> None:
        """End them all."""
        everyone = [*self._servers.values(), *self._spare]
        await asyncio.gather(*(server.close() for server in everyone))

    async def _passed_on(self, message: dict[str, object], name: str) -> Response:
        from starlette.responses import JSONResponse, Response

        if message.get("method") == "initialize":
            name = secrets.token_urlsafe()
        server = await self._server(name, begins=message.get("method") == "initialize")
        if server is None:
            return Response(status_code=404)
        if "method" not in message or "id" not in message:
            await server.tell(message)
            return Response(status_code=202)
        return JSONResponse(await server.ask(message), headers={SESSION: name} if name else {})

    async def _server(self, name: str, *, begins: bool) -> Relay | None:
        """The server of a session, None where there is no such session. Raises McpError."""
        begins = begins or name == _SHARED
        if name not in self._servers and begins and len(self._servers) < MOST_SESSIONS:
            if not self._spare:
                await self.keep_spare()
            self._servers[name] = self._spare.popleft()
            await self.keep_spare()
        return self._servers.get(name)
