"""Limits of a run, prices, and what a run has used of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from agentkit.errors import ConfigError
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
    has, and the answer's stop_reason is "limit". They count the whole run: answers that were
    rejected and asked for again, and what it did before it was paused, but not its waiting time.

    `turns` counts requests to the model, `seconds` the running time, `tokens` input and output
    together, `cost` the tokens at `prices` (model name or glob -> price). Raises ConfigError.
    """

    turns: int = 12
    tool_calls: int = 40
    parallel_calls: int = 8
    seconds: float | None = None
    tokens: int | None = None
    cost: float | None = None
    prices: Mapping[str, Price] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("turns", "tool_calls", "parallel_calls", "seconds", "tokens", "cost"):
            value = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if value is not None and not (is_number and value >= 0):
                raise ConfigError(f"Limits({name}={value!r}): give a number of at least 0.")

    def price(self, model: str) -> Price | None:
        """The price of a model: its own, else that of the first glob that matches."""
        if model in self.prices:
            return self.prices[model]
        return next((p for name, p in self.prices.items() if fnmatchcase(model, name)), None)

    def named(self, name: str) -> str:
        """A limit as messages name it: "limit of 2 turns (Limits(turns=2))"."""
        value = getattr(self, name)
        unit = name.replace("_", " ")
        unit = unit[:-1] if value == 1 and unit.endswith("s") else unit
        amount = f"cost limit of {value:g}" if name == "cost" else f"limit of {value:g} {unit}"
        return f"{amount} (Limits({name}={value!r}))"


@dataclass(frozen=True, slots=True)
class Spent:
    """What a run has used: tokens and cost with query rewriting, summaries and sub-agents, and its
    own turns, tool calls and seconds."""

    usage: Usage = Usage()
    cost: float | None = None
    turns: int = 0
    tool_calls: int = 0
    seconds: float = 0.0


class UsageMeter:
    """Adds up what a run uses and compares it with the limits. `spent` is what the run had used
    before it was paused. `turns` and `tool_calls` count towards the limits of these names,
    `requests_made` and `calls_run` are reported as used."""

    def __init__(self, limits: Limits = Limits(), spent: Spent = Spent()) -> None:
        self._limits = limits
        self._tokens, self.cost = spent.usage, spent.cost
        self.requests_made = self.calls_run = 0
        self.turns, self.tool_calls = spent.turns, spent.tool_calls
        self._seconds_before = spent.seconds
        self._started: float | None = None

    def start(self) -> float | None:
        """Start the run's time limit; returns its deadline on the event loop's clock."""
        if self._started is None:
            self._started = asyncio.get_running_loop().time()
        seconds = self._limits.seconds
        return None if seconds is None else self._started + seconds - self._seconds_before

    @property
    def usage(self) -> Usage:
        """The tokens, requests and tool calls so far."""
        return self._tokens + Usage(requests=self.requests_made, tool_calls=self.calls_run)

    @property
    def spent(self) -> Spent:
        """What the run has used so far."""
        seconds = self._seconds_before
        if self._started is not None:
            seconds += asyncio.get_running_loop().time() - self._started
        return Spent(self.usage, self.cost, self.turns, self.tool_calls, seconds)

    @property
    def exhausted(self) -> str:
        """The name of the limit that allows no further request, "" if none does."""
        limits = self._limits
        if self.turns >= limits.turns:
            return "turns"
        if limits.tokens is not None and self._tokens.total_tokens >= limits.tokens:
            return "tokens"
        return "cost" if limits.cost is not None and (self.cost or 0.0) >= limits.cost else ""

    @property
    def last_request(self) -> str:
        """The name of the limit that makes the next request the last one, without tools; "" if
        none does."""
        if self.turns + 1 >= self._limits.turns:
            return "turns"
        return "tool_calls" if self.tool_calls >= self._limits.tool_calls else ""

    def take_calls(self, wanted: int) -> int:
        """Count the tool calls of a turn; returns how many of them may run."""
        allowed = max(0, min(wanted, self._limits.tool_calls - self.tool_calls))
        self.tool_calls += allowed
        return allowed

    def charge(self, usage: Usage, *models: str) -> None:
        """Add the tokens of a request, at the price of the first of these models that has one."""
        price = None
        if self._limits.prices:
            prices = (self._limits.price(model) for model in models)
            price = next((price for price in prices if price), None)
        self.add(usage, price.of(usage) if price else None)

    def add(self, usage: Usage, cost: float | None) -> None:
        """Add usage whose cost is already known."""
        self._tokens += usage
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost
