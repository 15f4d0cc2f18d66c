"""An asynchronous stream, read by synchronous code. The stream runs ahead of its reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from queue import SimpleQueue
from typing import Any, TypeVar

from agentkit.sync import run_sync

T = TypeVar("T")

_END = object()


def in_step(parts: AsyncGenerator[T, None]) -> Iterator[T]:
    """The parts as they come. Closing the iterator stops the stream; its errors are raised."""
    said: SimpleQueue[Any] = SimpleQueue()

    async def pump() -> None:
        try:
            async with aclosing(parts):
                async for part in parts:
                    said.put(part)
        finally:
            said.put(_END)

    task = run_sync(_started(pump))
    try:
        while (part := said.get()) is not _END:
            yield part
    finally:
        run_sync(_ended(task))


async def _started(work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
    return asyncio.create_task(work())


async def _ended(task: asyncio.Task[None]) -> None:
    """Stop it where it still runs. Raises what it raised."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
