"""Deadlines and bounds of the HTTP server, with raw sockets as hostile clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from agentkit._asgi_server import ServerLimits, listen, serve_app
from agentkit.errors import AgentkitError

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\n{}"
QUICK = ServerLimits(
    header_seconds=0.3, body_seconds=0.3, write_seconds=0.3, idle_seconds=0.3, shutdown_seconds=0.3
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer after the body; at once at /early, after a while at /late, with much at /much."""
    if scope["type"] == "lifespan":
        for kind in ("startup", "shutdown"):
            assert (await receive())["type"] == f"lifespan.{kind}"
            await send({"type": f"lifespan.{kind}.complete"})
        return
    if scope["path"] == "/late":
        await asyncio.sleep(1.5)
    more = scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
    body = b"x" * (50_000_000 if scope["path"] == "/much" else 2)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body"})  # Waits until the body has left.


@asynccontextmanager
async def served(limits: ServerLimits, app: Any = app) -> AsyncIterator[int]:
    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    serving = asyncio.create_task(serve_app(app, listener, limits, handle_signals=False))
    try:
        yield port
    finally:
        serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


async def send(port: int, *pieces: bytes, pause: float = 0.1) -> bytes:
    """Send pieces with pauses, the last again and again; return what came until the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def write() -> None:
        for piece in pieces[:-1]:
            writer.write(piece)
            await asyncio.sleep(pause)
        while True:
            writer.write(pieces[-1])
            await asyncio.sleep(pause)

    writing = asyncio.create_task(write())
    received = b""
    with suppress(ConnectionError):
        async with asyncio.timeout(30):
            while data := await reader.read(1000):
                received += data
    writing.cancel()
    writer.close()
    return received


@pytest.mark.parametrize(
    ("pieces", "answered"),
    [
        ([b""], False),
        ([HEAD, b""], False),
        ([HEAD, b"X-A: b\r\n"], False),
        ([b"\r\n"], False),
        ([HEAD + b"Content-Length: 9999\r\n\r\n", b""], False),
        ([HEAD + b"Content-Length: 9999\r\n\r\n", b"x"], False),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"], False),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-A: b\r\n"], False),
        ([HEAD.replace(b"/", b"/early", 1) + b"Content-Length: 9999\r\n\r\n", b"x"], True),
        ([WHOLE, b""], True),
        ([WHOLE, HEAD, b"X-A: b\r\n"], True),
    ],
)
async def test_a_connection_that_waits_for_its_client_is_closed(
    pieces: list[bytes], answered: bool
) -> None:
    async with served(QUICK) as port:
        assert (await send(port, *pieces)).startswith(b"HTTP/1.1 200") == answered


@pytest.mark.parametrize("rest", [b"0\r\n\r\n", b"2\r\n{}\r\n0\r\n\r\n"])
async def test_a_request_with_two_lengths_is_refused_and_ends_its_connection(rest: bytes) -> None:
    both = HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n" + rest
    async with served(QUICK) as port:
        received = await send(port, both + WHOLE, b"")
    assert received.startswith(b"HTTP/1.1 400")
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    "request_",
    [
        HEAD + b"Cookie: " + b"a" * 40_000 + b"\r\n\r\n",
        HEAD + b"a: b\r\n" * 9000 + b"\r\n",
        b"GET /" + b"a" * 60_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n",
    ],
    ids=["one header", "many headers", "target", "tunnel"],
)
async def test_headers_too_large_and_tunnels_are_refused(request_: bytes) -> None:
    async with served(QUICK) as port:
        received = await send(port, request_, b"")
    assert received.startswith(b"HTTP/1.1 400")


async def test_a_client_that_does_not_read_is_disconnected() -> None:
    answered = asyncio.Event()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        answered.set()

    async with served(QUICK, watched) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(WHOLE.replace(b"/", b"/much", 1))
        await answered.wait()
        received = 0
        with suppress(ConnectionError):
            while data := await reader.read(1 << 20):
                received += len(data)
        writer.close()
    assert received < 50_000_000


async def test_a_slow_app_does_not_count_against_its_client() -> None:
    body = b"x" * 200_000
    request = HEAD.replace(b"/", b"/late", 1) + b"Content-Length: 200000\r\n\r\n" + body
    async with served(QUICK) as port:
        assert (await send(port, request, b"")).startswith(b"HTTP/1.1 200")


async def test_a_body_that_keeps_the_least_rate_is_received() -> None:
    head = HEAD + b"Content-Length: 20000\r\n\r\n"
    limits = ServerLimits(body_seconds=0.5, body_bytes_per_second=5000, idle_seconds=0.3)
    async with served(limits) as port:
        answer = await send(port, head, *[b"x" * 1000] * 20, b"")
    assert answer.startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("piece", [b"", HEAD, HEAD + b"Content-Length: 9\r\n\r\nx"])
async def test_connections_that_wait_make_room_for_a_new_client(piece: bytes) -> None:
    limits = ServerLimits(connections=20)
    async with served(limits) as port:
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        for _, writer in waiting:
            writer.write(piece)
        await asyncio.sleep(0.2)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(WHOLE)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        ended = await asyncio.gather(
            *(asyncio.wait_for(other.read(), 0.1) for other, _ in waiting), return_exceptions=True
        )
        assert sum(isinstance(each, TimeoutError) for each in ended) < limits.connections
        for _, other in [*waiting, (reader, writer)]:
            other.close()


async def test_running_requests_are_not_cut_off_for_a_new_client() -> None:
    async with served(ServerLimits(connections=2, idle_seconds=0.3)) as port:
        late = WHOLE.replace(b"/", b"/late", 1)
        running = [asyncio.create_task(send(port, late, b"")) for _ in range(2)]
        await asyncio.sleep(0.3)
        assert (await send(port, b"")).startswith(b"HTTP/1.1 503")
        for answer in await asyncio.gather(*running):
            assert answer.startswith(b"HTTP/1.1 200")


async def test_nothing_is_left_after_a_cancellation() -> None:
    before = asyncio.all_tasks()
    async with served(QUICK) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD.replace(b"/", b"/late", 1) + b"Content-Length: 9\r\n\r\n")
        await asyncio.sleep(0.1)
    with suppress(ConnectionError):
        await reader.read()
    assert reader.at_eof() or reader.exception()
    writer.close()
    assert asyncio.all_tasks() <= before


async def test_an_app_that_fails_to_start_is_reported() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.raises(AgentkitError, match="failed to start"):
        await serve_app(broken, listen("127.0.0.1", 0), handle_signals=False)
