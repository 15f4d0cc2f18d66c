"""Send a request again while nothing of its answer was seen. After the first part it never
repeats."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from email.utils import parsedate_to_datetime

from agentkit.errors import FaultKind, ModelError
from agentkit.events import ModelPart, Retried

LONGEST_WAIT = 60.0
"""Seconds. A server that asks for more is believed, and the request fails at once."""


class PassingError(ModelError):
    """A failure that may pass: a busy server, a lost connection. `wait` is the server's own word
    on how many seconds to wait."""

    def __init__(
        self,
        message: str,
        model: str = "",
        wait: float | None = None,
        kind: FaultKind = "down",
    ) -> None:
        super().__init__(message, model, kind)
        self.wait = wait


async def with_retries(
    attempt: Callable[[], AsyncGenerator[ModelPart, None]], retries: int, first_delay: float = 0.5
) -> AsyncGenerator[ModelPart, None]:
    """The parts of an attempt, made again up to `retries` times if it fails with PassingError
    before its first part. Waits as the server asks, else `first_delay` seconds, doubling."""
    for tried in range(retries + 1):
        started = False
        try:
            async with aclosing(attempt()) as parts:
                async for part in parts:
                    started = True
                    yield part
            return
        except PassingError as error:
            delay = _delay(error.wait, first_delay * 2**tried)
            if started or tried == retries or delay > LONGEST_WAIT:
                raise
            reason = str(error)
        yield Retried(reason, delay)
        await asyncio.sleep(delay)


def _delay(asked: float | None, backoff: float) -> float:
    return asked if asked is not None else backoff * random.uniform(0.8, 1.2)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds that Retry-After asks for, given as a number or as a date."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
