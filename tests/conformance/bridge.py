"""Serve any MCP server at a secret loopback URL, for a program that speaks plain HTTP only.

Headers and OAuth of a remote server are added on the way. Each session gets a child process or a
connection of its own, as it would from any client; the stateless protocol shares one. A request has
one response; requests and notifications of the server are dropped.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from agentkit._asgi_server import listen
from agentkit.errors import McpError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.server.http import Access, AccessControl
from agentkit.mcp.stdio import ServerLog
from agentkit.mcp.transport import http_client, transport

if TYPE_CHECKING:
    import httpx2

SESSION = "mcp-session-id"
MAX_SESSIONS = 50
SPARE = 2
"""Servers started in advance: the suite waits for a response, but not for a start."""

OPEN_SECONDS = 30.0
NO_RESPONSE, ENDED = -32001, -32000

_SHARED = ""
"""The session of the stateless protocol, which has no id."""

_CONNECTION_HEADERS = (
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "content-encoding",
)


@asynccontextmanager
async def bridge(config: ServerConfig, auth: httpx2.Auth | None) -> AsyncIterator[str]:
    """Yield the URL at which a server is reachable while the block runs. Raises McpError."""
    if config.transport == "http":
        async with (
            http_client(config, headers=dict(config.headers), auth=auth) as client,
            serve_loopback(_Proxy(config.url, client).respond) as url,
        ):
            yield url
        return
    sessions = _Sessions(config, auth)
    try:
        await sessions.start_spares()
        async with serve_loopback(sessions.respond) as url:
            yield url
    finally:
        await sessions.close()


class _Proxy:
    """Forwards requests to a server over HTTP."""

    def __init__(self, url: str, client: httpx2.AsyncClient) -> None:
        self._url = url
        self._client = client

    async def respond(self, request: Request) -> Response:
        import httpx2

        headers = {k: v for k, v in request.headers.items() if k not in _CONNECTION_HEADERS}
        forwarded = self._client.build_request(
            request.method, self._url, headers=headers, content=await request.body()
        )
        try:
            response = await self._client.send(forwarded, stream=True)
        except (OSError, McpError, httpx2.HTTPError) as error:
            return Response(f"The server cannot be reached: {error}", status_code=502)
        return StreamingResponse(
            response.aiter_bytes(),
            response.status_code,
            {k: v for k, v in response.headers.items() if k.lower() not in _CONNECTION_HEADERS},
            background=BackgroundTask(response.aclose),
        )


class _Sessions:
    """HTTP sessions, each with a server behind it."""

    def __init__(self, config: ServerConfig, auth: httpx2.Auth | None) -> None:
        self._config = config
        self._auth = auth
        self._servers: dict[str, Relay] = {}
        self._spare: deque[Relay] = deque()
        self._starting = asyncio.Lock()

    async def respond(self, request: Request) -> Response:
        session = request.headers.get(SESSION, _SHARED)
        if request.method == "DELETE" and session in self._servers:
            await self._servers.pop(session).close()
            return Response(status_code=200)
        if request.method != "POST":
            return Response(status_code=405)
        try:
            return await self._forward(json.loads(await request.body()), session)
        except ValueError as error:
            return Response(f"Not a JSON-RPC message: {error}", status_code=400)
        except McpError as error:
            return Response(str(error), status_code=502)

    async def start_spares(self) -> None:
        """Start servers until SPARE are in reserve. Raises McpError."""
        async with self._starting:
            while len(self._spare) < SPARE:
                server = Relay(self._config, self._auth)
                await server.open()
                self._spare.append(server)

    async def close(self) -> None:
        """Close all servers."""
        servers = [*self._servers.values(), *self._spare]
        await asyncio.gather(*(server.close() for server in servers))

    async def _forward(self, message: dict[str, object], session: str) -> Response:
        begins = message.get("method") == "initialize"
        if begins:
            session = secrets.token_urlsafe()
        server = await self._server(session, begins=begins or session == _SHARED)
        if server is None:
            return Response(status_code=404)
        if "method" not in message or "id" not in message:
            await server.notify(message)
            return Response(status_code=202)
        headers = {SESSION: session} if session else {}
        return JSONResponse(await server.request(message), headers=headers)

    async def _server(self, session: str, *, begins: bool) -> Relay | None:
        """Return the server of a session, None for an unknown session. Raises McpError."""
        if session not in self._servers and begins and len(self._servers) < MAX_SESSIONS:
            if not self._spare:
                await self.start_spares()
            self._servers[session] = self._spare.popleft()
            await self.start_spares()
        return self._servers.get(session)


class Relay:
    """One connection to a server, as raw JSON-RPC messages. Requests get ids of our own."""

    def __init__(self, config: ServerConfig, auth: httpx2.Auth | None = None) -> None:
        self._config = config
        self._auth = auth
        self._leave = asyncio.Event()
        self._write: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._last_id = 0
        self._owner: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start the server. Raises McpError."""
        self._owner = asyncio.create_task(self._run(), name=f"mcp relay {self._config.name}")
        either: set[asyncio.Future[Any]] = {self._owner, self._write}
        await asyncio.wait(either, timeout=OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not self._write.done():
            await self.close()
            raise McpError(
                f"The MCP server {self._config.name!r} does not start. See why with: "
                f"agentkit mcp inspect {self._config.name}",
                self._config.name,
            )

    async def close(self) -> None:
        """End the server."""
        self._leave.set()
        if self._owner is not None:
            await asyncio.wait({self._owner})
            _ = self._owner.cancelled() or self._owner.exception()  # Else asyncio logs a warning.

    async def notify(self, message: dict[str, Any]) -> None:
        """Send a message that has no response. Raises ValueError for an invalid one."""
        from mcp.shared.message import SessionMessage
        from mcp_types import jsonrpc_message_adapter

        parsed = jsonrpc_message_adapter.validate_python(message, by_name=False)
        await self._write.result().send(SessionMessage(parsed))

    async def request(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and return its response, or an error response where none comes."""
        self._last_id += 1
        number = self._last_id
        self._waiting[number] = future = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._config.timeout):
                await self.notify({**request, "id": number})
                response = await future
        except TimeoutError:
            response = _error(NO_RESPONSE, "no response in time")
        finally:
            del self._waiting[number]
        return {**response, "id": request["id"]}

    async def _run(self) -> None:
        """Enter and leave the transport in one task, as anyio requires."""
        with ServerLog(None) as log:
            streams = transport(self._config, log, self._leave.set, self._auth)
            async with streams as (reading, writing):
                self._write.set_result(writing)
                receiving = asyncio.create_task(self._receive(reading))
                await self._leave.wait()
                receiving.cancel()
                await asyncio.gather(receiving, return_exceptions=True)
        for number in self._waiting:
            self._resolve(number, _error(ENDED, "the server ended"))

    async def _receive(self, reading: Any) -> None:
        async for item in reading:
            message = item.message.model_dump(mode="json", by_alias=True, exclude_unset=True)
            if "method" not in message:
                self._resolve(message.get("id"), message)

    def _resolve(self, number: Any, response: dict[str, Any]) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(response)


def _error(code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": {"code": code, "message": message}}


@asynccontextmanager
async def serve_loopback(
    respond: Callable[[Request], Awaitable[Response]],
) -> AsyncIterator[str]:
    """Yield a loopback URL with a random path at which a handler responds. Requests with another
    Host or from a web page are refused."""

    class Uvicorn(uvicorn.Server):
        """Leaves signals to the program."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    path = f"/{secrets.token_urlsafe()}"
    app = Starlette(routes=[Route(path, respond, methods=["GET", "POST", "DELETE"])])
    config = uvicorn.Config(
        AccessControl(app, Access()), log_config=None, access_log=False, lifespan="off", ws="none"
    )
    with listen("127.0.0.1", 0) as socket:
        server = Uvicorn(config)
        serving = asyncio.create_task(server.serve(sockets=[socket]))
        try:
            yield f"http://127.0.0.1:{socket.getsockname()[1]}{path}"
        finally:
            server.should_exit = True
            server.force_exit = True
            await serving
