"""A server as a child: one message a line on its pipes, bounded, and never outliving us.

Lines that are no message are passed over. An answer that is too large becomes an error of its
request, and a server that only makes noise is ended. On Windows the SDK's own transport serves,
which knows none of these bounds.

From a server's bytes to its messages, a line each, none longer than we want to hold.

Lines that hold no message are nothing. An answer that is too long becomes an error of its request,
where its id can be seen.

What a server writes to standard error, kept in a file that stays small.

A full file becomes `NAME.log.1` and a new one begins: at most two files of a megabyte each.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from agentkit.mcp import guard
from agentkit.mcp.config import ServerConfig

LARGEST_LINE = 16 * 1024 * 1024
_EDGE_LINES = 65536
_ANSWER_TOO_LARGE = -32001


def message_of(line: bytes) -> Any:
    """The message of a line, None where it holds none."""
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    if not line.lstrip().startswith(b"{"):
        return None
    for read in (bytes, _mended):
        with suppress(ValueError, RecursionError):
            return SessionMessage(jsonrpc_message_adapter.validate_json(read(line), by_name=False))
    return None


def _mended(line: bytes) -> bytes:
    """The line with a question mark for each half of a character, which a text that was cut in the
    middle of an emoji has. Raises ValueError, RecursionError."""
    value = json.loads(line.decode("utf-8", "replace"))
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


class Lines:
    """Bytes put together to lines. Of a line that is too long, an error in its place is left."""

    def __init__(self, largest: int = LARGEST_LINE) -> None:
        self._largest = largest
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def pending(self) -> int:
        """How long the line is that has not ended yet."""
        return self._size

    def added(self, data: bytes) -> list[bytes]:
        """The lines that these bytes complete."""
        first, *others = data.split(b"\n")
        self._add(first)
        done = []
        for other in others:
            done.append(self._taken())
            self._add(other)
        return done

    def _add(self, piece: bytes) -> None:
        self._size += len(piece)
        self._pieces.append(piece)
        if self._size > self._largest:
            whole = b"".join(self._pieces)
            self._pieces = [whole[:_EDGE_LINES], whole[-_EDGE_LINES:]]

    def _taken(self) -> bytes:
        pieces, size = self._pieces, self._size
        self._pieces, self._size = [], 0
        if size <= self._largest:
            return b"".join(pieces)
        return _too_large(pieces[0], b"".join(pieces)[-_EDGE_LINES:], size)


def _too_large(head: bytes, tail: bytes, size: int) -> bytes:
    """The error that stands for an answer too large to be read, where its id can be seen."""
    known = re.match(rb'\s*\{[^{}\[\]]{0,99}?"id"\s*:\s*(\d+)', head)
    known = known or re.search(rb'"id"\s*:\s*(\d+)\s*[,}][^{}\[\]]{0,99}\}?\s*$', tail)
    if known is None:
        return b""
    said = f"the answer of {size // 1_000_000} MB is too large (at most {LARGEST_LINE >> 20} MiB)"
    error = f'{{"code":{_ANSWER_TOO_LARGE},"message":"{said}"}}'
    return b'{"jsonrpc":"2.0","id":%s,"error":%s}' % (known[1], error.encode())


LARGEST = 1_000_000


def log_path(folder: Path, server: str) -> Path:
    """The log of a server. Two names that differ in special characters alone share one."""
    return folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', server)}.log"


def last_lines(path: Path, lines: int) -> list[str]:
    """The last lines of a log, older ones from the file before it."""
    found: list[str] = []
    for part in (path.with_name(f"{path.name}.1"), path):
        with suppress(FileNotFoundError):
            found += part.read_text(encoding="utf-8", errors="replace").splitlines()
    return found[-lines:] if lines > 0 else []


class ServerLog:
    """A log, open. Without a path it forgets all; what cannot be written is dropped."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, data: bytes) -> None:
        """Add to the log."""
        if self._file is None:
            return
        with suppress(OSError):
            if self._file.tell() + len(data) > LARGEST:
                self._turn()
            self._file.write(data[-LARGEST:])
            self._file.flush()

    def _turn(self) -> None:
        assert self._path is not None
        assert self._file is not None
        self._file.close()
        os.replace(self._path, self._path.with_name(f"{self._path.name}.1"))
        self._file = self._path.open("ab")


MOST_UNENDED = 256 * 1024 * 1024
MOST_NOISE = 16 * 1024 * 1024
_EDGE = 65536
_SAYS_GOODBYE, _IS_ENDED = 2.0, 5.0

MOST_DEPTH = 3
DEPTH = "AGENTKIT_MCP_DEPTH"
"""How many agents stand above this process, each having started the next as a server."""


def depth() -> int:
    """How deep this process is below other agents: 0 for the user's own."""
    told = os.environ.get(DEPTH, "")
    return int(told) if told.isascii() and told.isdigit() else 0


@asynccontextmanager
async def child(config: ServerConfig, log: ServerLog) -> AsyncIterator[tuple[Any, Any]]:
    """Start a server; the SDK's streams of messages from and to it. Raises OSError."""
    if sys.platform == "win32":
        from mcp import StdioServerParameters
        from mcp.client.stdio import stdio_client

        parameters = StdioServerParameters(
            command=config.command, args=list(config.args), env=_own(config), cwd=config.cwd
        )
        async with stdio_client(parameters) as streams:
            yield streams
        return
    process, lifeline = await _started(config)
    async with _served(process, lifeline, log) as streams:
        yield streams


def environment(config: ServerConfig) -> dict[str, str]:
    """All that a child gets: the SDK's short list, and its own entry's."""
    from mcp.client.stdio import get_default_environment

    return get_default_environment() | _own(config)


def _own(config: ServerConfig) -> dict[str, str]:
    return {DEPTH: str(depth() + 1)} | dict(config.env)


async def _started(config: ServerConfig) -> tuple[Process, int]:
    variables = environment(config)
    command = _found(config, variables)
    ours, lifeline = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", guard.__file__, str(ours), command, *config.args),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            pass_fds=(ours,),
            env=variables,
            cwd=config.cwd,
            start_new_session=True,
        )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(ours)
    return process, lifeline


def _found(config: ServerConfig, variables: Mapping[str, str]) -> str:
    """The command as a path. Raises FileNotFoundError."""
    if config.cwd is not None and not config.cwd.is_dir():
        raise FileNotFoundError(str(config.cwd))
    if os.sep in config.command:
        path = (config.cwd or Path()) / config.command
        found = str(path) if os.access(path, os.X_OK) and path.is_file() else None
    else:
        found = shutil.which(config.command, path=variables.get("PATH"))
    if found is None:
        raise FileNotFoundError(config.command)
    return os.path.abspath(found)


@asynccontextmanager
async def _served(
    process: Process, lifeline: int, log: ServerLog
) -> AsyncIterator[tuple[Any, Any]]:
    incoming = _Incoming(process)
    errors = asyncio.create_task(_keep(process, log))
    try:
        yield incoming, _Outgoing(process, incoming)
    finally:
        drained = asyncio.create_task(_drained(process))
        await _whatever_comes(asyncio.create_task(_end(process, lifeline)))
        for task in (drained, errors):
            task.cancel()
        await _whatever_comes(asyncio.gather(drained, errors, return_exceptions=True))


async def _whatever_comes(ending: asyncio.Future[Any]) -> None:
    """A child must not outlive us: a cancellation waits until it has ended."""
    cancelled: asyncio.CancelledError | None = None
    while not ending.done():
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _end(process: Process, lifeline: int) -> None:
    """Close its stdin, wait a while, and have its guard end it; kill the guard at last."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        if not await _ended(process, _SAYS_GOODBYE):
            os.close(lifeline)
            lifeline = -1
            if not await _ended(process, _IS_ENDED):
                process.kill()
                await _ended(process, _IS_ENDED)
    finally:
        if lifeline >= 0:
            os.close(lifeline)
        # A descendant that escaped may hold the pipes: let go of them in any case.
        process._transport.close()  # type: ignore[attr-defined]


async def _ended(process: Process, seconds: float) -> bool:
    """Whether it ends in time. Its pipes may be open longer, so its code is what tells."""
    until = asyncio.get_running_loop().time() + seconds
    while process.returncode is None:
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(0.005)
    return True


async def _keep(process: Process, log: ServerLog) -> None:
    assert process.stderr is not None
    while data := await process.stderr.read(_EDGE):
        log.write(data)


async def _drained(process: Process) -> None:
    """Whoever must still write, to come to its end, shall not be stuck in it."""
    assert process.stdout is not None
    with suppress(OSError, RuntimeError):
        while await process.stdout.read(_EDGE):
            pass


class _Stream:
    """What the SDK wants of a stream, beside its messages."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Nothing to do: the process is ended elsewhere."""


class _Incoming(_Stream):
    """The messages of a server, as the SDK reads them; they end where there is only noise."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout
        self._lines = Lines()
        self._ready: deque[Any] = deque()
        self._noise = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._ready:
            if self._noise > MOST_NOISE or self._lines.pending > MOST_UNENDED:
                raise StopAsyncIteration
            if not (data := await self._stdout.read(_EDGE)):
                raise StopAsyncIteration
            self._take(data)
        return self._ready.popleft()

    async def receive(self) -> Any:
        """The next message. Raises anyio.EndOfStream."""
        import anyio

        try:
            return await self.__anext__()
        except StopAsyncIteration as error:
            raise anyio.EndOfStream from error

    def end(self) -> None:
        """Nothing more is to be expected."""
        self._stdout.feed_eof()

    def _take(self, data: bytes) -> None:
        for line in self._lines.added(data):
            message = message_of(line)
            self._noise = self._noise + len(line) + 1 if message is None else 0
            if message is not None:
                self._ready.append(message)


class _Outgoing(_Stream):
    """The messages to a server, as the SDK sends them."""

    def __init__(self, process: Process, incoming: _Incoming) -> None:
        assert process.stdin is not None
        self._stdin = process.stdin
        self._incoming = incoming

    async def send(self, item: Any) -> None:
        """Write a message. Raises anyio.BrokenResourceError where nobody reads."""
        import anyio

        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            self._stdin.write(text.encode() + b"\n")
            await self._stdin.drain()
        except (OSError, RuntimeError) as error:
            self._incoming.end()
            raise anyio.BrokenResourceError from error
