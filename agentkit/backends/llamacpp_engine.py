"""llama.cpp in this process, through xllamacpp. No port is opened: what its server insists on
listening at is a socket in a folder of this user's alone, and there it wants a random key.

Answers are made by a call, not over that socket; one at a time.
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
"""Tokens of the prompt read between two looks at whether anyone still listens."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ASK_SECONDS = 5.0


class Engine:
    """A model in memory. `threads` is llama.cpp's own choice where it is None."""

    def __init__(self, name: str, path: Path, max_context: int, threads: int | None) -> None:
        self._key = secrets.token_urlsafe(32)
        folder = tempfile.mkdtemp(prefix="agentkit-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        params = _params(path, max_context, threads)
        params.api_keys = [self._key]
        if os.name != "nt":
            params.hostnames = [str(Path(folder) / "s.sock")]
        self._server = _served(name, path, params)
        self._address: str = self._server.listening_address
        self.window: int = self._asked("/props")["default_generation_settings"]["n_ctx"]

    def chat(self, body: Body, say: Callable[[Body], bool]) -> None:
        """Answer in the caller's thread; `say` gets each chunk, and ends the answer by giving
        True. Errors come as chunks with an `error`, or as ValueError and RuntimeError."""
        self._server.handle_chat_completions(dict(body), say)

    def count_tokens(self, text: str) -> int:
        """Raises OSError where the engine is gone."""
        return len(self._asked("/tokenize", {"content": text})["tokens"])

    def _asked(self, path: str, body: Body | None = None) -> Any:
        connection = _connection(self._address)
        headers = {"Authorization": f"Bearer {self._key}"}
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


def _served(name: str, path: Path, params: Any) -> Any:
    import xllamacpp

    try:
        with _signals_kept():
            return xllamacpp.Server(params)
    except RuntimeError as error:
        size = path.stat().st_size / 1e6
        raise ModelError(
            f"{name} cannot be loaded ({path}, {size:.0f} MB). If the file is not whole, download "
            "it again; if memory ran out, choose a smaller model or lower max_context.",
            name,
        ) from error


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Give the process its signal handlers back: the server takes Ctrl-C for itself. By the C
    library, since Python lets only its first thread do it."""
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
    return HTTPConnection(address.removeprefix("http://"), timeout=_ASK_SECONDS)


class _SocketConnection(HTTPConnection):
    """HTTP over a socket in a folder."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_ASK_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
