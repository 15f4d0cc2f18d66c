"""End processes with all that they have started, also when this process dies.

Run as a program, `python -I -S tree.py FD COMMAND ...`, it is the guard of a command that is not
ours, such as an MCP server. FD is a pipe that nobody writes to: when it closes, because the client
ends the command or because the client died, kill -9 included, the command gets SIGTERM, and a
moment later it and its descendants are killed. On Linux orphans stay below the guard; on other
systems those that left the process group escape. It uses the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

TERM_SECONDS = 1.5
_KILL_SECONDS = 0.8
"""Within this time everything that a killed process has started must be gone."""
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
_EXIT_CODE = 127
_STOP = getattr(signal, "SIGSTOP", None)
_KILL = getattr(signal, "SIGKILL", signal.SIGTERM)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends (Linux)."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends (Linux)."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, int(_KILL))


def kill_tree(pid: int) -> None:
    """Kill a process and all that it has started. It is suspended first and killed last, since it
    adopts orphans where the system allows."""
    deadline = time.monotonic() + _KILL_SECONDS
    _signal(pid, _STOP)
    while time.monotonic() < deadline and (found := descendants(pid)):
        for child in found:
            _signal(child, _STOP)
        for child in found | descendants(pid):
            _signal(child, _KILL)
        time.sleep(0.005)
    _signal(pid, _KILL)
    kill_group(pid)


def descendants(root: int) -> set[int]:
    """The running processes below one; empty where the system does not tell."""
    parents = _parents()
    found: set[int] = set()
    level = {root}
    while level := {pid for pid, parent in parents.items() if parent in level} - found:
        found |= level
    return found


def _parents() -> dict[int, int]:
    """Process -> its parent, without zombies."""
    parents: dict[int, int] = {}
    if not Path("/proc/self/stat").exists():
        with suppress(ImportError):
            import psutil

            found = psutil.process_iter(["ppid"])
            return {each.pid: each.info["ppid"] for each in found}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(stat.parent.name)] = int(parent)
    return parents


def _signal(pid: int, number: int | None) -> None:
    if number is not None:
        with suppress(OSError):
            os.kill(pid, number)


def kill_group(pid: int, number: int = _KILL) -> None:
    """Signal the process group of a process that was started in a session of its own."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, number)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def guard(lifeline: int, command: list[str]) -> None:
    """Run a command until it ends or the lifeline closes, and exit with its code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    adopt_orphans()
    try:
        server = subprocess.Popen(command, start_new_session=True, preexec_fn=_prepare_command)
    except OSError as error:
        print(f"Cannot run {command[0]}: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(_EXIT_CODE)
    _release_pipes()
    threading.Thread(target=_watch, args=(lifeline, server.pid), daemon=True).start()
    code = server.wait()
    _kill_all(server.pid)
    os._exit(code if code >= 0 else 128 - code)


def _watch(lifeline: int, server: int) -> None:
    while os.read(lifeline, 1):
        pass
    kill_group(server, signal.SIGTERM)
    time.sleep(TERM_SECONDS)
    _kill_all(server)
    os._exit(_EXIT_CODE)


def _release_pipes() -> None:
    """Leave the server's end of each pipe as the only one, so that its closing is seen."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(null, stream)


def _prepare_command() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    die_with_parent()


def _kill_all(server: int) -> None:
    """Kill the server's process group and all other descendants of this process."""
    kill_group(server)
    for _ in range(100):
        found = descendants(os.getpid())
        for pid in found:
            _signal(pid, _KILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not found:
            return
        time.sleep(0.01)


if __name__ == "__main__":
    guard(int(sys.argv[1]), sys.argv[2:])
