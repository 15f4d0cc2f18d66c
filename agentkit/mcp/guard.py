"""The parent of one MCP server on POSIX: run the command, and end it with all that it started.

Run as `python -I -S guard.py FD COMMAND ...`. FD is a pipe that nobody writes to: when it closes,
because the client said so or because it died, kill -9 included, the server is told to end, and a
moment later it and all its descendants are killed. On Linux orphans stay below this process; on
other systems those that left the server's process group escape. Standard library alone.
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

GRACE = 1.5
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
_NOT_RUN = 127


def main() -> None:
    """Do what the command line says, and exit as the server did."""
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        server = subprocess.Popen(command, start_new_session=True, preexec_fn=_end_with_parent)
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(_NOT_RUN)
    _let_go_of_pipes()
    threading.Thread(target=_watch, args=(lifeline, server.pid), daemon=True).start()
    code = server.wait()
    _kill_all(server.pid)
    os._exit(code if code >= 0 else 128 - code)


def _watch(lifeline: int, server: int) -> None:
    while os.read(lifeline, 1):
        pass
    _signal_group(server, signal.SIGTERM)
    time.sleep(GRACE)
    _kill_all(server)
    os._exit(_NOT_RUN)


def _let_go_of_pipes() -> None:
    """The server's end of a pipe must be the only one, or nobody would see it close."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nothing, stream)


def _end_with_parent() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _kill_all(server: int) -> None:
    """Kill the server's group and whatever else has come to be below this process."""
    _signal_group(server, signal.SIGKILL)
    for _ in range(100):
        found = _descendants()
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not found:
            return
        time.sleep(0.01)


def _signal_group(server: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server, number)


def _descendants() -> set[int]:
    """The processes below this one that still run; none where the system does not tell."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(stat.parent.name)] = int(parent)
    found: set[int] = set()
    wave = {os.getpid()}
    while wave := {pid for pid, parent in parents.items() if parent in wave} - found:
        found |= wave
    return found


if __name__ == "__main__":
    main()
