"""A server over streamable HTTP: as an ASGI app of its own or within another, and served here.

Bodies, sessions and connections are bounded; sessions carry 122 random bits. No TLS: where the
server is reached from elsewhere, put a proxy before it. Importing this loads the SDK.

Who may talk to a server over HTTP: the Host and the Origin a request names, and its key.

A web page that points its own name at this machine (DNS rebinding) is known by the name it gives
as Host; a page that calls from another site by its Origin. Encryption is left to a proxy.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import uvicorn
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Route

from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp.server.auth.provider import AccessToken, TokenVerifier
    from starlette.types import ASGIApp, Receive, Scope, Send

SHORTEST_KEY = 16


@dataclass(frozen=True, slots=True)
class Access:
    """Without a `verifier`, which says whose bearer token is good, only this machine may call.

    `hosts` are the names that the server may be called by, besides this machine's own; `origins`
    the web sites (https://app.example.org) whose pages may call it, besides those of `hosts`.
    """

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    verifier: TokenVerifier | None = None


class KeyVerifier:
    """Takes one key for good: a secret that the server and its clients share."""

    def __init__(self, key: str) -> None:
        if len(key) < SHORTEST_KEY:
            raise ConfigError(
                f"The key has fewer than {SHORTEST_KEY} characters. Make a longer one: "
                "python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        self._key = key.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        from mcp.server.auth.provider import AccessToken

        if not hmac.compare_digest(token.encode(), self._key):
            return None
        return AccessToken(token="", client_id="key", scopes=[])


class Guard:
    """An ASGI app that hands on what may come in, and answers the rest."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Not every HTTP parser takes the white space off that may stand around a value.
        scope = {**scope, "headers": [(k, v.strip(b" \t")) for k, v in scope["headers"]]}
        if refusal := self._refusal(scope):
            await _answer(send, *refusal)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        client = scope.get("client")
        if self._access.verifier is None and client and not is_loopback(client[0]):
            return 403, "Without a key only this machine may call."
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or not self._is_ours(_host_of(hosts[0])):
            return 421, "This server goes by another Host; --allow-host names more."
        if not all(self._may_call(origin) for origin in _values(scope, b"origin")):
            return 403, "Pages of that Origin may not call this server."
        return None

    def _is_ours(self, host: str) -> bool:
        """Whether a request may name this host. An address cannot be rebound as a name can."""
        known = is_loopback(host) or host in self._access.hosts
        return known or (self._access.verifier is not None and _address(host) is not None)

    def _may_call(self, origin: str) -> bool:
        if origin in self._access.origins:
            return True
        scheme, _, authority = origin.lower().partition("://")
        host = _host_of(authority)
        return scheme in ("http", "https") and (is_loopback(host) or host in self._access.hosts)


def is_loopback(host: str) -> bool:
    """Whether a name or an address leads to this very machine."""
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def check_address(host: str, has_verifier: bool) -> None:
    """Raises ConfigError where a server at this address would let strangers in."""
    if not has_verifier and not is_loopback(host):
        raise ConfigError(
            f"At {host} strangers could call. Set a key with --key-env NAME, or serve at 127.0.0.1."
        )


def host_and_port(written: str) -> tuple[str, int]:
    """PORT, HOST:PORT or [ADDRESS]:PORT; the host is 127.0.0.1 if left out. Raises ConfigError."""
    try:
        parts = urlsplit(f"//{written if ':' in written else f'127.0.0.1:{written}'}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.path or parts.query or parts.username is not None:
        raise ConfigError(f"{written!r} is no address to serve at. Write PORT or HOST:PORT.")
    return host, port


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _host_of(authority: str) -> str:
    """The host of HOST or HOST:PORT, "" where it is neither."""
    found = re.fullmatch(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?", authority.lower())
    return found[1].strip("[]") if found else ""


async def _answer(send: Send, status: int, words: str) -> None:
    body = f"{words}\n".encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": body})


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
