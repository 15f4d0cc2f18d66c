"""The one way from synchronous code into the asynchronous core.

All sync doors share one background loop that lives with the process, so that connection pools and
MCP sessions outlive a call and notebooks, which own a running loop, work too.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

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
