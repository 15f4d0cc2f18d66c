"""Tools that misbehave, for the tests of isolation. Each must be found by its file."""

import ctypes
import os
import subprocess
import sys
import time
from enum import Enum

from pydantic import BaseModel

from agentkit import Retry, ToolContext, tool
from agentkit.messages import ImagePart


class Unit(Enum):
    GB = "GB"
    MB = "MB"


class Size(BaseModel):
    amount: float
    unit: Unit = Unit.GB


@tool(isolated=True, timeout=100)
def describe(size: Size, times: int = 1) -> Size:
    """Double a size."""
    print("this is no protocol")
    assert isinstance(size, Size)
    return Size(amount=size.amount * 2 * times, unit=size.unit)


@tool(isolated=True, timeout=100)
def subtract(a: int, b: int, /, *, times: int = 1) -> int:
    """Subtract, with arguments by position."""
    return (a - b) * times


@tool(isolated=True, timeout=100)
def picture() -> list[object]:
    """Draw."""
    return ["a dot", ImagePart(b"\x89PNG", "image/png")]


@tool(isolated=True, timeout=100)
def slow_steps(context: ToolContext) -> str:
    """Report progress."""
    context.report("half", 0.5)
    return "whole"


@tool(isolated=True, timeout=100)
async def waits() -> str:
    """An async tool in a process."""
    return "awaited"


@tool(isolated=True, timeout=100)
def fails() -> str:
    """Raise."""
    raise ValueError("by design")


@tool(isolated=True, timeout=20)
def wants_less() -> str:
    """Ask for another try."""
    raise Retry("smaller, please")


@tool(isolated=True, timeout=1.5)
def spins() -> str:
    """Never end."""
    while True:
        pass


@tool(isolated=True, timeout=1.5)
def sleeps() -> str:
    """Sleep."""
    time.sleep(1000)
    return "never"


@tool(isolated=True, timeout=100, memory_mb=1000)
def allocates() -> int:
    """Take 10 GB."""
    return len(bytearray(10_000_000_000))


@tool(isolated=True, timeout=100)
def crashes() -> str:
    """Read address 0."""
    return ctypes.string_at(0).decode()


_BOMB = """
import os, subprocess, sys, time
level, mark = int(sys.argv[1]), sys.argv[2]
os.setsid() if level else None
if level < 2:
    for _ in range(5):
        subprocess.Popen([sys.executable, "-c", sys.argv[3], str(level + 1), mark, sys.argv[3]])
time.sleep(1000)
"""


@tool(isolated=True, timeout=1.5)
def forks(mark: str) -> str:
    """Start processes that start processes, each in a session of its own."""
    subprocess.run([sys.executable, "-c", _BOMB, "0", mark, _BOMB], check=True)
    return "never"


@tool(isolated=True, timeout=100)
def leaves_a_child(mark: str) -> int:
    """End well, and leave a daemon behind."""
    code = f"import os, time; os.setsid(); time.sleep(1000)  # {mark}"
    return subprocess.Popen([sys.executable, "-c", code]).pid


@tool(isolated=True, timeout=100)
def own_process() -> int:
    """The process's number."""
    return os.getpid()
