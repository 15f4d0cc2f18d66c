"""Tell open pages that something changed on the server, so that they fetch it again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

_MOST_WAITING = 100


class Changes:
    """Notices for open pages. One that does not read loses the oldest."""

    def __init__(self) -> None:
        self._readers: set[asyncio.Queue[tuple[str, Mapping[str, Any]] | None]] = set()
        self._is_closed = False
        self.relay: Callable[[str, Mapping[str, Any]], None] = lambda kind, data: None
        """Gets each notice too, for the pages of other processes."""

    def publish(self, kind: str, data: Mapping[str, Any] | None = None) -> None:
        """Tell every page that something of a kind ("documents", "sessions", "trust") changed."""
        self.deliver(kind, data or {})
        self.relay(kind, data or {})

    def deliver(self, kind: str, data: Mapping[str, Any]) -> None:
        """Tell the pages of this process."""
        for queue in self._readers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait((kind, data))

    def close(self) -> None:
        """End the streams of notices."""
        self._is_closed = True
        for queue in self._readers:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    async def events(self) -> AsyncGenerator[tuple[str, Mapping[str, Any]], None]:
        """The notices from now on, each with its kind."""
        queue: asyncio.Queue[tuple[str, Mapping[str, Any]] | None] = asyncio.Queue(_MOST_WAITING)
        self._readers.add(queue)
        try:
            while not self._is_closed and (notice := await queue.get()) is not None:
                yield notice
        finally:
            self._readers.discard(queue)
