"""Start an MCP server as a child process, through the SDK's transport, and keep its log.

The SDK bounds no line, and its server outlives a client that is killed: `guard.py` stands between
the two. On Windows the guard does not run, and those limits are missing.
"""

from __future__ import annotations

import asyncio
import codecs
import logging
import os
import re
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Self, TextIO

from agentkit.errors import McpError
from agentkit.mcp import guard
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.trusted_command import trusted_command
from agentkit.redaction import redact

MAX_LOG = 1_000_000
_MAX_LOG_LINE = 65536
_LOG_SECONDS = 1.0
LINES = "agentkit_utf8_lines"
"""The name of an encoding: UTF-8 that is decoded by whole lines."""
_PASSED_ON = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"),
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE"),
    *("LANG", "LC_ALL", "TZ", "TMPDIR"),
)
"""Variables that a child gets beside the SDK's short list: without them it reaches no network that
has a proxy or certificates of its own."""

MAX_DEPTH = 3
DEPTH_VARIABLE = "AGENTKIT_MCP_DEPTH"
"""How many agents stand above this process, each having started the next as a server."""


def depth() -> int:
    """How deep this process is below other agents: 0 for the user's own."""
    value = os.environ.get(DEPTH_VARIABLE, "")
    return int(value) if value.isascii() and value.isdigit() else 0


@asynccontextmanager
async def child_process(config: ServerConfig, log: ServerLog) -> AsyncIterator[Any]:
    """Start a server and yield the SDK's streams of messages from and to it. The child gets a short
    list of variables, none with a password, and those of its entry. Raises OSError, McpError."""
    from mcp import StdioServerParameters
    from mcp.client.stdio import stdio_client

    if depth() >= MAX_DEPTH:
        raise McpError(
            f"The MCP server {config.name!r} is not started: {depth()} agents above this one have "
            "each started the next. Remove the one that calls itself from mcp.json.",
            config.name,
        )
    config = await asyncio.to_thread(trusted_command, config)
    passed_on = {name: os.environ.get(name, "") for name in _PASSED_ON}
    variables = {name: value for name, value in passed_on.items() if value and "@" not in value}
    command = [config.command, *config.args]
    if sys.platform != "win32":
        command = [sys.executable, "-I", "-S", guard.__file__, *command]
    parameters = StdioServerParameters(
        command=command[0],
        args=command[1:],
        env={**variables, DEPTH_VARIABLE: str(depth() + 1), **config.env},
        cwd=config.cwd,
        encoding=LINES,
        encoding_error_handler="replace",
    )
    async with _log_pipe(log) as errors, stdio_client(parameters, errors) as streams:
        errors.close()
        yield streams


class _LineDecoder(codecs.IncrementalDecoder):
    """Decodes whole lines. The SDK searches all of an unended line at each piece, which takes
    quadratic time."""

    def __init__(self, errors: str = "strict") -> None:
        super().__init__(errors)
        self._line: list[bytes] = []

    def decode(self, input: Any, final: bool = False) -> str:  # noqa: A002
        lines, newline, rest = bytes(input).rpartition(b"\n")
        if not newline:
            self._line.append(rest)
            return ""
        whole = b"".join([*self._line, lines, newline])
        self._line = [rest]
        return whole.decode("utf-8", self.errors)


def _find_codec(name: str) -> codecs.CodecInfo | None:
    utf8 = codecs.lookup("utf-8")
    own = codecs.CodecInfo(utf8.encode, utf8.decode, incrementaldecoder=_LineDecoder)
    return own if name == LINES else None


codecs.register(_find_codec)


@asynccontextmanager
async def _log_pipe(log: ServerLog) -> AsyncIterator[TextIO]:
    """A file whose text goes to a log; the reader closes it after the start."""
    reading, writing = os.pipe()
    loop = asyncio.get_running_loop()

    def follow() -> None:
        with os.fdopen(reading, "rb", 0) as stream, suppress(RuntimeError):  # of a closed loop
            while data := stream.read(_MAX_LOG_LINE):
                loop.call_soon_threadsafe(log.write, data)

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    with os.fdopen(writing, "w") as errors:
        yield errors
    await asyncio.to_thread(reader.join, _LOG_SECONDS)  # A descendant may hold the pipe longer.


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


class _LogFile(RotatingFileHandler):
    """At most two files of a megabyte: a full one is renamed to `NAME.log.1`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(path, "a", MAX_LOG, 1, encoding="utf-8", errors="surrogateescape")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Drop what cannot be written."""


class ServerLog:
    """What a server writes to standard error, without secrets; dropped where there is no path, or
    writing fails."""

    def __init__(self, path: Path | None, secrets: Sequence[str] = ()) -> None:
        self.path, self._secrets = path, secrets
        self.last_line = ""
        """The last line with text, redacted."""
        self._file: _LogFile | None = None
        self._line = b""

    def __enter__(self) -> Self:
        if self.path is not None:
            with suppress(OSError):
                self._file = _LogFile(self.path)
        return self

    def __exit__(self, *exception: object) -> None:
        self._append(self._line)
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, data: bytes) -> None:
        """Append to the log, whole lines at a time."""
        complete, _newline, rest = (self._line + data).rpartition(b"\n")
        if len(rest) > _MAX_LOG_LINE:
            complete, rest = complete + rest, b""
        self._line = rest
        self._append(complete)

    def _append(self, text: bytes) -> None:
        redacted = redact(text.decode("utf-8", "surrogateescape"), self._secrets)[-MAX_LOG:]
        self.last_line = (redacted.strip() or self.last_line).rpartition("\n")[2]
        if self._file is not None and text:
            self._file.handle(logging.makeLogRecord({"msg": redacted}))
