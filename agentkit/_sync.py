"""The one way from synchronous code into the asynchronous core.

All sync doors share one background loop that lives with the process, so that connection pools and
MCP sessions outlive a call and notebooks, which own a running loop, work too.

Run a synchronous function in a thread, at half the cost of `asyncio.to_thread`.

Threads are kept for the next call. None can be stopped: one whose function hangs is left behind,
and does not keep the program from ending.

Blocking work beside the loop: to its end even when cancelled, and side by side in order.

One client for each event loop, since connections belong to the loop that opened them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, ParamSpec, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end and return its result.

    Raises RuntimeError when called from the background loop itself, which would wait for ever.
    A KeyboardInterrupt cancels the coroutine and waits until it has cleaned up.
    """
    loop = _background_loop()
    if _is_running_here(loop):
        coroutine.close()
        raise RuntimeError("A sync door was called from async code: await the async method.")
    ended = threading.Event()

    async def watched() -> T:
        try:
            return await coroutine
        finally:
            ended.set()

    future = asyncio.run_coroutine_threadsafe(watched(), loop)
    try:
        return future.result()
    except KeyboardInterrupt:
        future.cancel()
        ended.wait(timeout=10)
        raise


def _background_loop() -> asyncio.AbstractEventLoop:
    with _lock:
        if not _loops:
            _loops.append(asyncio.new_event_loop())
            threading.Thread(target=_loops[0].run_forever, name="agentkit", daemon=True).start()
        return _loops[0]


def _is_running_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


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

P = ParamSpec("P")
R = TypeVar("R")


async def in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Like asyncio.to_thread, but a cancelled caller waits for the thread, so that a lock held
    around it is not let go while it still writes."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


async def ahead(items: Iterable[T], work: Callable[[T], R], jobs: int) -> AsyncIterator[R]:
    """The result of each item's work, in the items' order; at most `jobs` are worked on or wait
    to be taken."""
    running: deque[asyncio.Future[R]] = deque()
    try:
        for item in items:
            running.append(asyncio.ensure_future(asyncio.to_thread(work, item)))
            if len(running) > jobs:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class PerLoop(Generic[T]):
    """Makes a client when a loop first asks. Those of closed loops are forgotten."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._clients: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        """The running loop's client."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients = {k: v for k, v in self._clients.items() if not k.is_closed()}
            self._clients[loop] = self._make()
        return self._clients[loop]

    def pop(self) -> T | None:
        """The running loop's client, if it has one; the next `get` makes another."""
        return self._clients.pop(asyncio.get_running_loop(), None)
