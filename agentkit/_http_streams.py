"""Close the streams of HTTP responses completely, also where the reading task is cancelled.

A pool of httpx2 forgets a request only at the end of closing its stream, and shields that from the
cancellation of anyio alone. A task that asyncio cancels there, as at a timeout or when a client
goes, would leave the request and its connection in the pool for as long as the pool lives.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2

_closing: set[asyncio.Task[None]] = set()


async def close_completely(response: httpx2.Response) -> None:
    """Have the stream of a response closed in a task of its own: a hook for responses."""
    assert isinstance(response.stream, httpx2.AsyncByteStream)
    response.stream = _Stream(response.stream)


class _Stream(httpx2.AsyncByteStream):
    """A stream whose closing is not cancelled with the task that waits for it."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._stream:
            yield piece

    async def aclose(self) -> None:
        closing = asyncio.create_task(self._stream.aclose())
        _closing.add(closing)
        closing.add_done_callback(_closing.discard)
        await asyncio.shield(closing)
