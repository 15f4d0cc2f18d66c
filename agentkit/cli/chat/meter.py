"""The figures of the status bar: tokens of the window, tokens a second, cost."""

from __future__ import annotations

from dataclasses import dataclass

from agentkit.agent.agent import Agent
from agentkit.agent.compaction import Window
from agentkit.agent.session import Session
from agentkit.backends.base import Model
from agentkit.cli.chat.record import Record
from agentkit.cli.language import translated
from agentkit.errors import AgentkitError

_SHORTEST = 0.05
"""Seconds below which no speed is told."""


@dataclass
class Meter:
    """How things stand after the last answer; 0 and None where nobody knows."""

    tokens: int = 0
    window: int | None = None
    speed: float = 0.0
    cost: float | None = None
    _model: Model | None = None

    async def note(self, record: Record, agent: Agent, session: Session) -> None:
        """Read the figures anew, after a run."""
        count = agent.model.count_tokens
        self.tokens = Window(agent.model).prompt(session.view, agent.tools).tokens
        if record.writing > _SHORTEST:
            self.speed = count(record.written) / record.writing
        if record.answer and record.answer.cost is not None:
            self.cost = (self.cost or 0.0) + record.answer.cost
        if self._model is not agent.model:
            self.window, self._model = await _window(agent.model), agent.model

    def forget(self) -> None:
        """Another conversation begins."""
        self.tokens, self.speed = 0, 0.0

    @property
    def parts(self) -> list[str]:
        """What is known, for people."""
        parts = []
        if self.tokens and self.window:
            told = f"{_short(self.tokens)} of {_short(self.window)} tokens"
            parts.append(translated(told))
        elif self.tokens:
            parts.append(f"{_short(self.tokens)} tokens")
        if self.speed:
            parts.append(f"{self.speed:.0f} tokens/s")
        if self.cost is not None:
            parts.append(translated(f"cost {self.cost:.4f}"))
        return parts


async def _window(model: Model) -> int | None:
    try:
        return await model.context_window()
    except AgentkitError:
        return None


def _short(number: int) -> str:
    return str(number) if number < 10_000 else f"{number / 1000:.0f}k"
