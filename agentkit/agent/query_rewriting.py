"""Rewrite a follow-up as a standalone question, and expand a question into several queries.

Each is one short request to the model. Where the model follows no instructions or fails, a
follow-up that cannot stand alone is joined with the question that it continues.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from agentkit.agent.limits import UsageMeter
from agentkit.answering.follow_up import standalone_question
from agentkit.backends.base import Model, Options
from agentkit.errors import ModelError
from agentkit.events import TextDelta
from agentkit.messages import Message, Usage

STANDALONE_QUESTION = """\
Rewrite the last question of this conversation so that it can be understood alone: put in what "it",
"that" or "and at 4 bits?" refer to. Keep its language. Give the question only, without an answer.
A question that stands alone already is given back as it is."""

QUERY_VARIANTS = """\
Write {count} other ways to ask this question of a search engine, with other words and from other
sides, one a line and nothing else, in the language of the question."""

HYPOTHETICAL_PASSAGE = """\
Write the short passage of a textbook that would answer this question, two or three sentences, in
the language of the question, and nothing beside it."""

Expansion = Literal["none", "multi", "hyde"]
"""Query expansion: none, several wordings (multi-query), or a hypothetical answer passage (HyDE,
Gao et al. 2022, arXiv:2212.10496)."""

_VARIANTS = 3

INSTRUCTIONS = (STANDALONE_QUESTION, QUERY_VARIANTS.format(count=_VARIANTS), HYPOTHETICAL_PASSAGE)
"""The system messages of the requests that are made here."""

_MAX_MESSAGES = 6
_MAX_CHARACTERS = 1500
_MAX_QUERY = 300


class QueryRewriter:
    """Rewrites queries with one model; its tokens count towards the run."""

    def __init__(self, model: Model, meter: UsageMeter) -> None:
        self._model = model
        self._meter = meter

    async def standalone(self, prompt: str, earlier: Sequence[Message]) -> str:
        """The question rewritten as a standalone question."""
        history = [m for m in earlier if m.role in ("user", "assistant") and m.text][
            -_MAX_MESSAGES:
        ]
        if not history:
            return prompt
        joined = standalone_question(prompt, [m.text for m in earlier if m.role == "user"])
        if not (await self._model.capabilities()).instructions:
            return joined
        lines = [f"{m.role}: {m.text[:_MAX_CHARACTERS]}" for m in history]
        talk = "\n".join([*lines, f"last question: {prompt}"])
        rewritten = await self._complete(STANDALONE_QUESTION, talk)
        return rewritten if 0 < len(rewritten) <= 4 * len(prompt) + _MAX_QUERY else joined

    async def expand(self, query: str, how: Expansion) -> list[str]:
        """The queries to search with, the question itself first."""
        if how == "none" or not (await self._model.capabilities()).instructions:
            return [query]
        if how == "hyde":
            passage = await self._complete(HYPOTHETICAL_PASSAGE, query)
            return [f"{query}\n{passage}".strip()]
        reply = await self._complete(QUERY_VARIANTS.format(count=_VARIANTS), query)
        others = [line.strip(" -*·0123456789.)、") for line in reply.splitlines()]
        return list(dict.fromkeys([query, *(o for o in others if o)]))[: _VARIANTS + 1]

    async def _complete(self, instruction: str, text: str) -> str:
        messages = [Message("system", instruction), Message("user", text)]
        pieces: list[str] = []
        self._meter.count_request()
        try:
            async for part in self._model.stream(messages, (), Options(temperature=0.0)):
                if isinstance(part, TextDelta):
                    pieces.append(part.text)
                elif isinstance(part, Usage):
                    self._meter.charge(part, self._model.name)
        except ModelError:
            return ""
        return "".join(pieces).strip()
