"""The one way to a child process: what may hang, crash, grow or be hostile runs in one, bounded.

`process` starts a child and calls functions in it, `pool` keeps warm ones, `worker` is what runs in
the child, `tree` ends a process with everything it has started.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Failure = Literal["time", "cpu", "memory", "output", "ended", "raised"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one call may take: wall-clock and CPU seconds, memory on top of what the child has
    before, and the size of its result. None is unlimited."""

    seconds: float | None = None
    cpu_seconds: float | None = None
    memory_mb: float | None = None
    result_bytes: int = 32_000_000


class ChildFailed(Exception):
    """Why a call gave no result, in a few words: "killed at 1 GB of memory". After "raised", an
    exception of the function called, the child can be called again."""

    def __init__(self, kind: Failure, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
