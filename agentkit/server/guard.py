"""What every request passes before it is routed: Host and Origin, identity, size, and headers.

A web page that points its own name at this machine (DNS rebinding) is refused by its Host, a page
of another site by its Origin. Whoever cannot be identified reaches nothing but /health and the form
that takes a key.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Protocol

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentkit.addresses import host_of, is_address, is_loopback_host
from agentkit.errors import AgentkitError
from agentkit.server.auth import LOCAL, Identity
from agentkit.server.errors import ApiError, to_api_error
from agentkit.server.keys import PREFIX

COOKIE = "agentkit_key"
OPEN_PATHS = frozenset({"/health", "/login"})
"""Paths that demand no key: /login takes one."""

CONTENT_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""The policy of a file that a user brought: a browser that shows it runs nothing of it, and asks no
one."""

_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_PROXY_HEADERS = ("forwarded", "x-forwarded-for", "x-real-ip")


class Keys(Protocol):
    """What finds the identity of a key."""

    def find(self, secret: str) -> Identity | None: ...


@dataclass(frozen=True)
class Access:
    """Who may call. `hosts` are names of the server besides this machine's own, `origins` the web
    sites whose pages may call it. Where `needs_key` is not set, this machine's own requests need
    none: those from a loopback address, to a loopback name, through no proxy."""

    keys: Keys
    needs_key: bool = True
    hosts: Sequence[str] = ()
    origins: Sequence[str] = ()

    def identify(self, scope: Scope, headers: Headers) -> Identity:
        """The identity of a request. Raises ApiError."""
        secret = _secret(headers)
        if secret and (found := self.keys.find(secret)):
            return found
        if secret.startswith(PREFIX):
            raise ApiError(401, "This key is unknown here, or revoked. Ask for another one.")
        if not self.needs_key and _is_local(scope, headers):
            return LOCAL
        if secret:
            raise ApiError(401, "This key is not known. Make one: agentkit keys add NAME")
        raise ApiError(401, "This server demands a key. Send it as a bearer token.")

    def check_host(self, headers: Headers) -> None:
        """Refuse a foreign Host or Origin. Raises ApiError."""
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_own(host_of(hosts[0])):
            raise ApiError(
                421, "This is not a name of this server. Add it with --allow-host.", "unknown_host"
            )
        for origin in headers.getlist("origin"):
            if origin not in self.origins and not self._is_same_site(origin, hosts[0]):
                raise ApiError(
                    403,
                    "Pages of that origin may not call this server. Add it to serve.origins.",
                    "origin_not_allowed",
                )

    def _is_own(self, host: str) -> bool:
        is_known = is_loopback_host(host) or host in self.hosts
        return is_known or (self.needs_key and is_address(host))

    def _is_same_site(self, origin: str, host: str) -> bool:
        scheme, _, authority = origin.lower().partition("://")
        return scheme in ("http", "https") and authority == host.lower()


class Guard:
    """ASGI middleware that lets through what `access` allows, within `max_bytes` of body; the paths
    that begin with one of `large_paths` within `max_upload_bytes`. `count` gets the status of each
    response, `sign_in` may give a page in place of a refusal for want of a key."""

    def __init__(
        self,
        app: ASGIApp,
        access: Access,
        *,
        max_bytes: int,
        max_upload_bytes: int,
        large_paths: Collection[str] = (),
        count: Callable[[Scope, int], None] = lambda scope, status: None,
        sign_in: Callable[[Scope, Headers], ASGIApp | None] = lambda scope, headers: None,
    ) -> None:
        self._app = app
        self._access = access
        self._max_bytes, self._max_upload_bytes = max_bytes, max_upload_bytes
        self._large_paths = tuple(large_paths)
        self._count, self._sign_in = count, sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Not every HTTP parser removes the white space around a value.
        scope["headers"] = [(k, v.strip(b" \t")) for k, v in scope["headers"]]
        headers = Headers(scope=scope)
        app: ASGIApp = self._app
        try:
            self._admit(scope, headers)
        except (ApiError, AgentkitError) as error:
            refusal = to_api_error(error)
            page = self._sign_in(scope, headers) if refusal.status_code == 401 else None
            if refusal.status_code == 401:
                refusal.headers = {"www-authenticate": "Bearer", **(refusal.headers or {})}
            app = page or refusal.response()
        limit = self._limit(scope)
        sending = _Sending(scope, send, self._count)
        try:
            await app(scope, _bounded(receive, headers, limit), sending)
        except Exception as error:
            # An error after the start of a response can only end the connection.
            if sending.has_begun:
                raise
            await to_api_error(error).response()(scope, receive, sending)

    def _admit(self, scope: Scope, headers: Headers) -> None:
        """Identify a request, or raise ApiError."""
        self._access.check_host(headers)
        state = scope.setdefault("state", {})
        if scope["path"] not in OPEN_PATHS:
            state["identity"] = self._access.identify(scope, headers)
        length = headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > self._limit(scope):
            raise _too_large(self._limit(scope))

    def _limit(self, scope: Scope) -> int:
        is_large = scope["method"] in _UNSAFE and scope["path"].startswith(self._large_paths)
        return self._max_upload_bytes if is_large and self._large_paths else self._max_bytes


class _Sending:
    """Sends a response with the headers that protect a browser, unless the route sets its own."""

    def __init__(self, scope: Scope, send: Send, count: Callable[[Scope, int], None]) -> None:
        self._scope, self._send, self._count = scope, send, count
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", CONTENT_POLICY)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            self._count(self._scope, message["status"])
        await self._send(message)


def _secret(headers: Headers) -> str:
    """The key of a request: a bearer token, else the cookie of the page."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else headers.get("x-api-key", "")


def _is_local(scope: Scope, headers: Headers) -> bool:
    client = scope.get("client")
    is_proxied = any(name in headers for name in _PROXY_HEADERS)
    return (
        not is_proxied
        and (client is None or is_loopback_host(client[0]))
        and is_loopback_host(host_of(headers.get("host", "")))
    )


def _too_large(limit: int) -> ApiError:
    return ApiError(413, f"The body is larger than {limit / 2**20:g} MiB.", "too_large")


def _bounded(receive: Receive, headers: Headers, limit: int) -> Receive:
    """Receive a body up to a limit, whatever its headers say. Raises ApiError."""
    if "content-length" in headers and "transfer-encoding" not in headers:
        return receive
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise _too_large(limit)
        return message

    return bounded
