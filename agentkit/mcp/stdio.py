"""Start an MCP server as a child process: one message per line on its pipes, bounded in size.

Lines that are no message are ignored. An answer that is too large becomes an error of its request,
and a server that writes only noise is ended. The child never outlives this process.
On Windows the SDK's own transport is used, which has none of these limits.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

from agentkit._child import tree
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.repairs import read_message
from agentkit.mcp.trusted_command import trusted_command
from agentkit.redaction import redact

MAX_LINE = 16 * 1024 * 1024
MAX_UNENDED_LINE = 256 * 1024 * 1024
MAX_NOISE = 16 * 1024 * 1024
MAX_LOG = 1_000_000
_MAX_LOG_LINE = 65536
MAX_DEPTH = 3
DEPTH_VARIABLE = "AGENTKIT_MCP_DEPTH"
"""How many agents stand above this process, each having started the next as a server."""

_ANSWER_TOO_LARGE = -32001
_PIECE = 65536
_EXIT_SECONDS, _KILL_SECONDS = 2.0, 5.0


def depth() -> int:
    """How deep this process is below other agents: 0 for the user's own."""
    value = os.environ.get(DEPTH_VARIABLE, "")
    return int(value) if value.isascii() and value.isdigit() else 0


@asynccontextmanager
async def child_process(config: ServerConfig, log: ServerLog) -> AsyncIterator[tuple[Any, Any]]:
    """Start a server and yield the SDK's streams of messages from and to it. Raises OSError,
    McpError."""
    config = await asyncio.to_thread(trusted_command, config)
    own_variables = {DEPTH_VARIABLE: str(depth() + 1)} | dict(config.env)
    if sys.platform == "win32":
        from mcp import StdioServerParameters
        from mcp.client.stdio import stdio_client

        parameters = StdioServerParameters(
            command=config.command, args=list(config.args), env=own_variables, cwd=config.cwd
        )
        async with stdio_client(parameters) as streams:
            yield streams
        return
    process, lifeline = await _start(config, own_variables)
    incoming = _Incoming(process)
    errors = asyncio.create_task(_write_log(process, log))
    try:
        yield incoming, _Outgoing(process, incoming)
    finally:
        drained = asyncio.create_task(_drain(process))
        await _finish(asyncio.create_task(_end(process, lifeline)))
        for task in (drained, errors):
            task.cancel()
        await _finish(asyncio.gather(drained, errors, return_exceptions=True))


async def _start(config: ServerConfig, own_variables: Mapping[str, str]) -> tuple[Process, int]:
    """Start a server below its guard; return it and the pipe end whose closing ends it. The child
    gets the SDK's short list of variables and those of its entry."""
    from mcp.client.stdio import get_default_environment

    variables = get_default_environment() | dict(own_variables)
    command = _find_command(config, variables)
    ours, lifeline = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", tree.__file__, str(ours), command, *config.args),
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


def _find_command(config: ServerConfig, variables: Mapping[str, str]) -> str:
    """Return the command's path. Raises FileNotFoundError."""
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


async def _finish(future: asyncio.Future[Any]) -> None:
    """Wait until a child has ended, and only then pass on a cancellation."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _end(process: Process, lifeline: int) -> None:
    """Close its stdin, wait, then let its guard end it; at last kill the guard."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        if not await _has_exited(process, _EXIT_SECONDS):
            os.close(lifeline)
            lifeline = -1
            if not await _has_exited(process, _KILL_SECONDS):
                process.kill()
                await _has_exited(process, _KILL_SECONDS)
    finally:
        if lifeline >= 0:
            os.close(lifeline)
        # A descendant that escaped may hold the pipes: close our ends in any case.
        process._transport.close()  # type: ignore[attr-defined]


async def _has_exited(process: Process, seconds: float) -> bool:
    """Wait for the exit code: the pipes may stay open longer."""
    until = asyncio.get_running_loop().time() + seconds
    while process.returncode is None:
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(0.005)
    return True


async def _write_log(process: Process, log: ServerLog) -> None:
    assert process.stderr is not None
    while data := await process.stderr.read(_PIECE):
        log.write(data)


async def _drain(process: Process) -> None:
    """Read the rest of stdout: a child that must write before it exits would block."""
    assert process.stdout is not None
    with suppress(OSError, RuntimeError):
        while await process.stdout.read(_PIECE):
            pass


class _Stream:
    """The parts of the SDK's stream protocol beside the messages."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Do nothing: the process is ended elsewhere."""


class _Incoming(_Stream):
    """The messages from a server; they end where it writes only noise."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        self._stdout = process.stdout
        self._lines = LineBuffer()
        self._ready: deque[Any] = deque()
        self._noise = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._ready:
            if self._noise > MAX_NOISE or self._lines.pending > MAX_UNENDED_LINE:
                raise StopAsyncIteration
            if not (data := await self._stdout.read(_PIECE)):
                raise StopAsyncIteration
            for line in self._lines.add(data):
                message = parse_message(line)
                self._noise = self._noise + len(line) + 1 if message is None else 0
                if message is not None:
                    self._ready.append(message)
        return self._ready.popleft()

    async def receive(self) -> Any:
        """Return the next message. Raises anyio.EndOfStream."""
        import anyio

        try:
            return await self.__anext__()
        except StopAsyncIteration as error:
            raise anyio.EndOfStream from error

    def end(self) -> None:
        """Expect no more messages."""
        self._stdout.feed_eof()


class _Outgoing(_Stream):
    """The messages to a server."""

    def __init__(self, process: Process, incoming: _Incoming) -> None:
        assert process.stdin is not None
        self._stdin = process.stdin
        self._incoming = incoming

    async def send(self, item: Any) -> None:
        """Write a message. Raises anyio.BrokenResourceError where the pipe is closed."""
        import anyio

        text = item.message.model_dump_json(by_alias=True, exclude_unset=True)
        try:
            self._stdin.write(text.encode() + b"\n")
            await self._stdin.drain()
        except (OSError, RuntimeError) as error:
            self._incoming.end()
            raise anyio.BrokenResourceError from error


def parse_message(line: bytes) -> Any:
    """Parse a line as a message of the SDK; None where it is none."""
    from mcp.shared.message import SessionMessage

    message = read_message(line) if line.lstrip()[:1] in (b"{", b"[") else None
    return None if message is None else SessionMessage(message)


class LineBuffer:
    """Joins bytes to lines. A line that is too long is replaced by an error response."""

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self._max_line = max_line
        self._pieces: list[bytes] = []
        self.pending = 0
        """Length of the line that has not ended yet."""

    def add(self, data: bytes) -> list[bytes]:
        """Return the lines that these bytes complete."""
        first, *others = data.split(b"\n")
        self._append(first)
        lines = []
        for other in others:
            lines.append(self._take())
            self._append(other)
        return lines

    def _append(self, piece: bytes) -> None:
        self.pending += len(piece)
        self._pieces.append(piece)
        if self.pending > self._max_line:
            whole = b"".join(self._pieces)
            self._pieces = [whole[:_PIECE], whole[-_PIECE:]]

    def _take(self) -> bytes:
        pieces, size = self._pieces, self.pending
        self._pieces, self.pending = [], 0
        if size <= self._max_line:
            return b"".join(pieces)
        return _too_large_error(pieces[0], b"".join(pieces)[-_PIECE:], size)


def _too_large_error(head: bytes, tail: bytes, size: int) -> bytes:
    """The error response to the request of an answer that is too large; empty where the id is not
    found in its head or tail."""
    found = re.match(rb'\s*\{[^{}\[\]]{0,99}?"id"\s*:\s*"?(\d+)', head)
    found = found or re.search(rb'"id"\s*:\s*"?(\d+)"?\s*[,}][^{}\[\]]{0,99}\}?\s*$', tail)
    if found is None:
        return b""
    reason = f"the answer of {size // 1_000_000} MB is too large (at most {MAX_LINE >> 20} MiB)"
    error = f'{{"code":{_ANSWER_TOO_LARGE},"message":"{reason}"}}'
    return b'{"jsonrpc":"2.0","id":%s,"error":%s}' % (found[1], error.encode())


def log_path(folder: Path, server: str) -> Path:
    """The log of a server; names that differ only in special characters share one."""
    return folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', server)}.log"


def read_log(path: Path, lines: int) -> list[str]:
    """The last lines of a log, the rotated file included."""
    found: list[str] = []
    for part in (path.with_name(f"{path.name}.1"), path):
        with suppress(FileNotFoundError):
            found += part.read_text(encoding="utf-8", errors="replace").splitlines()
    return found[-lines:] if lines > 0 else []


class ServerLog:
    """What a server writes to standard error, in at most two files of a megabyte: a full file is
    rotated to `NAME.log.1`. Without a path, and where writing fails, output is dropped."""

    def __init__(self, path: Path | None, secrets: Sequence[str] = ()) -> None:
        self._path, self._secrets = path, secrets
        self._file: BinaryIO | None = None
        self._line = b""

    def __enter__(self) -> Self:
        if self._path is not None:
            with suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab")
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._append(self._line)
            self._file.close()
            self._file = None

    def write(self, data: bytes) -> None:
        """Append to the log, whole lines at a time and without secrets."""
        complete, newline, rest = (self._line + data).rpartition(b"\n")
        if len(rest) > _MAX_LOG_LINE:
            complete, newline, rest = complete + newline + rest, b"", b""
        self._line = rest
        self._append(complete + newline)

    def _append(self, text: bytes) -> None:
        if self._file is None or self._path is None or not text:
            return
        redacted = redact(text.decode("utf-8", "surrogateescape"), self._secrets)
        data = redacted.encode("utf-8", "surrogateescape")
        with suppress(OSError):
            if self._file.tell() + len(data) > MAX_LOG:
                self._file.close()
                os.replace(self._path, self._path.with_name(f"{self._path.name}.1"))
                self._file = self._path.open("ab")
            self._file.write(data[-MAX_LOG:])
            self._file.flush()
