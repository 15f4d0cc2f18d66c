"""Retry a request that failed before the first part of its answer; never later."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from agentkit.errors import FaultKind, ModelError
from agentkit.events import ModelPart, Retried

MAX_DELAY = 60.0
"""Seconds. Where a server asks for more, the request fails at once."""


class TransientError(ModelError):
    """A failure that may pass: a busy server, a lost connection. The message becomes one line;
    `retry_after` is the delay in seconds that the server asks for."""

    def __init__(
        self,
        message: str,
        model: str = "",
        retry_after: float | None = None,
        kind: FaultKind = "down",
    ) -> None:
        super().__init__(" ".join(message.split())[:600], model, kind)
        self.retry_after = retry_after


async def with_retries(
    attempt: Callable[[], AsyncGenerator[ModelPart, None]], retries: int, first_delay: float = 0.5
) -> AsyncGenerator[ModelPart, None]:
    """Yield the parts of an attempt, repeated up to `retries` times while it fails with
    TransientError before its first part. Waits as long as the server asks, else `first_delay`
    seconds, doubled each time."""
    for number in range(retries + 1):
        started = False
        try:
            async with aclosing(attempt()) as parts:
                async for part in parts:
                    started = True
                    yield part
            return
        except TransientError as error:
            delay = error.retry_after
            if delay is None:
                delay = first_delay * 2**number * random.uniform(0.8, 1.2)
            if started or number == retries or delay > MAX_DELAY:
                raise
            reason = str(error)
        yield Retried(reason, delay)
        await asyncio.sleep(delay)
