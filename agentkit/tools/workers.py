"""Run a synchronous function in a thread, at half the cost of `asyncio.to_thread`.

Threads are kept for the next call. None can be stopped: one whose function hangs is left behind,
and does not keep the program from ending.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any

_Told = tuple[Any, BaseException | None]
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[_Told]", Context, Callable[[], Any]]


async def in_worker(function: Callable[..., Any], **given: Any) -> Any:
    """What the function gives, or raises; it sees the caller's context variables."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Told] = loop.create_future()
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.jobs.put((loop, future, copy_context(), partial(function, **given)))
    found, error = await future
    if error is not None:
        raise error
    return found


class _Worker(Thread):
    def __init__(self) -> None:
        super().__init__(name="agentkit-tool", daemon=True)
        self.jobs: SimpleQueue[_Job] = SimpleQueue()
        self.start()

    def run(self) -> None:
        while True:
            self._work(*self.jobs.get())

    def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[_Told],
        context: Context,
        work: Callable[[], Any],
    ) -> None:
        try:
            told: _Told = (context.run(work), None)
        except BaseException as error:
            told = (None, error)
        _idle.append(self)
        with suppress(RuntimeError):  # The loop may be closed by now.
            loop.call_soon_threadsafe(_tell, future, told)


def _tell(future: asyncio.Future[_Told], told: _Told) -> None:
    if not future.done():
        future.set_result(told)


_idle: deque[_Worker] = deque()
