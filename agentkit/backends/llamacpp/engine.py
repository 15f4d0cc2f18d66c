"""llama.cpp in this process, through xllamacpp.

Its server must listen somewhere: no port is opened, but a socket in a directory that only this user
can read, where it demands a random key. Answers come by a function call, not over that socket; one
at a time.
"""

from __future__ import annotations

import ctypes
import json
import os
import secrets
import shutil
import signal
import socket
import tempfile
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from agentkit.errors import ConfigError, ModelError

Body = Mapping[str, Any]

_BATCH = 128
"""Tokens of the prompt read between two checks for cancellation."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_TIMEOUT = 5.0


class Engine:
    """A model in memory. `threads` is llama.cpp's own choice where it is None."""

    def __init__(self, name: str, path: Path, max_context: int, threads: int | None) -> None:
        self._key = secrets.token_urlsafe(32)
        directory = tempfile.mkdtemp(prefix="agentkit-")
        weakref.finalize(self, shutil.rmtree, directory, ignore_errors=True)
        params = _params(path, max_context, threads)
        params.api_keys = [self._key]
        if os.name != "nt":
            params.hostnames = [str(Path(directory) / "s.sock")]
        self._server = _start_server(name, path, params)
        self.address: str = self._server.listening_address
        self.window: int = ask_server(self.address, self._key, "/props")[
            "default_generation_settings"
        ]["n_ctx"]

    def chat(self, body: Body, emit: Callable[[Body], bool]) -> None:
        """Answer in the caller's thread; `emit` gets each chunk, and ends the answer by returning
        True. Errors come as chunks with an `error`, or as ValueError and RuntimeError."""
        self._server.handle_chat_completions(dict(body), emit)

    def count_tokens(self, text: str) -> int:
        """Count the tokens of a text. Raises OSError where the server has stopped."""
        return len(ask_server(self.address, self._key, "/tokenize", {"content": text})["tokens"])


def ask_server(address: str, key: str, path: str, body: Body | None = None) -> Any:
    """Return the JSON that the server answers to a GET, or to a POST of the body."""
    connection = _connection(address)
    headers = {"Authorization": f"Bearer {key}"}
    try:
        method = "GET" if body is None else "POST"
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def _params(path: Path, max_context: int, threads: int | None) -> Any:
    try:
        import xllamacpp
    except ImportError as error:
        raise ConfigError(
            "GGUF models in this process need xllamacpp, which is not installed. "
            "Run: pip install 'agentkit-rag[gguf]'"
        ) from error
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.n_ctx, params.n_parallel, params.n_batch = max_context, 1, _BATCH
    params.warmup, params.ui, params.endpoint_slots = False, False, False
    params.port, params.n_threads_http, params.verbosity = 0, 2, 0
    if threads is not None:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    return params


def _start_server(name: str, path: Path, params: Any) -> Any:
    import xllamacpp

    try:
        with _signal_handlers_kept():
            return xllamacpp.Server(params)
    except RuntimeError as error:
        size = path.stat().st_size / 1e6
        raise ModelError(
            f"{name} cannot be loaded ({path}, {size:.0f} MB). If the file is incomplete, "
            "download it again; if memory ran out, choose a smaller model or lower max_context.",
            name,
        ) from error


@contextmanager
def _signal_handlers_kept() -> Iterator[None]:
    """Restore the process's signal handlers: the server takes Ctrl-C for itself. By the C library,
    since Python lets only its main thread do it."""
    if os.name == "nt":
        yield
        return
    sigaction = ctypes.CDLL(None).sigaction
    kept = {number: ctypes.create_string_buffer(512) for number in _SIGNALS}
    for number, action in kept.items():
        sigaction(int(number), None, action)
    try:
        yield
    finally:
        for number, action in kept.items():
            sigaction(int(number), action, None)


def _connection(address: str) -> HTTPConnection:
    if address.startswith("unix://"):
        return _SocketConnection(address.removeprefix("unix://"))
    return HTTPConnection(address.removeprefix("http://"), timeout=_TIMEOUT)


class _SocketConnection(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
