"""A web server that says exactly what a test tells it to, byte for byte, slow and broken too."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

Answer = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]


class WebServer:
    """`answers` by path; `heads` are the requests as they came."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.heads: list[str] = []
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            output = self.answers.get(self.heads[-1].split()[1], page(b"", status=404))
            if isinstance(output, bytes):
                writer.write(output)
                await writer.drain()
            else:
                await output(writer)
        writer.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def web_server(
    answers: Mapping[str, Answer], tls: ssl.SSLContext | None = None
) -> AsyncIterator[WebServer]:
    """Serve on a free port of 127.0.0.1 for as long as the block runs."""
    web = WebServer(answers)
    server = await asyncio.start_server(web.answer, "127.0.0.1", 0, ssl=tls)
    web.port = server.sockets[0].getsockname()[1]
    try:
        yield web
    finally:
        server.close()
        await web.stop()


def page(body: bytes, kind: str = "text/plain", status: int = 200, **headers: str) -> bytes:
    """A whole answer; underscores in the names of headers stand for hyphens."""
    named = {"Content-Type": kind, "Content-Length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value)
    return f"HTTP/1.1 {status} Status\r\n{lines}\r\n".encode() + body


def moved(to: str, status: int = 302) -> bytes:
    """A redirect."""
    return page(b"", status=status, Location=to)
