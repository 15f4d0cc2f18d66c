"""Serve MCP over streamable HTTP: an ASGI app, alone or mounted in another, and access control.

Bodies, sessions and connections are bounded; session ids have 122 random bits. There is no TLS:
put a proxy in front where the server is reached from elsewhere. A web page that points its own
name at this machine (DNS rebinding) is refused by its Host, a page of another site by its Origin.
"""

from __future__ import annotations

import asyncio
import hmac
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import (
    AuthenticatedUser,
    BearerAuthBackend,
    RequireAuthMiddleware,
)
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import RequestBodyLimitMiddleware, TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import Route

from agentkit._asgi_server import ServerLimits, bracket, listen, serve_app
from agentkit._rate_limit import RateLimit
from agentkit.addresses import host_of, is_address, is_loopback_host
from agentkit.errors import ConfigError

if TYPE_CHECKING:
    from mcp.server import Server
    from mcp.server.auth.provider import AccessToken, TokenVerifier
    from mcp.server.streamable_http import StreamableHTTPServerTransport
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MCP_PATH = "/mcp"
MIN_KEY_LENGTH = 16
IDLE_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class Access:
    """Who may call. Without a `verifier` of bearer tokens only this machine may.

    `hosts` are names of the server besides this machine's own; `origins` the web sites
    (https://app.example.org) whose pages may call it, besides those of `hosts`.
    """

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    verifier: TokenVerifier | None = None


@dataclass(frozen=True, slots=True)
class McpLimits:
    """Bounds of an MCP server over HTTP; `running` and `per_minute` are those of each client."""

    sessions: int = 1000
    """Open sessions. At the limit the one that was idle longest makes room for a new one."""
    running: int = 256
    """Requests that are answered at once."""
    per_minute: int = 0
    """Requests a minute, a tenth of them at once; 0 sets no limit."""
    body_bytes: int = 1_048_576


class KeyVerifier:
    """Accepts one key: a secret that the server and its clients share."""

    def __init__(self, key: str) -> None:
        if len(key) < MIN_KEY_LENGTH:
            raise ConfigError(
                f"The key has fewer than {MIN_KEY_LENGTH} characters. Make a longer one: "
                "python -c 'import secrets; print(secrets.token_urlsafe())'"
            )
        self._key = key.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        from mcp.server.auth.provider import AccessToken

        if not hmac.compare_digest(token.encode(), self._key):
            return None
        return AccessToken(token="", client_id="key", scopes=[])


class _Sessions(StreamableHTTPSessionManager):
    """The SDK's manager; at the limit of sessions it ends the one that was idle longest."""

    def _admit_session(self, *options: Any) -> StreamableHTTPServerTransport | None:
        idle = {
            scope.deadline: name
            for name, session in self._server_instances.items()
            if (scope := session.idle_scope) is not None and scope.deadline < math.inf
        }
        if len(self._server_instances) >= (self.max_sessions or 0) and idle:
            name = idle[min(idle)]
            self._session_owners.pop(name, None)
            ended = self._server_instances.pop(name)
            if ended.idle_scope is not None:
                ended.idle_scope.cancel()
        return super()._admit_session(*options)


class ClientLimits:
    """ASGI middleware that bounds the running requests and the rate of each client: a key, or an
    address where there is none. Streams that clients hold open for notifications (GET) are free,
    and a request whose client left in the middle of its body is none: it opens no session."""

    def __init__(self, app: ASGIApp, limits: McpLimits) -> None:
        self._app = app
        self._limits = limits
        self._rate = RateLimit(limits.per_minute)
        self._running: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        body = await receive()  # RequestBodyLimitMiddleware has read all of it
        if body["type"] != "http.request" or body.get("more_body"):
            return
        messages = iter([body])

        async def receive_rest() -> Message:
            return next(messages, None) or await receive()

        user = scope.get("user")
        client = scope.get("client") or ("",)
        name = f"key {user.username}" if isinstance(user, AuthenticatedUser) else client[0]
        if self._running[name] >= self._limits.running:
            await _send_text(send, 429, "Too many requests of this client are running.", 1)
        elif wait := self._rate.take(name):
            reason = f"More than {self._limits.per_minute} requests a minute."
            await _send_text(send, 429, reason, wait)
        else:
            self._running[name] += 1
            try:
                await self._app(scope, receive_rest, send)
            finally:
                self._running[name] -= 1
                self._running += Counter()  # Removes the names without running requests.


def mcp_app(
    server: Server[Any],
    access: Access = Access(),
    limits: McpLimits = McpLimits(),
    *,
    path: str = MCP_PATH,
) -> Starlette:
    """A server as an ASGI app that answers at `path` to those whom `access` allows.

    Mounted in another app, that app's lifespan must enter `app.router.lifespan_context(app)`. The
    app runs once, and messages to a client that lost its connection are not sent again.
    """
    manager = _Sessions(
        server,
        # AccessControl checks Host and Origin; this leaves the check of the content type.
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        session_idle_timeout=IDLE_SECONDS,
        max_request_body_size=limits.body_bytes,
        max_sessions=limits.sessions,
    )
    # A body that is still arriving is no running request: the server has its own deadlines.
    endpoint: ASGIApp = RequestBodyLimitMiddleware(
        ClientLimits(StreamableHTTPASGIApp(manager), limits), limits.body_bytes
    )
    if access.verifier is not None:
        required = AuthContextMiddleware(RequireAuthMiddleware(endpoint, []))
        endpoint = AuthenticationMiddleware(required, backend=BearerAuthBackend(access.verifier))
    return Starlette(
        routes=[Route(path, AccessControl(endpoint, access))], lifespan=lambda app: manager.run()
    )


async def serve_http(
    app: Starlette,
    host: str,
    port: int,
    *,
    limits: ServerLimits = ServerLimits(),
    has_verifier: bool = False,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve an app of `mcp_app` until SIGINT or SIGTERM; `on_ready` gets its URL.

    Raises ConfigError where other machines could call without a key, or the address is not free.
    """
    check_address(host, has_verifier)
    listener = await asyncio.to_thread(listen, host, port)
    on_ready(f"http://{bracket(host)}:{listener.getsockname()[1]}{MCP_PATH}")
    await serve_app(app, listener, limits)


class AccessControl:
    """ASGI middleware that refuses requests which `access` does not allow."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Not every HTTP parser removes the white space around a value.
        scope = {**scope, "headers": [(k, v.strip(b" \t")) for k, v in scope["headers"]]}
        if refusal := self._refusal(scope):
            await _send_text(send, *refusal)
        else:
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        client = scope.get("client")
        if self._access.verifier is None and client and not is_loopback_host(client[0]):
            return 403, "Without a key only this machine may call."
        hosts = _header_values(scope, b"host")
        if len(hosts) != 1 or not self._is_own_host(host_of(hosts[0])):
            return 421, "Unknown Host of this server; --allow-host adds names."
        if not all(self._is_allowed_origin(origin) for origin in _header_values(scope, b"origin")):
            return 403, "Pages of that Origin may not call this server."
        return None

    def _is_own_host(self, host: str) -> bool:
        """Whether a request may name this host. An address cannot be rebound as a name can."""
        known = is_loopback_host(host) or host in self._access.hosts
        return known or (self._access.verifier is not None and is_address(host))

    def _is_allowed_origin(self, origin: str) -> bool:
        if origin in self._access.origins:
            return True
        scheme, _, authority = origin.lower().partition("://")
        host = host_of(authority)
        is_own = is_loopback_host(host) or host in self._access.hosts
        return is_own and scheme in ("http", "https")


def check_address(host: str, has_verifier: bool) -> None:
    """Raises ConfigError where other machines could call a server at this address without a key."""
    if not has_verifier and not is_loopback_host(host):
        raise ConfigError(
            f"At {host} any machine could call. Set a key with --key-env NAME, or serve at "
            "127.0.0.1."
        )


def host_and_port(text: str) -> tuple[str, int]:
    """Parse PORT, HOST:PORT or [ADDRESS]:PORT; the default host is 127.0.0.1. Raises
    ConfigError."""
    try:
        parts = urlsplit(f"//{text if ':' in text else f'127.0.0.1:{text}'}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or port is None or parts.path or parts.query or parts.username is not None:
        raise ConfigError(f"Invalid address {text!r}. Write PORT or HOST:PORT.")
    return host, port


def _header_values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


async def _send_text(send: Send, status: int, text: str, retry_after: int = 0) -> None:
    body = f"{text}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    if retry_after:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
