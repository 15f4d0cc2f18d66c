"""Extractive answerer: a model that answers with quotes alone, without a server or weights.

On a user's turn it calls `search_knowledge`; then it answers with the sentences that best match the
question, verbatim, each with its marker. It refuses where the passages found do not answer the
question. It calls no other tool.

Similarity alone cannot tell a question that the documents answer from one on the same subject that
they do not: the names in the question must also appear together in one passage.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, replace

from agentkit.backends.base import Capabilities, Model, Options
from agentkit.documents import Passage
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.text.terms import Similarity, fold, is_cjk, names, sentences, terms
from agentkit.tools.tool import Tool

SEARCH = "search_knowledge"

MAX_QUOTES = 6
MAX_CHARACTERS = 1500
MAX_COMPARED = 16
"""Candidates whose embedding is compared with the question's, at some 30 ms each. On the golden
questions 16 give as many facts and refusals as all of them do; 12 give fewer."""

SCORE_MARGIN = 0.05
"""How far below the best quote another may score and still be given."""

MIN_SIMILARITY = {
    (True, True): 0.878,
    (False, False): 0.84,
    (True, False): 0.74,
    (False, True): 0.74,
}
"""Least cosine, plus a little for shared terms, by whether question and passage are CJK. On 150
questions each of CMRC 2018 and XQuAD English they refuse 1 % and 6 % of those whose paragraph is
there, and 67 % and 58 % of those whose paragraph was taken away."""

_OVERLAP_WEIGHT = 0.05
_MIN_OVERLAP = 0.25
"""Least share of the question's terms in a quote, where there are no embeddings."""

_HEADING = re.compile(r"#{1,6}\s")
_LIST_MARKS = re.compile(r"(?:(?:\d+[.)]|[-*+>])[ \t]+)+")
_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n.*?^---[ \t]*$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class _Phrases:
    introduction: str
    refusal: str
    no_documents: str
    search_failed: str


_CHINESE = _Phrases(
    "以下逐字引自文档，没有推断：",
    "文档里没有找到能回答这个问题的内容。",
    "我只能引用文档，而这里没有可以检索的文档。",
    "文档检索失败，所以无法回答：{reason}",
)
_ENGLISH = _Phrases(
    "Quoted from the documents word for word, nothing inferred:",
    "The documents do not answer this question.",
    "I can only quote documents, and there are none here to search.",
    "The search of the documents failed, so there is no answer: {reason}",
)


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence or table of a passage, from `start` in the passage's text, and how well it matches
    the question: `overlap` is the share of the question's terms in it."""

    passage: Passage
    text: str
    start: int
    cosine: float = 0.0
    overlap: float = 0.0
    score: float = 0.0

    @property
    def with_heading(self) -> str:
        """The text that is embedded."""
        return f"{self.passage.chunk.heading.split(' > ')[-1]}\n{self.text}"


class ExtractiveModel(Model):
    """Quotes what a search finds. `similarity` compares a question with sentences by their
    embeddings, across languages; without it shared terms decide."""

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
        prompts = [at for at, message in enumerate(messages) if message.role == "user"]
        last = prompts[-1] if prompts else 0
        question = messages[last].text if messages else ""
        is_prompt = last == len(messages) - 1
        if is_prompt and any(tool.name == SEARCH for tool in tools):
            yield ToolCall(f"search-{len(messages)}", SEARCH, {"query": question})
            yield Done("tool_calls", self.name)
            return
        by_marker = {p.marker: p for message in messages[last:] for p in message.passages}
        passages = list(by_marker.values())
        answer, is_refusal = await self.quote(question, passages)
        failed = [m for m in messages[last:] if m.failed and m.text]
        if is_prompt and not passages:
            answer = _phrases(question).no_documents
        elif failed and not passages:
            reason = failed[-1].text.removeprefix("Error: ")
            answer = _phrases(question).search_failed.format(reason=reason)
        for piece in re.findall(r"[\s\S]{1,24}", answer):
            yield TextDelta(piece)
        read = sum(self.count_tokens(message.prompt_text) for message in messages)
        yield Usage(read, self.count_tokens(answer), estimated=True)
        yield Done("refused" if is_refusal else "stop", self.name)

    async def quote(self, question: str, passages: Sequence[Passage]) -> tuple[str, bool]:
        """Return an answer that quotes the passages, and whether it is a refusal."""
        phrases = _phrases(question)
        quotes = await self._select_quotes(question, passages)
        return (_format_answer(phrases, quotes), False) if quotes else (phrases.refusal, True)

    async def capabilities(self) -> Capabilities:
        return Capabilities(tools=True, instructions=False)

    async def _select_quotes(self, question: str, passages: Sequence[Passage]) -> list[Quote]:
        """Return the best quotes, the best passage first; none where the passages do not answer."""
        candidates = [quote for passage in passages for quote in split_quotes(passage)]
        scored = await self._score(question, _preselect(question, candidates))
        if not _can_answer(question, passages, scored, self._similarity is not None):
            return []
        ranked = sorted(scored, key=lambda quote: -quote.score)
        near = [quote for quote in ranked if quote.score >= ranked[0].score - SCORE_MARGIN]
        chosen: list[Quote] = []
        room = MAX_CHARACTERS
        for quote in near[:MAX_QUOTES]:
            if len(quote.text) <= room or not chosen:
                chosen.append(quote)
                room -= len(quote.text)
        order = list(dict.fromkeys(quote.passage.marker for quote in chosen))
        return sorted(chosen, key=lambda quote: (order.index(quote.passage.marker), quote.start))

    async def _score(self, question: str, quotes: Sequence[Quote]) -> list[Quote]:
        """Add cosines to the scores, where there are embeddings."""
        if self._similarity is None:
            return list(quotes)
        cosines = await self._similarity(question, [quote.with_heading for quote in quotes])
        return [
            replace(quote, cosine=cosine, score=cosine + quote.score)
            for quote, cosine in zip(quotes, cosines, strict=True)
        ]


def split_quotes(passage: Passage) -> Iterator[Quote]:
    """Split a passage into sentences, without list marks, headings and front matter, and whole
    tables."""
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
        mark = _LIST_MARKS.match(text)
        bare = text[mark.end() :] if mark else text
        if any(map(str.isalnum, bare)) and not _HEADING.match(bare):
            yield Quote(passage, bare, end - len(bare))


def _preselect(question: str, quotes: Sequence[Quote]) -> list[Quote]:
    """Score quotes by shared terms and the passage's relevance, and keep the best MAX_COMPARED, in
    their order. A passage that the user attached has no relevance: it counts as the best."""
    wanted = set(terms(question))
    best = max((quote.passage.relevance or 0.0 for quote in quotes), default=0.0) or 1.0
    scored: list[Quote] = []
    for quote in quotes:
        overlap = len(wanted & set(terms(quote.text))) / max(1, len(wanted))
        given = quote.passage.relevance
        relevance = 1.0 if given is None else given / best
        scored.append(replace(quote, overlap=overlap, score=0.1 * overlap + 0.15 * relevance))
    ranked = sorted(range(len(scored)), key=lambda at: -scored[at].score)
    return [scored[at] for at in sorted(ranked[:MAX_COMPARED])]


def _can_answer(
    question: str, passages: Sequence[Passage], quotes: Sequence[Quote], has_cosines: bool
) -> bool:
    """Whether the passages have the question's names, and a quote is similar enough to it."""
    if not quotes:
        return False
    across = is_cjk(question) != is_cjk("".join(passage.chunk.text for passage in passages))
    wanted = {_letters_and_digits(name) for name in names(question, across)}
    if wanted and not any(_contains_all(passage, wanted) for passage in passages):
        return False
    if not has_cosines:
        return max(quote.overlap for quote in quotes) >= _MIN_OVERLAP
    return any(
        quote.cosine + _OVERLAP_WEIGHT * quote.overlap
        >= MIN_SIMILARITY[is_cjk(question), is_cjk(quote.passage.chunk.text)]
        for quote in quotes
    )


def _contains_all(passage: Passage, wanted: set[str]) -> bool:
    chunk = passage.chunk
    text = _letters_and_digits(f"{chunk.source} {chunk.heading} {chunk.text}")
    return all(name in text for name in wanted)


def _letters_and_digits(text: str) -> str:
    """Reduce a text to its letters and digits, so that d_{model} equals d_model."""
    return "".join(c for c in fold(text) if c.isalnum())


def _phrases(question: str) -> _Phrases:
    return _CHINESE if is_cjk(question) else _ENGLISH


def _format_answer(phrases: _Phrases, quotes: Sequence[Quote]) -> str:
    """Format the quotes with their markers: after a table or formula in a paragraph of its own."""
    blocks = []
    for quote in quotes:
        gap = "\n\n" if quote.text.startswith(("|", "$$", "```")) else " "
        blocks.append(f"{quote.text}{gap}[{quote.passage.marker}]")
    return "\n\n".join([phrases.introduction, *blocks])
