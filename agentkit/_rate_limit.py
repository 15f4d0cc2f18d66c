"""Limit the rate of requests of each client by a token bucket."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_NAMES = 10_000


class RateLimit:
    """At most `per_minute` requests of each name (0: any number), a tenth of them at once. The
    names that were seen last are remembered."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute, self._clock = per_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> int:
        """Count a request. Returns 0 where it is allowed, else the seconds until one is."""
        if not self._per_minute:
            return 0
        now, burst = self._clock(), max(1.0, self._per_minute / 10)
        tokens, then = self._buckets.pop(name, (burst, now))
        tokens = min(burst, tokens + (now - then) * self._per_minute / 60)
        is_allowed = tokens >= 1
        self._buckets[name] = (tokens - 1 if is_allowed else tokens, now)
        if len(self._buckets) > _MOST_NAMES:
            self._buckets.popitem(last=False)
        return 0 if is_allowed else max(1, math.ceil((1 - tokens) * 60 / self._per_minute))
