"""Run the Chroma of a folder in a child process, one for all indexes of this process.

Chroma holds Python's lock while it works, 200 ms for a thousand vectors, and a damaged HNSW file
ends the process that opens it or keeps it busy forever. In a child neither stops the program: calls
are bounded, and what fails is rebuilt from the catalog or replaced by an exact scan.
"""

from __future__ import annotations

import atexit
import shutil
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentkit._child import Bounds, ChildFailed
from agentkit._child.process import Child
from agentkit._child.worker import Report
from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.consistency import compare
from agentkit.knowledge.index.vectors import Vectors, is_sealed
from agentkit.redaction import get_logger

_log = get_logger(__name__)

_READ_SECONDS = 60.0
"""Opening a million vectors takes some ten."""
_WRITE_SECONDS = 600.0
_CHECK_SECONDS = 300.0
_PAUSE_SECONDS = 30.0
"""How long searches do without a Chroma that has ended its process or did not answer in time."""
_IDLE_SECONDS = 30.0
"""How long a child without open folders is kept: loading Chroma takes a second."""
_EXIT_SECONDS = 2.0
CHROMA_THREAD = "agentkit-chroma"


class ChromaProcess(Vectors):
    """One Chroma collection in a folder, opened in a child. A call raises ChildFailed where Chroma
    fails, ends its process or takes too long, and KnowledgeError where no process can be started.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path.absolute())
        self._paused_until = 0.0
        self._is_open = False

    def count(self) -> int:
        return int(self._call("count", _READ_SECONDS))

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        if len(ids):
            content = np.ascontiguousarray(vectors, np.float32).tobytes()
            self._call("upsert", _WRITE_SECONDS, content, ids=list(ids))

    def delete(self, ids: Sequence[str]) -> None:
        self._call("delete", _WRITE_SECONDS, ids=list(ids))

    def query(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        if time.monotonic() < self._paused_until:
            raise ChildFailed("ended", "the last call failed")
        try:
            found = self._call("query", _READ_SECONDS, vector.astype(np.float32).tobytes(), k=k)
        except ChildFailed:
            self._paused_until = time.monotonic() + _PAUSE_SECONDS
            raise
        return [(id_, cosine) for id_, cosine in found]

    def works(self) -> bool:
        try:
            self._call("check", _CHECK_SECONDS)
        except ChildFailed as error:
            _log.warning("Chroma failed (%s): rebuilding it from the catalog", error)
            return False
        return True

    def clear(self) -> None:
        """Delete every vector and the files. The child ends: after an opening that failed Chroma
        fails once more in the same process."""
        _process.end()
        self._is_open = False
        self._paused_until = 0.0
        shutil.rmtree(self._path, ignore_errors=True)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            with suppress(ChildFailed, KnowledgeError):
                self._call("close", _READ_SECONDS)

    def _call(self, method: str, seconds: float, content: bytes = b"", **arguments: Any) -> Any:
        self._is_open = method != "close"
        call = {"path": str(self._path), "method": method, **arguments}
        try:
            return _process.call(_Call(call, content, Bounds(seconds=seconds)))
        except OSError as error:
            raise KnowledgeError(
                f"No process can be started for Chroma ({error.strerror}). Raise the limit of "
                "processes or open files, or free memory."
            ) from error

    def _open(self) -> Any:
        raise NotImplementedError("Chroma is opened in the child only")


class _Call(NamedTuple):
    arguments: dict[str, Any]
    content: bytes
    bounds: Bounds


class _Process:
    """The child in which Chroma runs, started at its first call. A thread that never ends owns it,
    since on Linux a child ends with the thread that started it. Safe to share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[tuple[_Call | None, Future[Any]]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._child: Child | None = None
        self._open = set[str]()

    def call(self, call: _Call) -> Any:
        """The result of a call. Raises ChildFailed, OSError."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=CHROMA_THREAD, daemon=True)
                self._thread.start()
                atexit.register(self.end, _EXIT_SECONDS)
        return self._put(call).result()

    def end(self, seconds: float | None = None) -> None:
        """End the child if there is one, after the calls before."""
        if self._thread is not None:
            with suppress(TimeoutError):
                self._put(None).result(seconds)

    def _put(self, call: _Call | None) -> Future[Any]:
        result: Future[Any] = Future()
        self._jobs.put((call, result))
        return result

    def _run(self) -> None:
        while True:
            try:
                call, result = self._jobs.get(timeout=_IDLE_SECONDS)
            except Empty:
                if not self._open:
                    self._stop()
                continue
            try:
                if call is None:
                    self._stop()
                result.set_result(self._answer(call) if call else None)
            except BaseException as error:
                result.set_exception(error)

    def _answer(self, call: _Call) -> Any:
        if self._child is not None and not self._child.memory_bytes:
            self._stop()
        path = call.arguments["path"]
        if call.arguments["method"] != "close":
            self._open.add(path)
        elif path in self._open:
            self._open.remove(path)
        else:  # A former child had it open.
            return None
        if self._child is None:
            self._child = Child()
        try:
            return self._child.call(_TARGET, call.arguments, call.content, bounds=call.bounds)
        except ChildFailed as error:
            if error.kind != "raised":
                self._stop()
            raise

    def _stop(self) -> None:
        child, self._child = self._child, None
        self._open.clear()
        if child is not None:
            child.close()


_process = _Process()
_TARGET = f"{__name__}:answer"
_opened: dict[str, Vectors] = {}
"""In the child: the folders that are open."""


def answer(
    content: bytes, _: Report, *, path: str, method: str, ids: Sequence[str] = (), k: int = 0
) -> Any:
    """Answer a call in the child. `content` is the vectors, 32-bit floats, one after another."""
    vectors = _opened.setdefault(path, Vectors(Path(path)))
    matrix = np.frombuffer(content, np.float32)
    match method:
        case "count":
            return vectors.count()
        case "upsert":
            return vectors.upsert(ids, matrix.reshape(len(ids), -1))
        case "delete":
            return vectors.delete(ids)
        case "query":
            return vectors.query(matrix, k)
        case "check":
            return _check(vectors, Path(path))
    return _opened.pop(path).close()


def _check(vectors: Vectors, path: Path) -> None:
    """Open Chroma; compare it with the catalog beside it unless a writer has closed the files as
    they are. Raises KnowledgeError for vectors that are damaged."""
    if not (vectors.is_open or is_sealed(path)):
        counts = compare(path.parent, vectors)
        if counts["different"]:
            raise KnowledgeError(f"{counts['different']} vectors are damaged")
    vectors.count()
