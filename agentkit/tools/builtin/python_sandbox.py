"""Sandbox for a model's Python code: confine it, bound what all of its processes use, and stop it.

The code sees the interpreter, its libraries and the system's programs, read-only, an empty folder
in memory, and its own processes. It has no network and no socket of another process, and it cannot
signal, trace or see other processes. bubblewrap confines it where that is installed, else
namespaces that `python_entry` makes itself. Where the system permits neither, it runs only if the
user allows it to run unconfined, with what Landlock can forbid. Memory is measured, so that a
process can pass the bound for some milliseconds; buffers of the kernel are not measured.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import IO, Any

from agentkit._child.tree import descendants
from agentkit.errors import ToolError
from agentkit.tools.builtin import python_entry
from agentkit.tools.builtin.python_entry import FILE_BYTES, FOLDER, FOLDER_BYTES, USER

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store")
_CONFIGURATION = ("ld.so.cache", "alternatives", "localtime", "fonts", "mime.types", "services")
_PREFIX_PARTS = ("bin", "lib", "lib64", "pyvenv.cfg")
_DEVICES = tuple(f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom"))
_PROGRAM = ".program/program.py"

_POLL_SECONDS = 0.05
_READY_SECONDS = 20.0
_NOBODY = 65534
_MOST_PROCESSES = 256
_WATCH_PRIORITY = -10
"""So that a fork bomb cannot keep the watch from running, where the system permits it: as root, for
whom the kernel does not limit the number of processes."""
_MOST_FILES = 50_000
_OUTPUT_HEAD = 6000
_OUTPUT_TAIL = 2000
_TRIAL_MB = 100
CONFINE = (
    "Install bubblewrap (Linux), or set tools.python_unconfined = true to run code that can read "
    "the user's files and reach the network."
)
"""The next step where code cannot be confined."""


_IS_ROOT = hasattr(os, "getuid") and os.getuid() == 0
WAYS = ("namespaces", "bubblewrap") if _IS_ROOT else ("bubblewrap", "namespaces")
"""Ways to confine code, the first that the system permits. Only namespaces can run code as nobody
instead of root, whose processes the kernel does not limit in number."""


@dataclass
class Outcome:
    """What the code left. `ending` says why it was stopped, or with which code it ended; `folder`
    is its folder, readable while this exists."""

    output: str
    ending: str
    folder: Path


def run_code(
    code: str, folder: Path, memory_mb: int, unconfined: bool, ways: Sequence[str] = WAYS
) -> tuple[Outcome, str]:
    """Run a program to its end, with an empty folder of the caller's as the place to start from.

    Also returns a warning, which is not empty where the code ran unconfined. Raises ToolError where
    it may not run so."""
    try:
        return _start_confined(code, folder, memory_mb, ways).finish(memory_mb), ""
    except _CannotConfine as error:
        reason = str(error)
    if not unconfined:
        raise ToolError(
            f"run_python is off, since this system cannot confine the code: {reason}. {CONFINE}",
            "run_python",
        )
    run = _start_unconfined(code, folder)
    return run.finish(memory_mb), f"The code runs unconfined: {reason}."


def why_unconfined(ways: Sequence[str] = WAYS) -> str:
    """Say why this system cannot confine code, "" where it can: an empty program is run."""
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            run = _start_confined("", Path(folder), _TRIAL_MB, ways)
            run.wait()
            with run.process:
                for descriptor in run.descriptors:
                    os.close(descriptor)
    except _CannotConfine as error:
        return str(error)
    return ""


class _CannotConfine(Exception):
    """Why a way to confine code is not available."""


def _start_confined(code: str, folder: Path, memory_mb: int, ways: Sequence[str]) -> _Run:
    """Start a program by the first way that the system permits. Raises _CannotConfine."""
    reasons = []
    for way in ways:
        start = _start_bubblewrap if way == "bubblewrap" else _start_namespaces
        try:
            return start(code, folder, memory_mb)
        except _CannotConfine as error:
            reasons.append(str(error))
    raise _CannotConfine("; ".join(reasons) or "nothing that confines it was selected")


def _start_bubblewrap(code: str, folder: Path, memory_mb: int) -> _Run:
    program = shutil.which("bwrap") if sys.platform == "linux" else None
    if program is None:
        raise _CannotConfine("bubblewrap is not installed")
    options = ["--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent"]
    options += ["--new-session", "--uid", str(USER), "--gid", str(USER)]
    options += ["--size", str(FOLDER_BYTES), "--tmpfs", FOLDER]
    plan = _plan(code, folder, memory_mb)
    for path in plan["files"]:
        options += ["--ro-bind", path, path]
    for path in plan["devices"]:
        options += ["--dev-bind", path, path]
    for path, target in plan["links"].items():
        options += ["--symlink", target, path]
    options += ["--proc", "/proc", "--remount-ro", "/proc", "--remount-ro", "/", "--"]
    return _start("bubblewrap", [program, *options], plan)


def _start_namespaces(code: str, folder: Path, memory_mb: int) -> _Run:
    if sys.platform != "linux":
        raise _CannotConfine(f"{sys.platform} has no namespaces")
    plan = _plan(code, folder, memory_mb)
    return _start("namespaces", [], {**plan, "namespaces": True, "host_user": _host_user()})


def _host_user() -> int:
    """The user of the host that the code runs as: nobody instead of root where the interpreter's
    files are readable for all."""
    if not _IS_ROOT:
        return os.getuid()
    needed = [path for path in _interpreter_files() if os.path.exists(path)]
    is_public = all(os.stat(path).st_mode & 0o4 for path in [*needed, os.__file__])
    return _NOBODY if is_public else 0


def _plan(code: str, folder: Path, memory_mb: int) -> dict[str, Any]:
    """Describe to `python_entry` what the code sees and how it is started."""
    links = {path: os.readlink(path) for path in _SYSTEM if os.path.islink(path)}
    system = [path for path in _SYSTEM if os.path.isdir(path) and path not in links]
    system += [f"/etc/{name}" for name in _CONFIGURATION]
    files = list(_without_nested([*system, *_interpreter_files()]))
    links |= {"/dev/fd": "/proc/self/fd", "/dev/shm": FOLDER}
    if not any(path.startswith("/tmp/") for path in files):
        links["/tmp"] = FOLDER
    return {
        "namespaces": False,
        "root": str(folder),
        "files": files,
        "devices": [path for path in _DEVICES if os.path.exists(path)],
        "links": links,
        "program": _PROGRAM,
        "code": code,
        "command": _command(),
        "environment": _environment(FOLDER),
        "memory_bytes": _address_space(memory_mb),
    }


def _interpreter_files() -> Iterator[str]:
    """The folders of this interpreter, also those that its links lead through."""
    prefixes = (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    for prefix in dict.fromkeys([*prefixes, *map(os.path.realpath, prefixes)]):
        yield from (os.path.join(prefix, part) for part in _PREFIX_PARTS)
    path = Path(sys.executable)
    for _ in range(40):
        yield str(path.parent)
        if not path.is_symlink():
            return
        path = Path(os.path.normpath(path.parent / path.readlink()))


def _without_nested(paths: Iterable[str]) -> Iterator[str]:
    """Existing paths, without those below another."""
    kept: list[str] = []
    for path in sorted({path for path in paths if os.path.exists(path)}, key=len):
        if not any(path == above or path.startswith(f"{above}/") for above in kept):
            kept.append(path)
            yield path


def _command() -> list[str]:
    return [sys.executable, "-I", "-B", "-X", "utf8"]


def _environment(folder: str) -> dict[str, str]:
    """Return only what the system needs; one thread, to save memory."""
    system = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
    own = dict.fromkeys(("HOME", "TMPDIR", "TEMP"), folder) | {"USER": "user"}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**system, **own, **threads, "PATH": os.defpath, "LANG": "C.UTF-8", "MPLBACKEND": "Agg"}


def _address_space(memory_mb: int) -> int:
    """Bytes of addresses of one process; libraries reserve more than they use."""
    return int(memory_mb * 1.5e6) + 500_000_000


def _start(name: str, confine: list[str], plan: dict[str, Any]) -> _Run:
    """Start the code by `python_entry`. Raises _CannotConfine with what it reports instead."""
    ours, theirs = socket.socketpair()
    source = Path(python_entry.__file__).read_text(encoding="utf-8")
    entry = [sys.executable, "-I", "-S", "-c", source, str(theirs.fileno())]
    with ours, theirs:
        options = {"env": plan["environment"], "pass_fds": (theirs.fileno(),)}
        process = _open([*confine, *entry], plan["root"], **options)
        theirs.close()
        run = _Run(process, f"{FOLDER}/{_PROGRAM}")
        ours.settimeout(_READY_SECONDS)
        with suppress(OSError):
            ours.sendall(json.dumps(plan).encode())
            ours.shutdown(socket.SHUT_WR)
            ready, run.descriptors, _, _ = socket.recv_fds(ours, 16, 2)
            if ready:
                run.folder = Path(f"/proc/self/fd/{run.descriptors[0]}")
                return run
    process.kill()
    run.wait()
    lines = run.output().splitlines() or ["it could not be started"]
    raise _CannotConfine(f"{name}: {lines[-1]}")


def _start_unconfined(code: str, folder: Path) -> _Run:
    program = folder / _PROGRAM
    program.parent.mkdir()
    program.write_bytes(code.encode())

    def restrict() -> None:
        python_entry.limit()
        python_entry.restrict(str(folder))

    options: dict[str, Any] = {"env": _environment(str(folder))}
    if os.name == "posix":
        options["preexec_fn"] = restrict
    run = _Run(_open([*_command(), str(program)], str(folder), **options), str(program))
    run.folder = folder
    return run


def _open(command: list[str], folder: str, **options: Any) -> subprocess.Popen[bytes]:
    null, pipe = subprocess.DEVNULL, subprocess.PIPE
    return subprocess.Popen(
        command, cwd=folder, stdin=null, stdout=pipe, stderr=subprocess.STDOUT, **options
    )


@dataclass
class _Run:
    """A program that runs, with the beginning and the end of its output."""

    process: subprocess.Popen[bytes]
    program: str
    folder: Path = Path()
    descriptors: list[int] = field(default_factory=list)
    """The code's folder and the table of its shared memory segments, where it is confined."""

    def __post_init__(self) -> None:
        self._head = self._tail = b""
        self._size = 0
        assert self.process.stdout is not None
        self._reader = Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._reader.start()

    def _read(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while piece := os.read(stream.fileno(), 65536):
                self._size += len(piece)
                room = max(0, _OUTPUT_HEAD - len(self._head))
                self._head += piece[:room]
                self._tail = (self._tail + piece[room:])[-_OUTPUT_TAIL:]

    def wait(self) -> int:
        code = self.process.wait()
        self._reader.join(1)
        return code

    def output(self) -> str:
        omitted = self._size - len(self._head) - len(self._tail)
        parts = [self._head + (b"" if omitted else self._tail)]
        parts += [f"\n[... {omitted} bytes omitted ...]\n".encode(), self._tail] if omitted else []
        text = "".join(part.decode("utf-8", "replace") for part in parts)
        return text.replace(self.program, "program.py").strip()

    def finish(self, memory_mb: int) -> Outcome:
        """Wait for the end; stops the code where all of its processes together pass a bound."""
        stopped = ""
        with suppress(AttributeError, OSError):
            os.setpriority(os.PRIO_PROCESS, 0, _WATCH_PRIORITY)
        while self.process.poll() is None and not stopped:
            time.sleep(_POLL_SECONDS)
            stopped = self._passed_bound(memory_mb)
        if stopped:
            self.process.kill()
        code = self.wait()
        ending = f"[stopped: {stopped}]" if stopped else f"[ended with code {code}]" if code else ""
        return Outcome(self.output(), ending, self.folder)

    def _passed_bound(self, memory_mb: int) -> str:
        if self._size > FILE_BYTES:
            return f"more than {FILE_BYTES // 1_000_000} MB of output"
        processes = descendants(os.getpid())
        if len(processes) > _MOST_PROCESSES:
            return f"more than {_MOST_PROCESSES} processes"
        if self.descriptors:
            system = os.fstatvfs(self.descriptors[0])
            if system.f_files - system.f_ffree > _MOST_FILES:
                return f"more than {_MOST_FILES} files"
        most = memory_mb * 1_000_000
        unmapped = _memory_files(processes) + _detached_segments(self.descriptors[1:])
        if unmapped + _resident(processes) <= most:
            return ""
        used = unmapped + sum(map(_proportional, processes))
        return f"more than {memory_mb} MB of memory in all of its processes" if used > most else ""


def _resident(processes: Iterable[int]) -> int:
    """Bytes in memory; pages that processes share count for each of them."""
    pages = 0
    for pid in processes:
        with suppress(OSError, ValueError, IndexError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * (os.sysconf("SC_PAGE_SIZE") if pages else 0)


def _proportional(pid: int) -> int:
    """Bytes in memory of one process, shared pages divided by the number of processes."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return _resident([pid])


def _memory_files(processes: Iterable[int]) -> int:
    """Bytes of files without a name that exist in memory only (memfd_create)."""
    sizes: dict[int, int] = {}
    for pid in processes:
        with suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(entry.path).startswith("/memfd:"):
                        found = entry.stat()
                        sizes[found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())


def _detached_segments(table: Iterable[int]) -> int:
    """Bytes of System V shared memory that no process has mapped."""
    total = 0
    for descriptor in table:
        with suppress(OSError, ValueError):
            header, *lines = os.pread(descriptor, 1_000_000, 0).decode().splitlines()
            names = header.split()
            rows = (dict(zip(names, line.split(), strict=False)) for line in lines)
            total += sum(int(row["rss"]) for row in rows if row["nattch"] == "0")
    return total
