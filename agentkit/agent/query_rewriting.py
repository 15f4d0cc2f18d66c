"""What to search for: a question made to stand alone, and other ways of asking it.

Each is one short request to the model. Where the model follows no instructions or fails, the
question itself is searched for, with the one before it where it leans on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from agentkit.agent.limits import Bill
from agentkit.agent.prompts import HYPOTHETICAL, STAND_ALONE, VARIANTS
from agentkit.backends.base import Model, Options
from agentkit.errors import ModelError
from agentkit.events import TextDelta
from agentkit.messages import Message, Usage

Expansion = Literal["none", "multi", "hyde"]
"""How a question is searched for: as it is, in several ways (multi-query), or together with a
passage that might answer it (HyDE, Gao et al. 2022, arXiv:2212.10496)."""

_VARIANTS = 3
_TURNS = 6
_SHOWN = 1500
_MOST = 300


class Queries:
    """Makes queries with one model, on a run's bill."""

    def __init__(self, model: Model, bill: Bill) -> None:
        self._model = model
        self._bill = bill

    async def standing_alone(self, prompt: str, earlier: Sequence[Message]) -> str:
        """The question as somebody would ask it who had not heard the conversation."""
        told = [m for m in earlier if m.role in ("user", "assistant") and m.text][-_TURNS:]
        if not told:
            return prompt
        if not (await self._model.capabilities()).instructions:
            return _joined(prompt, told)
        lines = [f"{m.role}: {m.text[:_SHOWN]}" for m in told]
        talk = "\n".join([*lines, f"last question: {prompt}"])
        said = await self._said(STAND_ALONE, talk)
        return said if 0 < len(said) <= 4 * len(prompt) + _MOST else _joined(prompt, told)

    async def expanded(self, query: str, how: Expansion) -> list[str]:
        """The queries to search with, the question itself first."""
        if how == "none" or not (await self._model.capabilities()).instructions:
            return [query]
        if how == "hyde":
            passage = await self._said(HYPOTHETICAL, query)
            return [f"{query}\n{passage}".strip()]
        said = await self._said(VARIANTS.format(count=_VARIANTS), query)
        others = [line.strip(" -*·0123456789.)、") for line in said.splitlines()]
        return list(dict.fromkeys([query, *(o for o in others if o)]))[: _VARIANTS + 1]

    async def _said(self, instruction: str, text: str) -> str:
        messages = [Message("system", instruction), Message("user", text)]
        pieces: list[str] = []
        try:
            async for part in self._model.stream(messages, (), Options(temperature=0.0)):
                if isinstance(part, TextDelta):
                    pieces.append(part.text)
                elif isinstance(part, Usage):
                    self._bill.charge(part, self._model.name)
        except ModelError:
            return ""
        return "".join(pieces).strip()


def _joined(prompt: str, told: Sequence[Message]) -> str:
    """The last question and this one, for a search that takes both."""
    asked = [m.text for m in told if m.role == "user"]
    return f"{asked[-1][:_MOST]}\n{prompt}" if asked else prompt
