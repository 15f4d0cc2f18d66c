"""Ctrl-C: once stops what runs, twice within a short while leaves."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_TWICE = 2.0
"""Seconds within which the second one leaves."""


class Interrupts:
    """Remembers the last Ctrl-C, wherever it was pressed: in mid-answer or at the prompt."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = -_TWICE
        self.has_left = False

    @property
    def is_fresh(self) -> bool:
        """Whether the next one leaves."""
        return self._clock() - self._last < _TWICE

    def press(self) -> bool:
        """Note one more; whether the user wants to leave."""
        self.has_left = self.has_left or self.is_fresh
        self._last = self._clock()
        return self.has_left

    @contextmanager
    def cancelling(
        self, task: asyncio.Future[Any], first: Callable[[], object] | None = None
    ) -> Iterator[None]:
        """Let Ctrl-C cancel a task, and nothing else, for as long as it runs. The first one does
        `first` instead, where that is given."""
        loop = asyncio.get_running_loop()

        def pressed() -> None:
            if self.press() or first is None:
                task.cancel()
            else:
                first()

        before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(pressed))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
