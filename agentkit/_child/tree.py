"""End processes with all that they have started. It uses the standard library only, since
`agentkit/mcp/guard.py` loads it without the package."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

_KILL_SECONDS = 0.8
"""Within this time everything that a killed process has started must be gone."""
_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
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
