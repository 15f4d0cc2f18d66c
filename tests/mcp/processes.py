"""Helpers to find the processes of MCP servers."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path


def any_running(state: Path) -> bool:
    """Whether one of the processes noted in a server's state folder still runs."""
    pids = (state / "pids").read_text().split() if (state / "pids").exists() else []
    return any(is_running(int(pid)) for pid in pids)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


async def soon(condition: Callable[[], bool]) -> bool:
    """The same, while the loop goes on."""
    return await asyncio.to_thread(eventually, condition)
