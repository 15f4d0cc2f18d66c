"""Keep warm children for many small calls; one that fails or has grown is replaced."""

from __future__ import annotations

from collections.abc import Mapping
from threading import BoundedSemaphore, Lock
from typing import Any

from agentkit._child import Bounds, ChildFailed
from agentkit._child.process import Child
from agentkit._sync import Closeable

_MOST_CALLS = 500
_MOST_GROWTH = 200_000_000
"""Bytes that a child may hold between calls beyond what it held after its first."""


class Pool(Closeable):
    """At most `size` children, started when they are needed. Its methods may be called from any
    thread; a call waits for a free child. Closing it ends the calls that are running."""

    def __init__(self, size: int) -> None:
        self._free = BoundedSemaphore(size)
        self._lock = Lock()
        self._idle: list[Child] = []
        self._all: dict[Child, int] = {}
        """Each child, and its memory after its first call."""
        self._is_closed = False

    def call(
        self, target: str, arguments: Mapping[str, Any], content: bytes, bounds: Bounds
    ) -> Any:
        """Call a function in a child, as `Child.call`. Raises ChildFailed, OSError."""
        with self._free:
            child = self._take()
            try:
                result = child.call(target, arguments, content, bounds=bounds)
            except BaseException:
                self._drop(child)
                raise
            self._give_back(child)
            return result

    def _take(self) -> Child:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            if self._is_closed:
                raise ChildFailed("ended", "the work was stopped")
            child = Child()
            self._all[child] = 0
            return child

    def _give_back(self, child: Child) -> None:
        held = child.memory_bytes
        first = self._all.get(child, 0) or held
        if child.calls >= _MOST_CALLS or held - first > _MOST_GROWTH:
            self._drop(child)
        else:
            with self._lock:
                self._all[child] = first
                self._idle.append(child)

    def _drop(self, child: Child) -> None:
        with self._lock:
            self._all.pop(child, None)
        child.close()

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            children, self._all, self._idle = list(self._all), {}, []
        for child in children:
            child.close()
