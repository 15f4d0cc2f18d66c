"""Parent process of one MCP server on POSIX, which ends it with all its descendants.

Run as `python -I -S guard.py FD COMMAND ...`. FD is a pipe that nobody writes to: when it closes,
because the client ends the server or because the client died, kill -9 included, the server gets
SIGTERM, and a moment later it and its descendants are killed. On Linux orphans stay below this
process; on other systems those that left the server's process group escape. It uses the standard
library only.
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
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
_EXIT_CODE = 127


def main() -> None:
    """Run the command, and exit with its code."""
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        server = subprocess.Popen(command, start_new_session=True, preexec_fn=_end_with_parent)
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
    _signal_group(server, signal.SIGTERM)
    time.sleep(TERM_SECONDS)
    _kill_all(server)
    os._exit(_EXIT_CODE)


def _release_pipes() -> None:
    """Leave the server's end of each pipe as the only one, so that its closing is seen."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(null, stream)


def _end_with_parent() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _kill_all(server: int) -> None:
    """Kill the server's process group and all other descendants of this process."""
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
    """The running processes below this one; empty where there is no /proc."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(stat.parent.name)] = int(parent)
    found: set[int] = set()
    level = {os.getpid()}
    while level := {pid for pid, parent in parents.items() if parent in level} - found:
        found |= level
    return found


if __name__ == "__main__":
    main()
