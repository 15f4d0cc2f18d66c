"""The reader that quotes: a model that needs no server, no key and no weights of its own.

On a user's turn it calls `search_knowledge`; on the tool's turn it answers with the sentences that
best match the question, word for word, each with its marker. It never invents, says that it only
quotes, and refuses when nothing it found speaks of what was asked. It cannot pick a tool for a
sum.

What may be quoted from a passage, and whether what was found speaks of the question at all.

Nearness alone cannot tell a question that the documents answer from one about the same subject
that they do not: so the names in the question must stand together in one passage, too.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from agentkit.backends.base import Capabilities, Model, Options
from agentkit.documents import Passage
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.text.terms import Similarity, fold, is_cjk, names, sentences, terms
from agentkit.tools.tool import Tool

_HEADING = re.compile(r"#{1,6}\s")
_MARKS = re.compile(r"(?:(?:\d+[.)]|[-*+>])[ \t]+)+")
_LEAST_SHARE = 0.25

LEAST_NEARNESS = {
    (True, True): 0.878,
    (False, False): 0.84,
    (True, False): 0.74,
    (False, True): 0.74,
}
"""Least cosine, with a little for shared words, by whether question and passage are CJK. On 150
questions each of CMRC 2018 and XQuAD English they refuse 1 % and 6 % of those whose paragraph is
there, and 67 % and 58 % of those whose paragraph was taken away."""

SHARED_WORDS = 0.05

_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n.*?^---[ \t]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Quote:
    """A piece of a passage that may be quoted, and how well it matches the question."""

    passage: Passage
    text: str
    start: int
    cosine: float = 0.0
    share: float = 0.0
    prior: float = 0.0
    score: float = 0.0

    @property
    def in_context(self) -> str:
        """The piece under its heading: what is compared with a question."""
        return f"{self.passage.chunk.heading.split(' > ')[-1]}\n{self.text}"


def quotable(passage: Passage) -> Iterator[Quote]:
    """The sentences of a passage, without list marks, headings and front matter, and each table as
    a whole."""
    whole = passage.chunk.text
    front = _FRONT_MATTER.match(whole)
    begin = front.end() if front else 0
    table: list[tuple[int, int]] = []
    for start, end in [*sentences(whole), (len(whole), len(whole))]:
        text = whole[start:end]
        if start < begin:
            continue
        if text.startswith("|"):
            table.append((start, end))
            continue
        if table:
            yield Quote(passage, whole[table[0][0] : table[-1][1]], table[0][0])
            table = []
        mark = _MARKS.match(text)
        bare = text[mark.end() :] if mark else text
        if any(map(str.isalnum, bare)) and not _HEADING.match(bare):
            yield Quote(passage, bare, end - len(bare))


def is_evidence(
    question: str, passages: Sequence[Passage], quotes: Sequence[Quote], has_cosines: bool
) -> bool:
    """Whether the passages found, and the likeliest pieces of them, speak of what is asked."""
    if not quotes:
        return False
    across = is_cjk(question) != is_cjk("".join(passage.chunk.text for passage in passages))
    wanted = {_squeezed(name) for name in names(question, across)}
    if not _stand_together(wanted, passages):
        return False
    if not has_cosines:
        return max(quote.share for quote in quotes) >= _LEAST_SHARE
    asked = is_cjk(question)
    return any(
        quote.cosine + SHARED_WORDS * quote.share
        >= LEAST_NEARNESS[asked, is_cjk(quote.passage.chunk.text)]
        for quote in quotes
    )


def _stand_together(wanted: set[str], passages: Sequence[Passage]) -> bool:
    if not wanted:
        return True
    texts = [_squeezed(f"{p.chunk.source} {p.chunk.heading} {p.chunk.text}") for p in passages]
    return any(all(name in text for name in wanted) for text in texts)


def _squeezed(text: str) -> str:
    """Letters and digits alone, so that d_{model} and d_model are one."""
    return "".join(c for c in fold(text) if c.isalnum())


SEARCH = "search_knowledge"
MOST_QUOTES = 6
MOST_CHARACTERS = 1500
MOST_COMPARED = 16
"""Pieces whose meaning is compared with the question's, at some 30 ms each. On the golden questions
16 give as many facts and refusals as all of them do; 12 give fewer."""

MARGIN = 0.05
"""How far below the best quote another may score and still be given."""

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
        last = next((at for at in range(len(messages) - 1, -1, -1) if _is_prompt(messages[at])), 0)
        question = messages[last].text if messages else ""
        is_prompt = last == len(messages) - 1
        if is_prompt and any(tool.name == SEARCH for tool in tools):
            yield ToolCall(f"search-{len(messages)}", SEARCH, {"query": question})
            yield Done("tool_calls", self.name)
            return
        passages = _distinct(p for message in messages[last:] for p in message.passages)
        answer, is_refusal = await self.quote(question, passages)
        if is_prompt and not passages:
            answer = _SAYS[is_cjk(question)][2]
        for piece in re.findall(r"[\s\S]{1,24}", answer):
            yield TextDelta(piece)
        read = sum(self.count_tokens(message.prompt_text) for message in messages)
        yield Usage(read, self.count_tokens(answer), estimated=True)
        yield Done("refused" if is_refusal else "stop", self.name)

    async def quote(self, question: str, passages: Sequence[Passage]) -> tuple[str, bool]:
        """The answer that quotes the passages, and whether it is a refusal."""
        intro, refusal, _ = _SAYS[is_cjk(question)]
        quotes = await self._quotes(question, passages)
        return (_written(intro, quotes), False) if quotes else (refusal, True)

    async def capabilities(self) -> Capabilities:
        return Capabilities(tools=True, instructions=False)

    async def _quotes(self, question: str, passages: Sequence[Passage]) -> list[Quote]:
        """The best quotes, the best passage first; none where nothing is evidence."""
        units = _likeliest(question, [u for passage in passages for u in quotable(passage)])
        scored = await self._scored(question, units)
        if not is_evidence(question, passages, scored, has_cosines=self._similarity is not None):
            return []
        ranked = sorted(scored, key=lambda quote: -quote.score)
        near = [quote for quote in ranked if quote.score >= ranked[0].score - MARGIN]
        chosen: list[Quote] = []
        room = MOST_CHARACTERS
        for quote in near[:MOST_QUOTES]:
            if len(quote.text) <= room or not chosen:
                chosen.append(quote)
                room -= len(quote.text)
        order = list(dict.fromkeys(quote.passage.marker for quote in chosen))
        return sorted(chosen, key=lambda quote: (order.index(quote.passage.marker), quote.start))

    async def _scored(self, question: str, units: Sequence[Quote]) -> list[Quote]:
        """Quotes with their scores: meaning, shared words, and the relevance of the passage."""
        if self._similarity is None:
            return [replace(unit, score=unit.prior) for unit in units]
        cosines = await self._similarity(question, [unit.in_context for unit in units])
        return [
            replace(unit, cosine=cosine, score=cosine + unit.prior)
            for unit, cosine in zip(units, cosines, strict=True)
        ]


def _is_prompt(message: Message) -> bool:
    return message.role == "user"


def _distinct(passages: Iterable[Passage]) -> list[Passage]:
    """The passages, each marker once."""
    return list({passage.marker: passage for passage in passages}.values())


def _likeliest(question: str, units: Sequence[Quote]) -> list[Quote]:
    """The pieces, in their order, with what speaks for each before its meaning is known: shared
    words and the passage's relevance. Of many those for which the most does."""
    wanted = set(terms(question))
    best = max((unit.passage.relevance or 0.0 for unit in units), default=0.0) or 1.0
    known = [_with_prior(unit, wanted, best) for unit in units]
    ranked = sorted(range(len(known)), key=lambda at: -known[at].prior)
    return [known[at] for at in sorted(ranked[:MOST_COMPARED])]


def _with_prior(unit: Quote, wanted: set[str], best: float) -> Quote:
    """A passage that the user attached has no relevance: it counts as much as the best."""
    share = len(wanted & set(terms(unit.text))) / max(1, len(wanted))
    given = unit.passage.relevance
    relevance = 1.0 if given is None else given / best
    return replace(unit, share=share, prior=0.1 * share + 0.15 * relevance)


def _written(intro: str, quotes: Sequence[Quote]) -> str:
    """The answer: an introduction, then each quote with its marker."""
    blocks = [f"{quote.text}{_gap(quote.text)}[{quote.passage.marker}]" for quote in quotes]
    return "\n\n".join([intro, *blocks])


def _gap(text: str) -> str:
    """A table or formula ends before its marker; a sentence has it on its line."""
    return "\n\n" if text.startswith(("|", "$$", "```")) else " "
