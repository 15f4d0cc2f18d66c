"""The ways to an MCP server: a child's pipes, streamable HTTP, or the older SSE.

Over HTTP an answer that is too large breaks off; redirects to other origins are not followed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

from agentkit.mcp.config import ServerConfig
from agentkit.mcp.stdio import LARGEST_LINE, ServerLog, child

if TYPE_CHECKING:
    import httpx2
    from mcp.client import Transport

CONNECT_SECONDS, IDLE_SECONDS = 30, 300

PLAIN = "identity"
"""The one encoding that is taken: of a compressed answer, a few bytes may be gigabytes."""

MOST_OPEN = 1000
"""Most requests of a server that wait for our answer; one that makes more is left."""


def transport(
    config: ServerConfig,
    log: ServerLog,
    ended: Callable[[], None],
    auth: httpx2.Auth | None = None,
) -> Transport:
    """The SDK's transport to a server; `ended` is called when nothing more can come from it."""
    return _watched(_plain(config, log, auth), ended)


def _plain(
    config: ServerConfig, log: ServerLog, auth: httpx2.Auth | None
) -> AbstractAsyncContextManager[Any]:
    if config.transport == "http":
        return _http(config, auth)
    if config.transport == "sse":
        return _sse(config, auth)
    return child(config, log)


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
async def _http(config: ServerConfig, auth: httpx2.Auth | None) -> AsyncIterator[Any]:
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
    """A client whose answers are bounded."""
    import httpx2

    class BoundedStream(httpx2.AsyncByteStream):
        """An answer's body, which breaks off when it grows too large."""

        def __init__(self, stream: httpx2.AsyncByteStream) -> None:
            self._stream = stream

        async def __aiter__(self) -> AsyncIterator[bytes]:
            size = 0
            async for piece in self._stream:
                size += len(piece)
                if size > LARGEST_LINE:
                    raise httpx2.ReadError(f"the answer is larger than {LARGEST_LINE >> 20} MiB")
                yield piece

        async def aclose(self) -> None:
            await self._stream.aclose()

    class Bounded(httpx2.AsyncHTTPTransport):
        """Bounds every answer but streams of events, whose events the SDK bounds."""

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            response = await super().handle_async_request(request)
            if response.headers.get("content-encoding", PLAIN).lower() != PLAIN:
                await response.aclose()
                raise httpx2.ReadError("the answer is compressed, which was not asked for")
            is_stream = response.headers.get("content-type", "").startswith("text/event-stream")
            if not is_stream and isinstance(response.stream, httpx2.AsyncByteStream):
                response.stream = BoundedStream(response.stream)
            return response

    patient = httpx2.Timeout(CONNECT_SECONDS, read=max(IDLE_SECONDS, config.timeout))
    plainly = {**(headers or {}), "Accept-Encoding": PLAIN}
    return httpx2.AsyncClient(
        headers=plainly, timeout=timeout or patient, auth=auth, transport=Bounded()
    )


@asynccontextmanager
async def _watched(
    transport: AbstractAsyncContextManager[Any], ended: Callable[[], None]
) -> AsyncIterator[Any]:
    async with transport as (read, write):
        watched = _WatchedStream(read, ended)
        yield watched, _Answering(write, watched)


class _WatchedStream:
    """A transport's read stream that says when it ended, which the SDK keeps to itself. It ends
    too where a server asks and asks: each request that waits is a task of ours."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended
        self._open = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> _WatchedStream:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> Any:
        return await self._stream.__aexit__(*exception)

    def __aiter__(self) -> _WatchedStream:
        return self

    async def __anext__(self) -> Any:
        return await self._next(self._stream.__anext__(), StopAsyncIteration)

    async def receive(self) -> Any:
        import anyio

        return await self._next(self._stream.receive(), anyio.EndOfStream)

    def answered(self) -> None:
        """A request waits no longer."""
        self._open -= 1

    async def _next(self, item: Coroutine[Any, Any, Any], end: type[Exception]) -> Any:
        try:
            found = await item
            self._open += _asks(found)
            if self._open > MOST_OPEN:
                raise end
        except BaseException:
            self._ended()
            raise
        return found


class _Answering:
    """A transport's write stream, which tells the read stream of answers."""

    def __init__(self, stream: Any, read: _WatchedStream) -> None:
        self._stream = stream
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> _Answering:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> Any:
        return await self._stream.__aexit__(*exception)

    async def send(self, item: Any) -> None:
        await self._stream.send(item)
        if not hasattr(item.message, "method"):
            self._read.answered()


def _asks(item: Any) -> bool:
    """Whether this is a request; a transport also hands on errors, which are none."""
    message = getattr(item, "message", None)
    return hasattr(message, "method") and hasattr(message, "id")
