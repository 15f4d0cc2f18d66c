"""Connect to an MCP server with the SDK's transports, and give them the bounds that they lack.

Over HTTP an answer that is too large or compressed breaks off, a redirected message stays a POST,
a refusal keeps the server's own message, and one of an unknown session ends the connection. Over
all, answers are repaired before the SDK reads them, the end of the connection is reported, and a
server with too many pending requests is disconnected. The SDK is imported here: import this late.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from agentkit._http_streams import close_completely
from agentkit.addresses import is_loopback
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.guard import MAX_LINE, MAX_UNENDED_LINE, PIECE, read_message, too_large
from agentkit.mcp.refusals import REFUSED, forgets_session, read_refusal, refusal_message
from agentkit.mcp.repairs import Repairs
from agentkit.mcp.stdio import ServerLog, child_process

CONNECT_SECONDS, IDLE_SECONDS = 30, 300

UNCOMPRESSED = "identity"
"""The only encoding accepted: a few compressed bytes may expand to gigabytes."""

MAX_PENDING_REQUESTS = 1000
"""Most requests of a server that wait for our answer: each is our own task."""

_KEEPING_METHOD = {301: 308, 302: 307}
"""Redirects that would turn a message's POST into a GET, and those that do not."""

_EVENT_END = re.compile(rb"\n\n|\r\n\r\n|\r\r")
_MAX_OLDER_EVENT = 1_000_000
"""The SDK's transport of the protocol's first version reads no larger event."""

_REPLACED_HEADERS = ("content-type", "content-length", "content-encoding", "transfer-encoding")
_MAX_REFUSAL = 65_536
_NO_ACCESS = (401, 403)


@asynccontextmanager
async def transport(
    config: ServerConfig,
    log: ServerLog,
    on_end: Callable[[], None],
    auth: httpx2.Auth | None = None,
    repairs: Repairs | None = None,
) -> AsyncIterator[tuple[Any, Any]]:
    """The SDK's streams from and to a server; `on_end` is called when no more messages can come."""
    client = partial(http_client, config, on_forgotten=on_end)
    headers = dict(config.headers)
    async with AsyncExitStack() as stack:
        if config.transport == "stdio":
            streams = child_process(config, log)
        elif config.transport == "sse":
            streams = sse_client(config.url, headers, httpx_client_factory=client, auth=auth)
        else:
            http = await stack.enter_async_context(client(headers=headers, auth=auth))
            # Our client bounds events, and its bound is larger.
            streams = streamable_http_client(config.url, http_client=http, max_sse_event_size=None)
        reading, writing = await stack.enter_async_context(streams)
        messages = _Messages(reading, writing, on_end, repairs or Repairs())
        yield messages, messages


def http_client(
    config: ServerConfig,
    *,
    headers: dict[str, str] | None = None,
    timeout: httpx2.Timeout | None = None,
    auth: httpx2.Auth | None = None,
    on_forgotten: Callable[[], None] = lambda: None,
) -> httpx2.AsyncClient:
    """An HTTP client with bounded responses; calls `on_forgotten` at an unknown session."""
    default = httpx2.Timeout(CONNECT_SECONDS, read=max(IDLE_SECONDS, config.timeout))
    return httpx2.AsyncClient(
        headers={**(headers or {}), "Accept-Encoding": UNCOMPRESSED},
        timeout=timeout or default,
        auth=auth,
        event_hooks={"response": [close_completely]},
        transport=_BoundedTransport(
            on_forgotten, config.transport == "sse", _environment_proxy(config.url)
        ),
    )


def _environment_proxy(url: str) -> str | None:
    """The proxy that the environment names, which httpx2 looks for in its own transport only."""
    parts, proxies = urlsplit(url), getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or is_loopback(url) or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


class _Unacceptable(httpx2.ReadError):
    """A response that is not read."""


class _BoundedTransport(httpx2.AsyncHTTPTransport):
    """Bounds and repairs what a server answers; `is_older` for the protocol's first version."""

    def __init__(self, on_forgotten: Callable[[], None], is_older: bool, proxy: str | None) -> None:
        super().__init__(proxy=proxy)
        self._on_forgotten = on_forgotten
        self._is_older = is_older

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        kind = response.headers.get("content-type", "").lower()
        if response.headers.get("content-encoding", UNCOMPRESSED).lower() != UNCOMPRESSED:
            await response.aclose()
            return _error_response(request, response, "the answer is compressed, unasked")
        if response.status_code == HTTPStatus.OK and kind.startswith("text/event-stream"):
            limit = _MAX_OLDER_EVENT if self._is_older else MAX_LINE
            response.stream = _Events(response.stream, limit)
            return response
        response.stream = _Body(response.stream)
        if request.method != "POST" or b'"jsonrpc"' not in await request.aread():
            return response
        try:
            return await self._answer(request, response)
        except _Unacceptable as error:
            await response.aclose()
            return _error_response(request, response, str(error))

    async def _answer(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """The answer to a message, as the SDK reads it: a repaired message as JSON, a refusal as a
        JSON-RPC error with the server's words, a redirect as one that keeps the method."""
        status = response.status_code
        response.status_code = _KEEPING_METHOD.get(status, status)
        if status == HTTPStatus.OK:
            message = read_message(await response.aread())
            if message is None:
                return response
            if _is_error_without_id(message):  # which the SDK gives to its request as a refusal
                status = HTTPStatus.BAD_REQUEST
            return _replaced(request, response, status, message)
        if status < 400:
            return response
        text = (await response.aread())[:_MAX_REFUSAL].decode(errors="replace")
        code, words = read_refusal(text)
        has_session = "mcp-session-id" in request.headers
        # The SDK sends nothing more over the older transport after a refusal.
        is_lost = has_session and forgets_session(status, code, words)
        if (self._is_older or is_lost) and status not in _NO_ACCESS:
            self._on_forgotten()
        if code is not None:
            return response
        return _error_response(request, response, refusal_message(status, words))


def _is_error_without_id(message: bytes) -> bool:
    if len(message) > _MAX_REFUSAL or b'"error"' not in message:
        return False
    value = json.loads(message)
    return "error" in value and value.get("id") is None


def _error_response(
    request: httpx2.Request, response: httpx2.Response, message: str
) -> httpx2.Response:
    """A response that the SDK reports as an error of the request."""
    status = max(response.status_code, HTTPStatus.BAD_REQUEST)
    error = {"code": REFUSED, "message": message}
    body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error})
    return _replaced(request, response, status, body.encode())


def _replaced(
    request: httpx2.Request, response: httpx2.Response, status: int, message: bytes
) -> httpx2.Response:
    """A response with another message in its body."""
    headers = {k: v for k, v in response.headers.items() if k not in _REPLACED_HEADERS}
    headers["content-type"] = "application/json"
    return httpx2.Response(status, headers=headers, content=message, request=request)


class _Body(httpx2.AsyncByteStream):
    """A response body that breaks off when it grows too large."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            if size > MAX_LINE:
                raise _Unacceptable(f"the answer is too large (at most {MAX_LINE >> 20} MiB)")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Events(_Body):
    """An event stream whose messages are bounded and repaired."""

    def __init__(self, stream: httpx2.AsyncByteStream, limit: int) -> None:
        super().__init__(stream)
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        event, left_out = bytearray(), 0
        async for piece in self._stream:
            start = max(0, len(event) - 3)
            event += piece
            while end := _EVENT_END.search(event, start):
                yield self._checked(bytes(event[: end.end()]), left_out)
                del event[: end.end()]
                start = left_out = 0
            if len(event) > self._limit + PIECE:
                left_out += len(event) - 2 * PIECE
                del event[PIECE:-PIECE]
            if left_out > MAX_UNENDED_LINE:
                raise _Unacceptable("an event without end")
        yield bytes(event)

    def _checked(self, event: bytes, left_out: int) -> bytes:
        """An event with its message as the SDK accepts it; other events as they are."""
        lines = event.splitlines()
        data = b"\n".join(
            line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")
        )
        size = left_out + len(data)
        is_large = size > self._limit
        message = too_large(data, size, self._limit) if is_large else read_message(data)
        if message is None:
            return b"" if is_large else event
        kept = [line for line in lines if line and not line.startswith(b"data:")]
        return b"\n".join([*kept, b"data: " + message, b"", b""])


class _Messages:
    """The messages from a server, repaired, and those to it, of which each answer ends a request of
    the server. The SDK's transport closes its streams itself."""

    def __init__(
        self, reading: Any, writing: Any, on_end: Callable[[], None], repairs: Repairs
    ) -> None:
        self._reading, self._writing = reading, writing
        self._on_end = on_end
        self._repairs = repairs
        self._pending_requests = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        return None

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for received in self._reading:
                message = getattr(received, "message", None)  # a transport also passes on errors
                self._pending_requests += hasattr(message, "method") and hasattr(message, "id")
                if self._pending_requests > MAX_PENDING_REQUESTS:
                    break
                self._repairs.received(message)
                yield received
        finally:
            self._on_end()

    async def send(self, item: Any) -> None:
        self._repairs.sent(item.message)
        await self._writing.send(item)
        if not hasattr(item.message, "method"):
            self._pending_requests -= 1
