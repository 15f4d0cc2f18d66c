"""A server over streamable HTTP: as an ASGI app of its own or within another, and served here.

Bodies, sessions and connections are bounded; sessions carry 122 random bits. No TLS: where the
server is reached from elsewhere, put a proxy before it. Importing this loads the SDK.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import uvicorn
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Route

from agentkit.errors import ConfigError
from agentkit.mcp.access import Access, Guard, check_address

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp.server.auth.provider import TokenVerifier
    from starlette.types import ASGIApp

PATH = "/mcp"
MOST_BYTES = 1_048_576
"""Most bytes of a request's body."""

MOST_SESSIONS = 1000
IDLE_SECONDS = 1800.0
MOST_CONNECTIONS = 1000
GRACE_SECONDS = 5
"""How long open requests may go on after the server was told to end."""


def mcp_app(
    server: Server[Any],
    access: Access = Access(),
    *,
    path: str = PATH,
    most_bytes: int = MOST_BYTES,
    most_sessions: int = MOST_SESSIONS,
) -> Starlette:
    """A server as an ASGI app that answers at `path` those whom `access` lets in.

    Mounted in another app, that app's lifespan must enter `app.router.lifespan_context(app)`. The
    app runs once, and what was sent to a client that lost its connection is not sent again.
    """
    manager = StreamableHTTPSessionManager(
        server,
        # Guard checks Host and Origin; this leaves the check of the content type.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        session_idle_timeout=IDLE_SECONDS,
        max_request_body_size=most_bytes,
        max_sessions=most_sessions,
    )
    endpoint: ASGIApp = StreamableHTTPASGIApp(manager)
    if access.verifier is not None:
        endpoint = _keyed(endpoint, access.verifier)
    return Starlette(
        routes=[Route(path, Guard(endpoint, access))], lifespan=lambda app: manager.run()
    )


async def serve_http(
    app: Starlette,
    host: str,
    port: int,
    *,
    has_verifier: bool = False,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve an app of `mcp_app` until SIGINT or SIGTERM; open requests get some seconds to end.
    `on_ready` hears the address, for port 0 too.

    Raises ConfigError where strangers could call without a key, or the address cannot be had.
    """
    check_address(host, has_verifier)
    taken = await asyncio.to_thread(listening, host, port)
    with taken:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            lifespan="on",
            ws="none",
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        on_ready(f"http://{_shown(host)}:{taken.getsockname()[1]}{PATH}")
        await _Uvicorn(config).serve(sockets=[taken])


class _Uvicorn(uvicorn.Server):
    """uvicorn raises a signal again once it has shut down, which would end the process before
    those around it have closed what they hold."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            with super().capture_signals():
                yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


def _keyed(app: ASGIApp, verifier: TokenVerifier) -> ASGIApp:
    required = AuthContextMiddleware(RequireAuthMiddleware(app, []))
    return AuthenticationMiddleware(required, backend=BearerAuthBackend(verifier))


def listening(host: str, port: int) -> socket.socket:
    """An address taken, before anything else starts, so that a port in use is told in a line.
    Raises ConfigError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        said = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"Nothing can be served at {_shown(host)}:{port}: {said}. Choose another port."
        ) from error


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
