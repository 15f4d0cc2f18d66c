"""Bound the answers that run at once, the queue before them, and the rate of each identity."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from agentkit._rate_limit import RateLimit
from agentkit.server.errors import ApiError


class Admission:
    """Admits runs: `running` at once, `queued` that wait up to `seconds` for one of those to end,
    and of each identity `per_minute` (0: any number), a tenth of which may come at once."""

    def __init__(
        self,
        running: int,
        queued: int,
        seconds: float,
        per_minute: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit, self._queue_limit, self._seconds = running, queued, seconds
        self._per_minute, self._rate = per_minute, RateLimit(per_minute, clock)
        self._slots = asyncio.Semaphore(running)
        self.running = self.queued = 0
        self.on_change: Callable[[], None] = lambda: None
        self.is_closed = False
        self.idle = asyncio.Event()
        self.idle.set()

    @asynccontextmanager
    async def slot(self, name: str) -> AsyncIterator[None]:
        """Hold one place for a run of an identity. Raises ApiError with 429 or 503, both with
        Retry-After."""
        if self.is_closed:
            raise self._busy("The server is stopping.", "stopping")
        self._take_token(name)
        if self._slots.locked() and self.queued >= self._queue_limit:
            raise self._busy("The server is busy and its queue is full.")
        self._count(queued=1)
        try:
            async with asyncio.timeout(self._seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise self._busy("The server was busy for too long.") from None
        finally:
            self._count(queued=-1)
        self._count(running=1)
        self.idle.clear()
        try:
            yield
        finally:
            self._count(running=-1)
            if not self.running:
                self.idle.set()
            self._slots.release()

    def _count(self, running: int = 0, queued: int = 0) -> None:
        self.running += running
        self.queued += queued
        self.on_change()

    def _busy(self, reason: str, code: str = "overloaded") -> ApiError:
        seconds = max(1, math.ceil(self._seconds / 2))
        message = f"{reason} Try again in {seconds} seconds."
        return ApiError(503, message, code, headers={"retry-after": str(seconds)})

    def _take_token(self, name: str) -> None:
        """Count a request against the rate of an identity. Raises ApiError."""
        if wait := self._rate.take(name):
            raise ApiError(
                429,
                f"More than {self._per_minute} requests a minute. Try again in {wait} seconds.",
                "rate_limit_exceeded",
                headers={"retry-after": str(wait)},
            )
