"""The end of a run: citations checked, unsupported sentences marked or left out, guards asked, and
the best answer made of what there is where a limit left none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agentkit.agent.hooks import Hooks
from agentkit.answers import Answer
from agentkit.backends.extractive import ExtractiveModel
from agentkit.events import Event, Finished, TextDelta
from agentkit.knowledge.citations import cite
from agentkit.knowledge.search_tool import SEARCH
from agentkit.knowledge.sources import Sources
from agentkit.messages import Message, Usage
from agentkit.text import Similarity

_SHOWN = 2000


class Ending:
    """Finishes one run's answer."""

    def __init__(
        self, sources: Sources, similarity: Similarity | None, hooks: Hooks, strict: bool
    ) -> None:
        self._sources = sources
        self._similarity = similarity
        self._guard = hooks.guard_output
        self._strict = strict

    def holds_back(self, event: Event) -> bool:
        """Whether text is kept until it has been checked: a guard or strict mode may change it."""
        return bool(self._guard or self._strict) and isinstance(event, TextDelta)

    async def finished(self, answer: Answer, spent: Sequence[Usage]) -> Finished:
        """The whole answer."""
        answer = replace(answer, usage=sum(spent, answer.usage))
        if answer.stop_reason == "limit" and not answer.text:
            answer = replace(answer, text=await self._best(answer))
        answer = replace(answer, citations=await cite(answer.text, self._sources, self._similarity))
        if self._guard and (said := await self._guard(answer)):
            answer = replace(answer, text=said, citations=(), stop_reason="refused")
        return Finished(answer)

    async def _best(self, answer: Answer) -> str:
        """What the tools gave: passages quoted, anything else as it is."""
        results = [m for m in answer.messages if m.role == "tool"]
        if question := _searched_for(answer):
            quoting = ExtractiveModel(self._similarity)
            passages = "\n".join(m.text for m in results)
            told = [Message("user", question), Message("tool", passages)]
            pieces = [p.text async for p in quoting.stream(told) if isinstance(p, TextDelta)]
            return "".join(pieces)
        return "\n".join(m.text for m in results)[-_SHOWN:]


def _searched_for(answer: Answer) -> str:
    """What the run first searched the documents for, "" where it did not."""
    for message in answer.messages:
        for call in message.tool_calls:
            if call.name == SEARCH and not isinstance(call.arguments, str):
                return str(call.arguments.get("query", ""))
    return ""
