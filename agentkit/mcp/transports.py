"""The ways to an MCP server: a child's pipes, streamable HTTP, or the older SSE.

A child gets the SDK's short list of environment variables and its own `env`, a stdin that is a
pipe, and a stderr that is a file.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from agentkit.mcp.config import ServerConfig

if TYPE_CHECKING:
    from mcp.client import Transport

LARGEST_LOG = 1_000_000


def transport(config: ServerConfig, errors: TextIO, ended: Callable[[], None]) -> Transport:
    """The SDK's transport to a server; `ended` is called when nothing more can come from it."""
    return _watched(_plain(config, errors), ended)


def _plain(config: ServerConfig, errors: TextIO) -> AbstractAsyncContextManager[Any]:
    from mcp import StdioServerParameters
    from mcp.client.sse import sse_client
    from mcp.client.stdio import stdio_client

    if config.transport == "http":
        return _http(config)
    if config.transport == "sse":
        return sse_client(config.url, headers=dict(config.headers))
    parameters = StdioServerParameters(
        command=config.command, args=list(config.args), env=dict(config.env), cwd=config.cwd
    )
    return stdio_client(parameters, errlog=errors)


@asynccontextmanager
async def _http(config: ServerConfig) -> AsyncIterator[Any]:
    import httpx2
    from mcp.client.streamable_http import streamable_http_client

    timeout = httpx2.Timeout(30, read=max(300, config.timeout))
    async with (
        httpx2.AsyncClient(headers=dict(config.headers), timeout=timeout) as http,
        streamable_http_client(config.url, http_client=http) as streams,
    ):
        yield streams


@asynccontextmanager
async def _watched(
    transport: AbstractAsyncContextManager[Any], ended: Callable[[], None]
) -> AsyncIterator[Any]:
    async with transport as (read, write):
        yield _WatchedStream(read, ended), write


class _WatchedStream:
    """A transport's read stream that says when it ended, which the SDK keeps to itself."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended

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
        return await self._next(self._stream.__anext__())

    async def receive(self) -> Any:
        return await self._next(self._stream.receive())

    async def _next(self, item: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await item
        except BaseException:
            self._ended()
            raise


@contextmanager
def errors_to(log: Path | None) -> Iterator[TextIO]:
    """Where a child's stderr goes: its log, begun anew when it has grown too large."""
    if log is None:
        log = Path(os.devnull)
    else:
        log.parent.mkdir(parents=True, exist_ok=True)
    large = log.is_file() and log.stat().st_size > LARGEST_LOG
    with log.open("w" if large else "a", encoding="utf-8") as stream:
        yield stream
