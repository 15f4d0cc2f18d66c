"""Bridges between synchronous code, threads and event loops.

`run_sync` and `iterate_sync` lead from synchronous code into the asynchronous core. They share one
background loop that lives as long as the process, so that connection pools and MCP sessions outlive
a call, and notebooks, which have a running loop, work too. `in_worker`, `in_thread` and
`map_ordered` run blocking work beside the loop, `in_background` coroutines beside a block.
`PerLoop` keeps one client per loop, since connections belong to the loop that opened them.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterable, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from contextvars import Context, copy_context
from functools import partial, wraps
from queue import SimpleQueue
from threading import Thread
from typing import Any, Generic, ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_lock = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []
_END = object()


def run_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end and return its result.

    A KeyboardInterrupt cancels the coroutine and waits for its cleanup. Raises RuntimeError when
    called from the background loop itself, which would deadlock.
    """
    loop = _background_loop()
    if _is_running_here(loop):
        coroutine.close()
        raise RuntimeError("A synchronous wrapper was called from async code. Await the method.")
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


def synchronous(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The synchronous form of an asynchronous method, for a class body: `search_sync =
    synchronous(search)`. It takes the same arguments."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return run_sync(method(*args, **kwargs))

    call.__doc__ = f"`{method.__name__}`, for synchronous code."
    return call


class Closeable:
    """A context manager, synchronous and asynchronous, that calls `close` at its end."""

    def close(self) -> None:
        """Release what is held. Closing again has no effect."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


def iterate_sync(items: AsyncGenerator[T, None]) -> Iterator[T]:
    """Iterate over an asynchronous generator, which runs ahead of its reader. Closing the iterator
    stops it, and its errors are raised."""
    queue: SimpleQueue[Any] = SimpleQueue()

    async def pump() -> None:
        try:
            async with aclosing(items):
                async for item in items:
                    queue.put(item)
        finally:
            queue.put(_END)

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(pump())

    async def stop(task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    task = run_sync(start())
    try:
        while (item := queue.get()) is not _END:
            yield item
    finally:
        run_sync(stop(task))


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


_Result = tuple[Any, BaseException | None]
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[_Result]", Context, Callable[[], Any]]


async def in_worker(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call a function in a daemon thread, with the caller's context variables, at half the cost of
    `asyncio.to_thread`. A function that hangs does not keep the program from exiting."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_Result] = loop.create_future()
    try:
        worker = _idle.pop()
    except IndexError:
        worker = _Worker()
    worker.jobs.put((loop, future, copy_context(), partial(function, **arguments)))
    value, error = await future
    if error is not None:
        raise error
    return value


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
        future: asyncio.Future[_Result],
        context: Context,
        function: Callable[[], Any],
    ) -> None:
        try:
            result: _Result = (context.run(function), None)
        except BaseException as error:
            result = (None, error)
        _idle.append(self)
        with suppress(RuntimeError):  # The loop may be closed by now.
            loop.call_soon_threadsafe(_set_result, future, result)


def _set_result(future: asyncio.Future[_Result], result: _Result) -> None:
    if not future.done():
        future.set_result(result)


_idle: deque[_Worker] = deque()


async def in_thread(work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Like asyncio.to_thread, but a cancelled caller waits for the thread, so that a lock held
    around it is not released while it still writes."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


@asynccontextmanager
async def in_background(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines while the block runs, then cancel them and wait for their cleanup."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def map_ordered(items: Iterable[T], work: Callable[[T], R], jobs: int) -> AsyncIterator[R]:
    """Apply blocking work to items in threads and yield the results in order; at most `jobs` run
    or wait to be yielded."""
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
    """Creates a client per event loop at first use, and drops those of closed loops."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._clients: dict[asyncio.AbstractEventLoop, T] = {}

    def get(self) -> T:
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self._clients = {k: v for k, v in self._clients.items() if not k.is_closed()}
            self._clients[loop] = self._make()
        return self._clients[loop]

    def pop(self) -> T | None:
        """Remove and return the client of the running loop, if any."""
        return self._clients.pop(asyncio.get_running_loop(), None)
