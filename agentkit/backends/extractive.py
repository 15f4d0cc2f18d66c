"""The reader that quotes: a model that needs no server, no key and no weights of its own.

On a user's turn it calls `search_knowledge`; on the tool's turn it answers with the sentences that
best match the question, word for word, each with its marker. It never invents, says that it only
quotes, and refuses when no passage is close enough. It cannot pick a tool for a sum.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from agentkit.backends.base import Model, Options
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.passages import Passage, read_passages
from agentkit.text import is_cjk, sentences, terms
from agentkit.tools.tool import Tool

Similarity = Callable[[str, Sequence[str]], Awaitable[Sequence[float]]]
"""A question and some sentences in, the cosine of each out."""

SEARCH = "search_knowledge"
MOST_QUOTES = 5
MOST_CHARACTERS = 1200
LEAST_RELEVANCE = 0.30
_HEADING = re.compile(r"#{1,6}\s")

_SAYS = {
    True: (
        "以下逐字引自文档，没有推断：",
        "文档里没有找到能回答这个问题的内容。",
        "我只能引用文档，而这里没有可以检索的文档。",
    ),
    False: (
        "Quoted from the documents word for word, nothing inferred:",
        "The documents do not answer this question.",
        "I can only quote documents, and there are none here to search.",
    ),
}


@dataclass(frozen=True, slots=True)
class Quote:
    """A piece of a passage that may be quoted, and how well it matches."""

    passage: Passage
    text: str
    start: int
    score: float = 0.0


class ExtractiveModel(Model):
    """Quotes what a search finds. `similarity` compares a question with sentences across
    languages; without it words alone decide."""

    def __init__(self, similarity: Similarity | None = None) -> None:
        self._similarity = similarity

    @property
    def name(self) -> str:
        return "extractive"

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        question = _question(messages)
        if messages[-1].role == "user" and any(tool.name == SEARCH for tool in tools):
            yield ToolCall(f"search-{len(messages)}", SEARCH, {"query": question})
            yield Done("tool_calls", self.name)
            return
        intro, refusal, no_documents = _SAYS[is_cjk(question)]
        if messages[-1].role == "user":
            answer, is_refusal = no_documents, True
        else:
            quotes = await self._quotes(question, read_passages(messages[-1].text))
            is_refusal = not quotes
            answer = refusal if is_refusal else _written(intro, quotes)
        for piece in re.findall(r"[\s\S]{1,24}", answer):
            yield TextDelta(piece)
        read = sum(self.count_tokens(message.text) for message in messages)
        yield Usage(read, self.count_tokens(answer), estimated=True)
        yield Done("refused" if is_refusal else "stop", self.name)

    async def _quotes(self, question: str, passages: Sequence[Passage]) -> list[Quote]:
        """The best quotes, in the order of the passages; none where nothing is relevant."""
        close = [p for p in passages if p.relevance is None or p.relevance >= LEAST_RELEVANCE]
        units = [unit for passage in close for unit in _units(passage)]
        scored = await self._scored(question, units)
        chosen: list[Quote] = []
        room = MOST_CHARACTERS
        for quote in sorted(scored, key=lambda quote: -quote.score)[:MOST_QUOTES]:
            if len(quote.text) <= room or not chosen:
                chosen.append(quote)
                room -= len(quote.text)
        order = {passage.marker: at for at, passage in enumerate(passages)}
        return sorted(chosen, key=lambda quote: (order[quote.passage.marker], quote.start))

    async def _scored(self, question: str, units: Sequence[Quote]) -> list[Quote]:
        """Quotes with a score: shared words, meaning, and the relevance of their passage."""
        wanted = set(terms(question))
        shares = [len(wanted & set(terms(unit.text))) / max(1, len(wanted)) for unit in units]
        if self._similarity is None:
            cosines: Sequence[float] = [0.0] * len(units)
        else:
            cosines = await self._similarity(question, [unit.text for unit in units])
        return [
            replace(unit, score=cosine + 0.3 * share + 0.5 * (unit.passage.relevance or 0.0))
            for unit, share, cosine in zip(units, shares, cosines, strict=True)
        ]


def _question(messages: Sequence[Message]) -> str:
    return next((m.text for m in reversed(messages) if m.role == "user"), "")


def _units(passage: Passage) -> Iterator[Quote]:
    """What may be quoted of a passage: its sentences, and each table as a whole."""
    table: list[tuple[int, int]] = []
    for start, end in [*sentences(passage.text), (len(passage.text), len(passage.text))]:
        text = passage.text[start:end]
        if text.startswith("|"):
            table.append((start, end))
            continue
        if table:
            whole = passage.text[table[0][0] : table[-1][1]]
            yield Quote(passage, whole, table[0][0])
            table = []
        if text and not _HEADING.match(text):
            yield Quote(passage, text, start)


def _written(intro: str, quotes: Sequence[Quote]) -> str:
    """The answer: an introduction, then each quote with its marker."""
    blocks = [f"{quote.text}{_gap(quote.text)}[{quote.passage.marker}]" for quote in quotes]
    return "\n\n".join([intro, *blocks])


def _gap(text: str) -> str:
    """A table or formula ends before its marker; a sentence has it on its line."""
    return "\n\n" if text.startswith(("|", "$$", "```")) else " "
