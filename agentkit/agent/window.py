"""Keep a run's prompt within its model's window, compacting before it is full.

The window is the backend's own word; where nobody knows it, nothing is cut until a server says
that a prompt was too long, and then its size is taken as the window.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from agentkit.agent.bill import Bill
from agentkit.agent.compaction import compacted, plain_summary
from agentkit.agent.prompt import Prompt
from agentkit.agent.prompts import SUMMARISE
from agentkit.backends.base import Model, Options
from agentkit.errors import ModelError
from agentkit.events import Compacted, TextDelta
from agentkit.messages import Message, Usage
from agentkit.tools.tool import Tool

_ANSWER = 0.25
"""The share of the window that is left free for the answer, at most MOST_FOR_ANSWER tokens."""
MOST_FOR_ANSWER = 4096
_AFTER = 0.6
"""How full the window is after a compaction, so that the next one is some turns away."""
_RESULT = 0.5
"""The share of what is free that one tool result may take."""
_LEARNED = 0.8
_SUMMARY_TOKENS = 600


class Window:
    """The room of one run. Summaries are on its bill."""

    def __init__(
        self, model: Model, options: Options = Options(), bill: Bill | None = None
    ) -> None:
        self._model = model
        self._options = options
        self._size: int | None = None
        self._asked = False
        self._bill = bill or Bill()

    @property
    def size(self) -> int | None:
        """The whole window, as far as is known by now."""
        return self._size

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Prompt:
        """A prompt that is measured by the model's tokenizer."""
        described = sum(
            len(tool.description) + len(json.dumps(dict(tool.parameters), default=str))
            for tool in tools
        )
        return Prompt(messages, self._model.count_tokens, overhead=described // 3)

    async def fit(self, prompt: Prompt) -> Compacted | None:
        """Compact the prompt where the answer would not fit beside it. Raises ModelError."""
        room = await self._room()
        if room is None or prompt.at_most <= room:
            return None
        before = prompt.tokens
        if before <= room:
            return None
        return await self._compact(prompt, before, room)

    async def free(self, prompt: Prompt) -> int | None:
        """How many tokens one tool result may have; None where nobody knows the window."""
        room = await self._room()
        if room is None:
            return None
        taken = prompt.at_most if 2 * prompt.at_most <= room else prompt.tokens
        return max(200, int(_RESULT * (room - taken)))

    async def too_long(self, prompt: Prompt) -> Compacted:
        """A server has refused the prompt: the window is smaller than was known."""
        before = prompt.tokens
        self._size = int(_LEARNED * before)
        return await self._compact(prompt, before, self._size)

    async def _compact(self, prompt: Prompt, before: int, room: int) -> Compacted:
        """Sizes are ours here; where the server counts more, the room shrinks in proportion."""
        own = max(1, prompt.counted_messages)
        scale = own / max(own, before)
        count, name = self._model.count_tokens, self._model.name
        try:
            target = int(_AFTER * room * scale)
            messages = await compacted(prompt.messages, target, count, self._summary, name)
        except ModelError:
            messages = await compacted(
                prompt.messages, int(room * scale), count, self._summary, name
            )
        prompt.replace(messages)
        return Compacted(before, prompt.tokens)

    async def _room(self) -> int | None:
        """Tokens that a prompt may have."""
        if not self._asked:
            self._size, self._asked = await self._model.context_window(), True
        if self._size is None:
            return None
        answer = self._options.max_tokens or MOST_FOR_ANSWER
        return self._size - min(answer, int(_ANSWER * self._size))

    async def _summary(self, old: Sequence[Message]) -> str:
        """The model's own summary; the turns' first sentences where it gives none."""
        if not (await self._model.capabilities()).instructions:
            return plain_summary(old)
        told = "\n\n".join(f"{m.role}: {m.text}" for m in old if m.text)
        most = 2 * (self._size or 8192)
        asked = [Message("system", SUMMARISE), Message("user", told[-most:])]
        try:
            said = await self._said(asked)
        except ModelError:
            said = ""
        return said.strip() or plain_summary(old)

    async def _said(self, messages: Sequence[Message]) -> str:
        pieces: list[str] = []
        options = Options(max_tokens=_SUMMARY_TOKENS, temperature=0.0, extra=self._options.extra)
        async for part in self._model.stream(messages, (), options):
            if isinstance(part, TextDelta):
                pieces.append(part.text)
            elif isinstance(part, Usage):
                self._bill.charge(part, self._model.name)
        return "".join(pieces)
