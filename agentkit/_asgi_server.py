"""Serve an ASGI app over HTTP/1.1 on the running event loop, bounded against slow and many clients.

uvicorn with its h11 parser, which has no deadlines of its own: a connection whose headers, body or
reading of the response take too long is closed. At the limit of connections, one that waits for its
client makes room for a new one. There is no TLS and no HTTP/2: those are a proxy's work.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from agentkit.errors import AgentkitError, ConfigError

if TYPE_CHECKING:
    from starlette.types import ASGIApp

Phase = Literal["idle", "headers", "body", "response"]
"""What a connection waits for: a request, the rest of its headers or body, or the app."""

MAX_HEADER_BYTES = 32_768
_SPARE_DESCRIPTORS = 128
_EVICTED_SHARE = 20
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\n"
    b"content-length: 0\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Bounds of an HTTP server. Deadlines are kept to about a second."""

    connections: int = 1000
    """Open connections; fewer where the process may open fewer files."""
    header_seconds: float = 10.0
    """From the first byte of a request, or the connection, to the end of the headers."""
    body_seconds: float = 20.0
    """From the headers to the end of the body, with time for what has arrived at
    `body_bytes_per_second`. While the app does not read, the deadline is suspended."""
    body_bytes_per_second: float = 1000.0
    write_seconds: float = 60.0
    """How long a client may read nothing of a response that waits to be sent."""
    idle_seconds: float = 5.0
    """From a response to the next request."""
    shutdown_seconds: float = 5.0
    """Time that open requests get after the server was asked to stop."""


def listen(host: str, port: int) -> socket.socket:
    """Bind an address before anything else starts. Raises ConfigError."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        # `create_server` repeats the address after the reason.
        reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0].rstrip(".")
        raise ConfigError(
            f"Cannot serve at {bracket(host)}:{port}: {reason}. Choose another port."
        ) from error


def bracket(host: str) -> str:
    """Write a host as in a URL: IPv6 addresses in square brackets."""
    return f"[{host}]" if ":" in host else host


async def serve_app(
    app: ASGIApp,
    listener: socket.socket,
    limits: ServerLimits = ServerLimits(),
    *further: socket.socket,
    handle_signals: bool = True,
) -> None:
    """Serve `app`, lifespan included, on a socket of `listen`, and on further ones, until SIGINT or
    SIGTERM, or until this is cancelled; then open requests get `limits.shutdown_seconds`. The
    sockets are closed.

    Raises AgentkitError where the app's lifespan fails to start.
    """
    limits = _within_descriptors(limits)
    config = uvicorn.Config(
        app,
        # uvicorn calls it with the arguments of H11Protocol.
        http=cast(Any, partial(_Connection, limits)),
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ws="none",
        timeout_keep_alive=cast(int, limits.idle_seconds),
        timeout_graceful_shutdown=cast(int, limits.shutdown_seconds),
    )
    server = _Server(config, handle_signals)
    listeners = [listener, *further]
    with ExitStack() as opened:
        for each in listeners:
            opened.enter_context(each)
        serving = asyncio.create_task(server.serve(sockets=listeners))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            server.should_exit = True
            await asyncio.wait({serving})
            raise
        finally:
            for connection in list(server.server_state.connections):
                cast(_Connection, connection).transport.abort()


class _Server(uvicorn.Server):
    """uvicorn raises a signal again after its shutdown, which would end the process before the
    callers have closed their resources. Requests that a shutdown cuts off are not logged."""

    def __init__(self, config: uvicorn.Config, handle_signals: bool) -> None:
        super().__init__(config)
        self._handle_signals = handle_signals

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        except SystemExit as error:
            raise AgentkitError("The web app failed to start; the log has the reason.") from error

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            for connection in list(self.server_state.connections):
                cast(_Connection, connection).check_deadlines()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for name in ("uvicorn", "mcp"):
            logging.getLogger(name).addHandler(logging.NullHandler())
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if not self._handle_signals:
            yield
            return
        if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
            with super().capture_signals():
                yield
            return
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)


class _StrictParser(h11.Connection):
    """h11, which reads the body of a request with two lengths by its chunks. A proxy in front that
    reads it by Content-Length would take the rest for another client's request (RFC 9112, 6.3).
    h11 also bounds only headers that arrive in parts, and gives up HTTP after CONNECT."""

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        event = super().next_event()
        both = {b"content-length", b"transfer-encoding"}
        if isinstance(event, h11.Request) and both <= {name for name, _ in event.headers}:
            raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding")
        if isinstance(event, h11.Request):
            size = len(event.target) + sum(len(name + value) + 4 for name, value in event.headers)
            if size > MAX_HEADER_BYTES or event.method == b"CONNECT":
                raise h11.RemoteProtocolError("too large, or a tunnel")
        return event


class _Connection(H11Protocol):
    """uvicorn's protocol of one connection, with deadlines and a limit of connections."""

    def __init__(self, limits: ServerLimits, **options: Any) -> None:
        super().__init__(**options)
        self.conn = _StrictParser(h11.SERVER, MAX_HEADER_BYTES)
        self._limits = limits
        self._phase: Phase = "headers"
        self._since = self.loop.time()
        self._received = 0
        self._unsent = 0
        self._unsent_since = self._since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        is_full = len(self.connections) >= self._limits.connections and not self._make_room()
        super().connection_made(transport)
        if is_full:
            transport.write(_BUSY)
            transport.close()

    def data_received(self, data: bytes) -> None:
        if self._phase == "idle":
            self._enter("headers")
        self._received += len(data)
        super().data_received(data)
        self._update_phase()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._update_phase()

    def check_deadlines(self) -> None:
        """Close the connection if its client takes too long."""
        now = self.loop.time()
        if now > self._deadline() or now > self._write_deadline(now):
            self.transport.abort()

    def _update_phase(self) -> None:
        state = self.conn.their_state
        if state is h11.SEND_BODY:
            phase: Phase = "body"
        elif state is not h11.IDLE:
            phase = "response"
        else:
            phase = "headers" if self.conn.trailing_data[0] else "idle"
        if phase != self._phase and not (self._phase == "headers" and phase == "idle"):
            self._enter(phase)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since = self.loop.time()
        self._received = 0

    def _deadline(self) -> float:
        if self._phase == "headers":
            return self._since + self._limits.header_seconds
        if self._phase == "idle":
            return self._since + self._limits.idle_seconds
        if self._phase == "response":
            return float("inf")
        if self.cycle.response_complete:
            return self._since + self._limits.body_seconds
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            self._enter("body")
        allowed = self._limits.body_seconds + self._received / self._limits.body_bytes_per_second
        return self._since + allowed

    def _write_deadline(self, now: float) -> float:
        """The deadline for reading more of what waits to be sent. While the app writes less than
        a buffer holds, there is none."""
        unsent = self.transport.get_write_buffer_size()
        is_waiting = self.flow.write_paused or self.transport.is_closing()
        if not is_waiting or not unsent or unsent < self._unsent:
            self._unsent_since = now
        self._unsent = unsent
        return self._unsent_since + self._limits.write_seconds

    def _make_room(self) -> bool:
        """Close those connections that have waited longest for their clients: some at once, since
        finding them takes time. Uploads that have begun are closed last."""
        order: list[Phase] = ["idle", "headers", "body"]
        waiting = [
            each
            for each in cast(set[_Connection], self.connections)
            if each._phase in order or each.transport.is_closing()
        ]
        waiting.sort(key=lambda each: (each._phase == "body", each._since))
        for each in waiting[: max(1, self._limits.connections // _EVICTED_SHARE)]:
            each.transport.abort()
            self.connections.discard(each)
        return bool(waiting)


def _within_descriptors(limits: ServerLimits) -> ServerLimits:
    """The limits with no more connections than the process may open files."""
    if sys.platform == "win32":
        return limits
    import resource
    from dataclasses import replace

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return limits
    return replace(limits, connections=max(1, min(limits.connections, soft - _SPARE_DESCRIPTORS)))
