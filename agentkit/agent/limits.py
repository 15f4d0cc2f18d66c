"""Limits of a run, prices, and the tokens and cost that a run has used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from agentkit.messages import Usage


@dataclass(frozen=True, slots=True)
class Price:
    """The price of a million input and output tokens, in any one currency."""

    input: float
    output: float

    def of(self, usage: Usage) -> float:
        """The cost of these tokens."""
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / 1e6


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one run; None is no limit. When one is reached the agent answers from what it
    has, and the answer's stop_reason is "limit".

    `turns` counts requests to the model, `seconds` the whole run, `tokens` input and output
    together, `cost` the tokens at `prices` (model name or glob -> price).
    """

    turns: int = 12
    tool_calls: int = 40
    parallel_calls: int = 8
    seconds: float | None = None
    tokens: int | None = None
    cost: float | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)

    def price(self, model: str) -> Price | None:
        """The price of a model: its own, else that of the first glob that matches."""
        if model in self.prices:
            return self.prices[model]
        return next((p for name, p in self.prices.items() if fnmatchcase(model, name)), None)


class UsageMeter:
    """Adds up the tokens and cost of a run, with query rewriting, summaries and sub-agents."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self.usage = Usage()
        self.cost: float | None = None

    @property
    def is_exhausted(self) -> bool:
        """Whether the limit of tokens or of cost is reached."""
        tokens, cost = self._limits.tokens, self._limits.cost
        over_tokens = tokens is not None and self.usage.total_tokens >= tokens
        return over_tokens or (cost is not None and (self.cost or 0.0) >= cost)

    def charge(self, usage: Usage, *models: str) -> None:
        """Add one request, at the price of the first of these models that has one."""
        prices = (self._limits.price(model) for model in models)
        price = next((price for price in prices if price), None)
        self.add(usage, price.of(usage) if price else None)

    def add(self, usage: Usage, cost: float | None) -> None:
        """Add usage whose cost is already known."""
        self.usage += usage
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost
