"""Responses of server-sent events that stop their source when the client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from agentkit._sync import in_background

T = TypeVar("T")

PING = b": ping\n\n"
"""A comment, which readers skip: it keeps proxies from closing a silent connection."""

PING_SECONDS = 10.0


class EventResponse(Response):
    """A stream of server-sent events. `source` yields whole events as bytes; it is closed when the
    client goes, and `on_end` is awaited in any case. While it yields nothing, comments are sent."""

    media_type = "text/event-stream"

    def __init__(
        self,
        source: AsyncGenerator[bytes, None],
        status_code: int = 200,
        *,
        on_end: Callable[[], Awaitable[None]] | None = None,
        ping_seconds: float = PING_SECONDS,
    ) -> None:
        super().__init__(
            status_code=status_code,
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )
        del self.headers["content-length"]
        self._source, self._on_end = source, on_end
        self._ping_seconds = ping_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {
            "type": "http.response.start",
            "status": self.status_code,
            "headers": self.raw_headers,
        }
        try:
            await send(start)
            await run_until_gone(receive, asyncio.create_task(self._send_all(send)))
        finally:
            if self._on_end is not None:
                await self._on_end()

    async def _send_all(self, send: Send) -> None:
        sent = 0

        async def ping() -> None:
            before = -1
            while True:
                if before == sent:
                    await send({"type": "http.response.body", "body": PING, "more_body": True})
                before = sent
                await asyncio.sleep(self._ping_seconds)

        async with in_background(ping()), aclosing(self._source) as source:
            async for event in source:
                sent += 1
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def run_until_gone(receive: Receive, task: asyncio.Task[T]) -> T | None:
    """Wait for a task, and cancel it when the client goes; None then."""
    watching = asyncio.create_task(_wait_until_gone(receive))
    try:
        await asyncio.wait({task, watching}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        return None
    finally:
        for each in (task, watching):
            each.cancel()
        await asyncio.wait({task, watching})


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, which is cancelled when the client goes. Raises ClientGone."""
    task = asyncio.create_task(work)
    result = await run_until_gone(request.receive, task)
    if task.cancelled():
        raise ClientGone
    return result  # type: ignore[return-value]


class ClientGone(Exception):
    """The client closed its connection before it had its response."""


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
