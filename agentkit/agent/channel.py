"""The channel between a run, which emits events, and the code that iterates over them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Protocol

from agentkit.events import Event


class Emitter(Protocol):
    """Takes the events of a run, on the event loop's own thread."""

    def emit(self, event: Event) -> None:
        """Hand over an event without waiting."""
        ...

    async def send(self, event: Event) -> None:
        """Hand over an event and wait until the reader asks for the next one, so that a model is
        not read faster than its answer."""
        ...


class NoReader:
    """The emitter of a run that nobody iterates over."""

    def emit(self, event: Event) -> None:
        return None

    async def send(self, event: Event) -> None:
        return None


class _Channel:
    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._loop = asyncio.get_running_loop()
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._is_closed = False

    def emit(self, event: Event) -> None:
        self._events.append(event)
        _wake(self._reader)

    async def send(self, event: Event) -> None:
        self.emit(event)
        self._writer = self._loop.create_future()
        await self._writer

    def close(self, _: object = None) -> None:
        """Nothing more will be emitted."""
        self._is_closed = True
        _wake(self._reader)

    async def next(self) -> Event | None:
        """The next event, None at the end."""
        while not self._events:
            if self._is_closed:
                return None
            _wake(self._writer)
            self._reader = self._loop.create_future()
            await self._reader
        return self._events.popleft()


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


async def stream_events(
    run: Callable[[Emitter], Coroutine[Any, Any, object]],
) -> AsyncGenerator[Event[Any], None]:
    """Run a coroutine in a task of its own and yield what it emits. Raises what it raises; closing
    the generator cancels it and waits until it has ended."""
    channel = _Channel()
    task = asyncio.create_task(run(channel))
    task.add_done_callback(channel.close)
    try:
        while (event := await channel.next()) is not None:
            yield event
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it
    await task
