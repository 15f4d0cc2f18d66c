"""Connect to an MCP server: through a child's pipes, streamable HTTP, or the older SSE.

Over HTTP an answer that is too large breaks off; redirects to other origins are not followed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

from agentkit.mcp.config import ServerConfig
from agentkit.mcp.stdio import MAX_LINE, ServerLog, child_process

if TYPE_CHECKING:
    import httpx2
    from mcp.client import Transport

CONNECT_SECONDS, IDLE_SECONDS = 30, 300

UNCOMPRESSED = "identity"
"""The only encoding accepted: a few compressed bytes may expand to gigabytes."""

MAX_PENDING_REQUESTS = 1000
"""Most requests of a server that wait for our answer; one that makes more is disconnected."""


def transport(
    config: ServerConfig,
    log: ServerLog,
    on_end: Callable[[], None],
    auth: httpx2.Auth | None = None,
) -> Transport:
    """The SDK's transport to a server; `on_end` is called when no more messages can come."""
    if config.transport == "http":
        return _watch(_streamable_http(config, auth), on_end)
    if config.transport == "sse":
        return _watch(_sse(config, auth), on_end)
    return _watch(child_process(config, log), on_end)


def _sse(config: ServerConfig, auth: httpx2.Auth | None) -> AbstractAsyncContextManager[Any]:
    from mcp.client.sse import sse_client

    def client(
        headers: dict[str, str] | None = None,
        timeout: httpx2.Timeout | None = None,
        auth: httpx2.Auth | None = None,
    ) -> httpx2.AsyncClient:
        return http_client(config, headers=headers, timeout=timeout, auth=auth)

    return sse_client(config.url, dict(config.headers), httpx_client_factory=client, auth=auth)


@asynccontextmanager
async def _streamable_http(config: ServerConfig, auth: httpx2.Auth | None) -> AsyncIterator[Any]:
    from mcp.client.streamable_http import streamable_http_client

    async with (
        http_client(config, headers=dict(config.headers), auth=auth) as http,
        streamable_http_client(config.url, http_client=http) as streams,
    ):
        yield streams


def http_client(
    config: ServerConfig,
    *,
    headers: dict[str, str] | None = None,
    timeout: httpx2.Timeout | None = None,
    auth: httpx2.Auth | None = None,
) -> httpx2.AsyncClient:
    """An HTTP client whose responses are bounded in size."""
    import httpx2

    class BoundedStream(httpx2.AsyncByteStream):
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

    class BoundedTransport(httpx2.AsyncHTTPTransport):
        """Bounds every response except event streams, whose events the SDK bounds."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            if response.headers.get("content-encoding", UNCOMPRESSED).lower() != UNCOMPRESSED:
                await response.aclose()
                raise httpx2.ReadError("the answer is compressed, which was not requested")
            is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
            if not is_stream and isinstance(response.stream, httpx2.AsyncByteStream):
                response.stream = BoundedStream(response.stream)
            return response

    default = httpx2.Timeout(CONNECT_SECONDS, read=max(IDLE_SECONDS, config.timeout))
    return httpx2.AsyncClient(
        headers={**(headers or {}), "Accept-Encoding": UNCOMPRESSED},
        timeout=timeout or default,
        auth=auth,
        transport=BoundedTransport(),
    )


@asynccontextmanager
async def _watch(
    transport: AbstractAsyncContextManager[Any], on_end: Callable[[], None]
) -> AsyncIterator[Any]:
    async with transport as (read, write):
        watched = _WatchedReadStream(read, on_end)
        yield watched, _WatchedWriteStream(write, watched)


class _WrappedStream:
    """Wrap a stream of the SDK in our own."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> Any:
        return await self._stream.__aexit__(*exception)


class _WatchedReadStream(_WrappedStream):
    """Reports its end, which the SDK does not. It ends too at a server with too many pending
    requests: each is our own task."""

    def __init__(self, stream: Any, on_end: Callable[[], None]) -> None:
        super().__init__(stream)
        self._on_end = on_end
        self.pending_requests = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return await self._next(self._stream.__anext__(), StopAsyncIteration)

    async def receive(self) -> Any:
        import anyio

        return await self._next(self._stream.receive(), anyio.EndOfStream)

    async def _next(self, item: Coroutine[Any, Any, Any], end: type[Exception]) -> Any:
        try:
            received = await item
            message = getattr(received, "message", None)  # a transport also passes on errors
            self.pending_requests += hasattr(message, "method") and hasattr(message, "id")
            if self.pending_requests > MAX_PENDING_REQUESTS:
                raise end
        except BaseException:
            self._on_end()
            raise
        return received


class _WatchedWriteStream(_WrappedStream):
    """Counts the answers to the server's requests."""

    def __init__(self, stream: Any, read: _WatchedReadStream) -> None:
        super().__init__(stream)
        self._read = read

    async def send(self, item: Any) -> None:
        await self._stream.send(item)
        if not hasattr(item.message, "method"):
            self._read.pending_requests -= 1
