"""Start a child, call functions in it within bounds, and end it with everything it has started.

The child is a fresh interpreter that imports from the parent's path without the current folder,
where a file named like a library may lie; it never runs the user's script again, as a spawn of
multiprocessing does. It ends with its parent: its standard input closes, and on Linux the kernel
kills it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any

import agentkit
from agentkit._child import Bounds, ChildFailed
from agentkit._child.tree import kill_group, kill_tree
from agentkit._child.worker import (
    FROZEN_FLAG,
    FrameTooLarge,
    Reply,
    Report,
    read_frame,
    write_frame,
)
from agentkit._sync import in_worker

_BOOT = (
    "import json, os, sys; calls = os.fdopen(os.dup(0), 'rb');"
    " start = json.loads(calls.readline());"
    " sys.path[:] = start['path']; os.environ.update(start['environment']);"
    " from agentkit._child.worker import serve; serve(calls)"
)
_KEPT = (
    *("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "LD_LIBRARY_PATH", "PYTHONHOME"),
)
"""The variables that a child needs to run at all: no keys, and no path to import from."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
_IMPORT_VARIABLES = ("PYTHONPATH", "PYTHONSTARTUP")
_POLL_SECONDS = 0.05
_ERROR_BYTES = 2000
_EXIT_SECONDS = 5.0


def import_path() -> tuple[list[str], list[str]]:
    """The entries of the import path as absolute paths: those a child imports from, and those of
    the current folder. The folder of this package stays, as the last one."""
    try:
        current = os.path.realpath(os.getcwd())
    except OSError:
        current = ""
    entries = list(dict.fromkeys(os.path.abspath(entry or ".") for entry in sys.path))
    left_out = [entry for entry in entries if os.path.realpath(entry) == current]
    kept = [entry for entry in entries if entry not in left_out]
    own = str(Path(agentkit.__file__).parent.parent)
    return [*kept, *([] if own in kept else [own])], left_out


def minimal_environment() -> dict[str, str]:
    """The environment of a child that needs no keys."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ} | _ONE_THREAD


class Child:
    """A child process that is called from one thread at a time. On Linux the thread that creates
    it must outlive it. Raises OSError where no process can be started."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        chosen = dict(minimal_environment() if environment is None else environment)
        held = {name: chosen.pop(name) for name in _IMPORT_VARIABLES if name in chosen}
        own_group: dict[str, Any] = {"start_new_session": True}
        if sys.platform == "win32":
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
            own_group = {"creationflags": flags}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            _command(), stdin=pipe, stdout=pipe, stderr=pipe, env=chosen, **own_group
        )
        self._errors = b""
        self._reader = Thread(target=self._read_errors, name="agentkit-child", daemon=True)
        self._reader.start()
        self._lock = Lock()
        self._is_closed = self._is_calling = False
        self.calls = 0
        start = {"path": import_path()[0], "environment": held}
        with suppress(OSError):  # One that has ended is reported by the first call.
            self._stdin.write(json.dumps(start).encode() + b"\n")

    @property
    def _stdin(self) -> Any:
        assert self._process.stdin is not None
        return self._process.stdin

    @property
    def _stdout(self) -> Any:
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def memory_bytes(self) -> int:
        """Its resident memory, 0 once it has ended."""
        import psutil

        with suppress(psutil.Error):
            return int(psutil.Process(self.pid).memory_info().rss)
        return 0

    def call(
        self,
        target: str,
        arguments: Mapping[str, Any],
        content: bytes = b"",
        *,
        bounds: Bounds,
        report: Report | None = None,
    ) -> Any:
        """The result of `target`, "module:function" of a `worker.Target`; a `Reply` where it has
        bytes. `report` is called with its progress, in this thread. Raises ChildFailed."""
        self.calls += 1
        with self._lock:
            self._is_calling = not self._is_closed
        if not self._is_calling:
            raise ChildFailed("ended", "the work was stopped")
        watch = _Watch(self, bounds)
        limits = {"memory_mb": bounds.memory_mb, "cpu_seconds": bounds.cpu_seconds}
        call = {"target": target, "arguments": dict(arguments), **limits}
        try:
            with suppress(OSError, ValueError):
                write_frame(self._stdin, call, content)
            record, found = self._receive(bounds, report)
            if record is None:
                raise self._explain(watch, bounds)
        finally:
            watch.ended.set()
            with self._lock:
                self._is_calling = False
                if self._is_closed:
                    self._close_pipes()
        if "result" in record:
            return Reply(record["result"], found) if found else record["result"]
        if record.get("failure") == "memory":
            raise _memory_failure(bounds)
        raise ChildFailed("raised", str(record.get("error")))

    def _receive(
        self, bounds: Bounds, report: Report | None
    ) -> tuple[dict[str, Any] | None, bytes]:
        """The final record of a call, None where the child ended or wrote what is no record."""
        try:
            while frame := read_frame(self._stdout, bounds.result_bytes):
                record, content = frame
                if "progress" not in record:
                    return dict(record), content
                if report is not None:
                    report(str(record["progress"]), record.get("fraction"))
        except FrameTooLarge as error:
            self.close()
            size = bounds.result_bytes / 1e6
            raise ChildFailed("output", f"its result is larger than {size:.0f} MB") from error
        except (OSError, ValueError, TypeError, RecursionError, MemoryError):
            self.close()
        return None, b""

    def _explain(self, watch: _Watch, bounds: Bounds) -> ChildFailed:
        """Why the child has ended."""
        if watch.failure is not None:
            return watch.failure
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_SECONDS)
        code = self._process.returncode
        if code is not None and -code == getattr(signal, "SIGXCPU", None):
            return ChildFailed("cpu", f"stopped after {bounds.cpu_seconds:.3g} s of CPU time")
        if bounds.memory_mb is not None and watch.peak > 0.5e6 * bounds.memory_mb:
            return _memory_failure(bounds)
        self._reader.join(0.2)
        lines = self._errors.decode("utf-8", "replace").strip().splitlines()
        reason = f"ended with code {code}"
        if code is not None and code < 0:
            with suppress(ValueError):
                reason = f"ended by signal {signal.Signals(-code).name}"
        return ChildFailed("ended", reason + (f": {lines[-1][:300]}" if lines else ""))

    def _read_errors(self) -> None:
        stream = self._process.stderr
        assert isinstance(stream, BufferedReader)
        with suppress(OSError, ValueError), stream:
            while piece := stream.read1(65536):
                self._errors = (self._errors + piece)[-_ERROR_BYTES:]

    def close(self) -> None:
        """Kill the child and all that it has started. May be called from any thread."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            if self._process.poll() is None:
                kill_tree(self.pid)
                self._process.wait()
            else:
                kill_group(self.pid)
            if not self._is_calling:  # A reader would keep a pipe from closing.
                self._close_pipes()

    def _close_pipes(self) -> None:
        self._reader.join(0.2)
        for stream in (self._stdin, self._stdout):
            with suppress(OSError, ValueError):
                stream.close()


class _Watch:
    """Ends a child that takes more time or memory than a call may."""

    def __init__(self, child: Child, bounds: Bounds) -> None:
        self.ended = Event()
        self.failure: ChildFailed | None = None
        self.peak = 0
        """The most memory seen, in bytes, beyond what the child had before."""
        if bounds.seconds is not None or bounds.memory_mb is not None:
            Thread(target=self._run, args=(child, bounds), daemon=True).start()

    def _run(self, child: Child, bounds: Bounds) -> None:
        began, before = time.monotonic(), None
        while not self.ended.wait(_POLL_SECONDS):
            if bounds.memory_mb is not None:
                held = child.memory_bytes
                before = held if before is None and child.calls > 1 else before or 0
                self.peak = max(self.peak, held - before)
                if self.peak > bounds.memory_mb * 1e6:
                    self.failure = _memory_failure(bounds)
            if bounds.seconds is not None and time.monotonic() - began > bounds.seconds:
                self.failure = ChildFailed("time", f"stopped after {bounds.seconds:.3g} s")
            if self.failure is not None:
                child.close()
                return


def _memory_failure(bounds: Bounds) -> ChildFailed:
    most = bounds.memory_mb or 0
    size = f"{most / 1000:.3g} GB" if most >= 1000 else f"{most:.0f} MB"
    return ChildFailed("memory", f"killed at {size} of memory")


async def call_in_child(
    target: str,
    arguments: Mapping[str, Any],
    *,
    bounds: Bounds,
    environment: Mapping[str, str] | None = None,
    report: Report | None = None,
) -> Any:
    """Start a child for one call, and end it; a cancellation ends it too. `report` is called in a
    thread. Raises ChildFailed, OSError."""
    started: list[Child] = []
    is_cancelled = Event()

    def run() -> Any:
        child = Child(environment)
        started.append(child)
        try:
            if is_cancelled.is_set():
                return None
            return child.call(target, arguments, bounds=bounds, report=report)
        finally:
            child.close()

    try:
        return await in_worker(run)
    except asyncio.CancelledError:
        is_cancelled.set()
        for child in started:
            await asyncio.shield(in_worker(child.close))
        raise


def _command() -> list[str]:
    """How to start Python, or a frozen program as a child of itself."""
    if getattr(sys, "frozen", False):
        return [sys.executable, FROZEN_FLAG]
    return [_interpreter(), "-P", "-s", "-c", _BOOT]


def _interpreter() -> str:
    """This interpreter, also where Python is embedded in another program."""
    own = Path(sys.executable or "")
    if own.is_file() and "py" in own.name.lower():
        return str(own)
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for folder in (Path(sys.exec_prefix, "bin"), Path(sys.exec_prefix)):
        for name in (version, "python3", "python.exe"):
            if (folder / name).is_file():
                return str(folder / name)
    return str(own)
