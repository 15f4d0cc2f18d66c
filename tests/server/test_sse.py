"""Streams of server-sent events: comments while nothing comes, and the end of a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.types import Message

from agentkit.server.sse import PING, EventResponse


class Connection:
    """A client's connection: keeps what it was sent; `closed` is set to end it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.closed = asyncio.Event()
        self.got = asyncio.Event()

    async def receive(self) -> Message:
        await self.closed.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        self.bodies.append(message.get("body", b""))
        self.got.set()

    async def wait_for(self, body: bytes) -> None:
        """Wait until it was sent a body."""
        while body not in self.bodies:
            await self.got.wait()
            self.got.clear()


async def test_a_silent_stream_sends_comments() -> None:
    connection, go = Connection(), asyncio.Event()

    async def source() -> AsyncGenerator[bytes, None]:
        await go.wait()
        yield b"data: 1\n\n"

    response = EventResponse(source(), ping_seconds=0.001)
    task = asyncio.create_task(response({"type": "http"}, connection.receive, connection.send))
    await connection.wait_for(PING)
    go.set()
    await task
    assert connection.bodies[-2:] == [b"data: 1\n\n", b""]


async def test_a_stream_ends_its_source_when_the_client_goes() -> None:
    connection, ends = Connection(), list[str]()

    async def source() -> AsyncGenerator[bytes, None]:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            ends.append("source")

    async def on_end() -> None:
        ends.append("response")

    response = EventResponse(source(), on_end=on_end)
    task = asyncio.create_task(response({"type": "http"}, connection.receive, connection.send))
    await connection.wait_for(b"data: 1\n\n")
    connection.closed.set()
    await task
    assert ends == ["source", "response"]


async def test_a_client_that_is_gone_before_the_start_leaves_nothing_running() -> None:
    connection, ends = Connection(), list[str]()

    async def source() -> AsyncGenerator[bytes, None]:
        await asyncio.Event().wait()
        yield b""

    async def on_end() -> None:
        ends.append("response")

    connection.closed.set()
    await EventResponse(source(), on_end=on_end)(
        {"type": "http"}, connection.receive, connection.send
    )
    assert ends == ["response"]
