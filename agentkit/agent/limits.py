"""What one run may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run; None is no bound. When one is reached the agent answers from what it
    has, and the answer's stop_reason is "limit".

    `turns` counts requests to the model, `seconds` the whole run, `tokens` read and written.
    """

    turns: int = 12
    tool_calls: int = 40
    parallel_calls: int = 8
    seconds: float | None = None
    tokens: int | None = None
