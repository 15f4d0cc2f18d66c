"""Ctrl-C: once stops what runs, twice in a row leaves."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Interrupts:
    """Remembers whether Ctrl-C came last, wherever it was pressed: in mid-answer or at the prompt.
    `is_armed` says that the next one leaves, `has_left` that the user wants to."""

    def __init__(self) -> None:
        self.is_armed = False
        self.has_left = False

    def press(self) -> bool:
        """Note one; whether the user wants to leave."""
        self.has_left = self.has_left or self.is_armed
        self.is_armed = True
        return self.has_left

    def calm(self) -> None:
        """Something else was done."""
        self.is_armed = False

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
