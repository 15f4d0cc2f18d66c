"""Connect to an MCP server with the SDK's transports, and give them the bounds that they lack.

Over HTTP an answer that is too large or compressed breaks off, a redirected message stays a POST,
a refusal keeps the server's own message, and one of an unknown session ends the connection. Over
all, answers are repaired before the SDK reads them, the end of the connection is reported, and a
server with too many pending requests is disconnected. The SDK is imported here: import this late.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from http import HTTPStatus
from typing import Any, Self

import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from agentkit.mcp.config import ServerConfig
from agentkit.mcp.guard import MAX_LINE, read_message
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

_REPLACED_HEADERS = ("content-type", "content-length", "transfer-encoding")
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
    client, headers = partial(http_client, config, on_forgotten=on_end), dict(config.headers)
    async with AsyncExitStack() as stack:
        if config.transport == "stdio":
            streams = child_process(config, log)
        elif config.transport == "sse":
            streams = sse_client(config.url, headers, httpx_client_factory=client, auth=auth)
        else:
            http = await stack.enter_async_context(client(headers=headers, auth=auth))
            streams = streamable_http_client(config.url, http_client=http)
        reading, writing = await stack.enter_async_context(streams)
        watched = _Incoming(reading, on_end, repairs or Repairs())
        yield watched, _Outgoing(writing, watched)


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
        transport=_BoundedTransport(config.transport == "sse", on_forgotten),
    )


class _BoundedTransport(httpx2.AsyncHTTPTransport):
    """Bounds every response except event streams, whose events the SDK bounds."""

    def __init__(self, is_sse: bool, on_forgotten: Callable[[], None]) -> None:
        super().__init__()
        self._is_sse = is_sse
        self._on_forgotten = on_forgotten

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        if response.headers.get("content-encoding", UNCOMPRESSED).lower() != UNCOMPRESSED:
            await response.aclose()
            raise httpx2.ReadError("the answer is compressed, which was not requested")
        kind = response.headers.get("content-type", "").lower()
        if response.status_code == HTTPStatus.OK and kind.startswith("text/event-stream"):
            return response
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream)
        if request.method == "POST" and b'"jsonrpc"' in await request.aread():
            return await self._answer(request, response)
        return response

    async def _answer(self, request: httpx2.Request, response: httpx2.Response) -> httpx2.Response:
        """The answer to a message, as the SDK reads it: a repaired message as JSON, a refusal as a
        JSON-RPC error with the server's words, a redirect as one that keeps the method."""
        status = response.status_code
        response.status_code = _KEEPING_METHOD.get(status, status)
        headers = {k: v for k, v in response.headers.items() if k not in _REPLACED_HEADERS}
        if status == HTTPStatus.OK:
            message = read_message(await response.aread())
            if message is None:
                return response
            headers["content-type"] = "application/json"
            return httpx2.Response(status, headers=headers, content=message, request=request)
        if status < 400:
            return response
        text = (await response.aread())[:_MAX_REFUSAL].decode(errors="replace")
        code, words = read_refusal(text)
        has_session = "mcp-session-id" in request.headers
        # The SDK sends nothing more over SSE after a refusal.
        is_lost = self._is_sse or (has_session and forgets_session(status, code, words))
        if is_lost and status not in _NO_ACCESS:
            self._on_forgotten()
        if code is not None:
            return response
        error = {"code": REFUSED, "message": refusal_message(status, words)}
        body = {"jsonrpc": "2.0", "id": None, "error": error}
        return httpx2.Response(status, headers=headers, json=body, request=request)


class _BoundedStream(httpx2.AsyncByteStream):
    """A response body that breaks off when it grows too large."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._stream:
            size += len(piece)
            if size > MAX_LINE:
                raise httpx2.ReadError(f"the answer is larger than {MAX_LINE >> 20} MiB")
            yield piece

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Wrapped:
    """A stream of the SDK, with some methods of our own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> Any:
        return await self._stream.__aexit__(*exception)


class _Incoming(_Wrapped):
    """The messages from a server, repaired."""

    def __init__(self, stream: Any, on_end: Callable[[], None], repairs: Repairs) -> None:
        super().__init__(stream)
        self._on_end = on_end
        self.repairs = repairs
        self.pending_requests = 0

    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for received in self._stream:
                message = getattr(received, "message", None)  # a transport also passes on errors
                self.pending_requests += hasattr(message, "method") and hasattr(message, "id")
                if self.pending_requests > MAX_PENDING_REQUESTS:
                    break
                self.repairs.received(message)
                yield received
        finally:
            self._on_end()


class _Outgoing(_Wrapped):
    """The messages to a server; each answer among them ends a request of the server."""

    def __init__(self, stream: Any, incoming: _Incoming) -> None:
        super().__init__(stream)
        self._incoming = incoming

    async def send(self, item: Any) -> None:
        self._incoming.repairs.sent(item.message)
        await self._stream.send(item)
        if not hasattr(item.message, "method"):
            self._incoming.pending_requests -= 1
