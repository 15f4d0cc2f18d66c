"""What one run has used: tokens, and their cost where a price is known."""

from __future__ import annotations

from agentkit.agent.limits import Limits
from agentkit.messages import Usage


class Bill:
    """Adds up one run: its own requests, those for queries and summaries, and other agents'."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self.usage = Usage()
        self.cost: float | None = None

    @property
    def is_spent(self) -> bool:
        """Whether the limit of tokens or of cost is reached."""
        tokens, cost = self._limits.tokens, self._limits.cost
        over_tokens = tokens is not None and self.usage.total_tokens >= tokens
        return over_tokens or (cost is not None and (self.cost or 0.0) >= cost)

    def charge(self, usage: Usage, *models: str) -> None:
        """One request; its price is that of the first of these names which has one."""
        prices = (self._limits.price(model) for model in models)
        price = next((price for price in prices if price), None)
        self.add(usage, price.of(usage) if price else None)

    def add(self, usage: Usage, cost: float | None) -> None:
        """What something else has used, its cost known already."""
        self.usage += usage
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost
