"""What one run may use, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from agentkit.messages import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """What a model asks for a million tokens read and written, in any one currency."""

    input: float
    output: float

    def of(self, usage: Usage) -> float:
        """The cost of these tokens."""
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one run; None is no bound. When one is reached the agent answers from what it
    has, and the answer's stop_reason is "limit".

    `turns` counts requests to the model, `seconds` the whole run, `tokens` read and written,
    `cost` what `prices` (model name or pattern -> price) make of them.
    """

    turns: int = 12
    tool_calls: int = 40
    parallel_calls: int = 8
    seconds: float | None = None
    tokens: int | None = None
    cost: float | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)

    def price(self, model: str) -> Price | None:
        """The price of a model: its own, else that of the first pattern that fits."""
        if model in self.prices:
            return self.prices[model]
        return next((p for name, p in self.prices.items() if fnmatchcase(model, name)), None)
