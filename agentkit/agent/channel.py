"""The channel between a run, which emits events, and the code that iterates over them."""

from __future__ import annotations

import asyncio
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
        """Let other tasks run: a model whose parts are all there already never waits."""
        await asyncio.sleep(0)


class _Queue(asyncio.Queue[Event[Any] | None]):
    """Events on their way to a reader, who marks one as done when it asks for the next; None at the
    end."""

    def emit(self, event: Event) -> None:
        self.put_nowait(event)

    async def send(self, event: Event) -> None:
        self.put_nowait(event)
        await self.join()


async def stream_events(
    run: Callable[[Emitter], Coroutine[Any, Any, object]],
) -> AsyncGenerator[Event[Any], None]:
    """Run a coroutine in a task of its own and yield what it emits. Raises what it raises; closing
    the generator cancels it and waits until it has ended."""
    queue = _Queue()
    task = asyncio.create_task(run(queue))
    task.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (event := await queue.get()) is not None:
            yield event
            queue.task_done()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it
    await task
