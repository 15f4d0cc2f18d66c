"""The processes that serve one address together: which of them answers a request, and what each
tells the others.

Every worker accepts connections. What one process must own goes to that one through a Unix socket
in a folder that only this user can read: the index has one writer, a session and the run that
answers in it one worker, MCP clients one. All other requests are answered where they arrive.
"""

from __future__ import annotations

import asyncio
import json
import socket
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from starlette.types import ASGIApp, Receive, Scope, Send

from agentkit.server.errors import ApiError
from agentkit.server.sse import run_until_gone

if TYPE_CHECKING:
    from agentkit.server.service import Service

RESTART_SECONDS = 15.0
"""How long a request waits for a worker that is being started again."""

_RETRY_SECONDS = 0.2
_WRITER = 0
_AT_WRITER = ("/api/documents", "/ready")
_OF_SESSION = ("/api/sessions/", "/api/runs/")
_HOP_BY_HOP = (b"connection", b"keep-alive", b"transfer-encoding", b"expect", b"date")
_MOST_BYTES = 200_000


@dataclass(frozen=True, slots=True)
class Worker:
    """One of `count` processes; `folder` holds their sockets and what they share, `descriptor` is
    the socket of their common address, inherited from the supervisor."""

    index: int
    count: int
    folder: Path
    descriptor: int = -1

    @classmethod
    def parse(cls, text: str) -> Worker:
        """Read what `format` wrote. Raises ValueError."""
        index, count, descriptor, folder = text.split(":", 3)
        return cls(int(index), int(count), Path(folder), int(descriptor))

    def format(self) -> str:
        """The worker as a value of a command's option."""
        return f"{self.index}:{self.count}:{self.descriptor}:{self.folder}"

    @property
    def shared(self) -> socket.socket:
        """The socket of the common address. Whether it blocks is one flag for all workers, which a
        copy of a blocking socket object would set, so that the others could hang in `accept`."""
        listener = socket.socket(fileno=self.descriptor)
        listener.setblocking(False)
        return listener

    def answers(self, path: str) -> int:
        """The worker that answers a request for a path."""
        if path.startswith(_AT_WRITER):
            return _WRITER
        if path.startswith("/mcp"):
            return self.count - 1
        for prefix in _OF_SESSION:
            if path.startswith(prefix):
                name = path.removeprefix(prefix).partition("/")[0]
                session = name.partition(".")[0]  # A run's id begins with that of its session.
                return zlib.crc32(session.encode("utf-8", "replace")) % self.count
        return self.index

    def socket_path(self, index: int) -> Path:
        """Where a worker listens for requests of the others, while it serves."""
        return self.folder / f"{index}.sock"

    def listen(self) -> socket.socket:
        """Listen for requests of the others."""
        path = self.socket_path(self.index)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen(128)
        return listener


class Forward:
    """ASGI middleware that hands requests to the worker that answers them. It runs before the
    checks of a request, which are made there."""

    def __init__(self, app: ASGIApp, worker: Worker) -> None:
        self._app, self._worker = app, worker

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = self._worker.index
        if scope["type"] == "http":
            target = self._worker.answers(scope["path"])
        if target == self._worker.index:
            await self._app(scope, receive, send)
            return
        try:
            await self._forward(target, scope, receive, send)
        except httpx2.ConnectError:
            message = "A part of the server is being started again. Try again in a moment."
            error = ApiError(503, message, "worker_starting", headers={"retry-after": "2"})
            await error.response()(scope, receive, send)

    async def _forward(self, target: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and its answer back. Raises httpx2.ConnectError."""
        has_read = asyncio.Event()

        async def body() -> AsyncGenerator[bytes, None]:
            is_open = True
            while is_open:
                message = await receive()
                is_open = bool(message.get("more_body"))
                yield message.get("body", b"")
            has_read.set()

        async def receive_after_body() -> Any:
            await has_read.wait()
            return await receive()

        names = {name for name, _ in scope["headers"]}
        has_body = bool(names & {b"content-length", b"transfer-encoding"})
        if not has_body:
            has_read.set()
        target_path = scope.get("raw_path") or scope["path"].encode()
        if scope["query_string"]:
            target_path += b"?" + scope["query_string"]
        request = httpx2.Request(
            scope["method"],
            httpx2.URL(scheme="http", host="worker", raw_path=target_path),
            headers=[each for each in scope["headers"] if each[0] not in _HOP_BY_HOP],
            content=body() if has_body else None,
        )
        passing = asyncio.create_task(self._pass(target, request, send))
        await run_until_gone(receive_after_body, passing)

    async def _pass(self, target: int, request: httpx2.Request, send: Send) -> None:
        path = str(self._worker.socket_path(target))
        async with httpx2.AsyncHTTPTransport(uds=path, verify=False) as transport:
            response = await _sent(transport, request)
            headers = [each for each in response.headers.raw if each[0].lower() not in _HOP_BY_HOP]
            status = response.status_code
            await send({"type": "http.response.start", "status": status, "headers": headers})
            with suppress(httpx2.TransportError):  # The client sees a body that ends too early.
                async for piece in response.aiter_raw():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _sent(transport: httpx2.AsyncHTTPTransport, request: httpx2.Request) -> httpx2.Response:
    """The response of a worker, awaited while it is started. Raises httpx2.ConnectError."""
    until = asyncio.get_running_loop().time() + RESTART_SECONDS
    while True:
        try:
            return await transport.handle_async_request(request)
        except httpx2.ConnectError:
            if asyncio.get_running_loop().time() > until:
                raise
            await asyncio.sleep(_RETRY_SECONDS)


class Peers:
    """What the other workers report: the sessions with running answers, whether the index is being
    updated, and their notices for open pages. Alone, a server has none."""

    def __init__(self, worker: Worker | None = None) -> None:
        self._worker = worker
        self._running: dict[int, list[tuple[str, str]]] = {}
        self.writes_index = worker is None or worker.index == _WRITER
        self.is_indexing = not self.writes_index

    def running_in(self, owner: str) -> set[str]:
        """The sessions of an owner in which other workers answer."""
        return {id_ for pairs in self._running.values() for name, id_ in pairs if name == owner}

    @asynccontextmanager
    async def connected(self, server: Service) -> AsyncIterator[None]:
        """Exchange notices within the block."""
        if self._worker is None:
            yield
            return
        loop, own = asyncio.get_running_loop(), self._path(self._worker.index)
        own.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mailbox:
            mailbox.bind(str(own))
            mailbox.setblocking(False)

            def send(kind: str, data: Mapping[str, Any]) -> None:
                self._send(mailbox, server, kind, data)

            loop.add_reader(mailbox, lambda: self._receive(mailbox, server, send))
            before, server.changes.relay = server.changes.relay, send
            send("started", {})
            try:
                yield
            finally:
                server.changes.relay = before
                loop.remove_reader(mailbox)
                own.unlink(missing_ok=True)

    def _path(self, index: int) -> Path:
        assert self._worker is not None
        return self._worker.folder / f"{index}.notices"

    def _send(
        self, mailbox: socket.socket, server: Service, kind: str, data: Mapping[str, Any]
    ) -> None:
        """Send a notice to the others, with what they keep of this worker."""
        assert self._worker is not None
        notice = {
            "kind": kind,
            "data": dict(data),
            "worker": self._worker.index,
            "running": server.runs.running_pairs(),
            "indexing": server.is_indexing,
        }
        packed = json.dumps(notice).encode()
        for index in range(self._worker.count):
            if index != self._worker.index:
                with suppress(OSError):  # It is not there, and asks when it comes.
                    mailbox.sendto(packed, str(self._path(index)))

    def _receive(self, mailbox: socket.socket, server: Service, send: Callable[..., None]) -> None:
        assert self._worker is not None
        with suppress(BlockingIOError):
            while True:
                notice = json.loads(mailbox.recv(_MOST_BYTES))
                sender = notice["worker"]
                self._running[sender] = [(owner, id_) for owner, id_ in notice["running"]]
                if sender == _WRITER:
                    self.is_indexing = notice["indexing"]
                if notice["kind"] == "started":
                    send("state", {})
                kind = "documents" if notice["kind"] in ("started", "state") else notice["kind"]
                if kind == "documents":
                    server.indexing.notice_folder()
                server.changes.deliver(kind, notice["data"])
