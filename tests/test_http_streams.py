"""Responses that are closed completely, whenever the task that reads them is cancelled."""

from __future__ import annotations

import asyncio
import gc
import weakref
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from agentkit._http_streams import close_completely

_ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: {}\r\n"
    b"content-length: 6\r\n\r\ndata\n\n"
)


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
async def test_a_task_that_is_cancelled_at_any_step_leaves_no_connection_in_the_pool(
    connection: bytes,
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(_ANSWER.replace(b"{}", connection))
        writer.close()

    async def read(
        client: httpx2.AsyncClient, arrived: asyncio.Event, used: list[weakref.ref[Any]]
    ) -> None:
        async with client.stream("GET", "/") as response:
            used.append(weakref.ref(response.extensions["network_stream"]))
            async for _ in response.aiter_raw():
                arrived.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    hooks = {"response": [close_completely]}
    async with (
        server,
        httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            event_hooks=hooks,
            timeout=None,
            trust_env=False,
            limits=httpx2.Limits(max_keepalive_connections=0),
        ) as client,
    ):
        used: list[weakref.ref[Any]] = []
        for steps in range(20):
            arrived = asyncio.Event()
            reading = asyncio.create_task(read(client, arrived, used))
            await arrived.wait()
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait({reading})
        for _ in range(20):
            await asyncio.sleep(0)
        del reading
        gc.collect()
        assert len(used) == 20
        assert [each() for each in used] == [None] * 20
