"""Extractive answerer: a model that answers with quotes alone, without a server or weights.

On a user's turn it calls `search_knowledge`; then it answers with the units of the passages found
that most likely answer the question, verbatim, each with its marker. It refuses where the
probability that the passages answer is too low, and names the part that they lack. It calls no
other tool.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from agentkit.answering.follow_up import standalone_question
from agentkit.answering.question import Question
from agentkit.answering.scoring import Scored, Scorer, surely_answers
from agentkit.answering.units import Unit, split_units
from agentkit.backends.base import Capabilities, Model, Options, images
from agentkit.documents import Chunk, Passage
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.settings.schema import REFUSE_BELOW
from agentkit.text.terms import is_cjk, terms
from agentkit.tools.tool import Tool

SEARCH = "search_knowledge"

MAX_UNITS = 3
MAX_CHARACTERS = 500
"""The length above which no further unit is printed."""
MAX_COMPARED = 12
"""Units that are embedded, at some 30 ms each, where the index has no token vectors."""

SCORE_MARGIN = 3.0
SURE_MARGIN = 0.5
ROW_MARGIN = 0.3
INSIDE_MARGIN = 0.2
"""How far below the best unit's score another may be and still be given; another where the best
surely answers; another row of its table; and a shorter unit inside it that is given instead."""


_THANKS = re.compile(r"\bth(?:an)?(?:ks?|x)\b|谢|辛苦", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Phrases:
    introduction: str
    refusal: str
    partly: str
    lacks_side: str
    no_documents: str
    search_failed: str
    thanks: str
    greeting: str


_CHINESE = _Phrases(
    "以下逐字引自文档，没有推断：",
    "文档里没有找到能回答这个问题的内容。",
    "文档提到了“{known}”，但没有关于“{unknown}”的内容。",
    "文档没有提到“{side}”。",
    "我只能引用文档，而这里没有可以检索的文档。",
    "文档检索失败，所以无法回答：{reason}",
    "不客气！还想了解文档里的什么？",
    "想了解文档里的什么？",
)
_ENGLISH = _Phrases(
    "Quoted from the documents word for word, nothing inferred:",
    "The documents do not answer this question.",
    "The documents mention “{known}” but nothing about “{unknown}”.",
    "The documents do not mention “{side}”.",
    "I can only quote documents, and there are none here to search.",
    "The search of the documents failed, so there is no answer: {reason}",
    "You are welcome! What else would you like to know from the documents?",
    "What would you like to know from the documents?",
)


class SearchIndex(Protocol):
    """What the extractive model asks of a knowledge base."""

    async def late_scores(self, question: str, ranges: Sequence[Chunk]) -> list[float] | None:
        """The score of each of some ranges of documents by late interaction, None without it."""
        ...

    async def similarity(self, text: str, others: Sequence[str]) -> Sequence[float]:
        """The cosine similarity of a question with each of some texts."""
        ...

    async def rarity(self, words: Sequence[str]) -> Sequence[float]:
        """How rare each term is, from 0 (in every passage) to 1 (in none)."""
        ...


class ExtractiveModel(Model):
    """Quotes what a search finds. `index` gives cosines and the rarity of terms; without it shared
    terms decide. `refuse_below` is the least probability of an answer, from 0 to 1."""

    def __init__(
        self, index: SearchIndex | None = None, refuse_below: float = REFUSE_BELOW
    ) -> None:
        self._index = index
        self._refuse_below = refuse_below

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
        earlier = [messages[at].text for at in prompts[:-1]]
        text = messages[last].text if messages else ""
        question = Question(standalone_question(text, earlier))
        if messages and images(messages[last]):
            reason = "extractive reads no images: choose another model."
            raise ModelError(reason, self.name, "bad_request")
        is_prompt = last == len(messages) - 1
        is_talk = question.is_small_talk
        if is_prompt and not is_talk and any(tool.name == SEARCH for tool in tools):
            yield ToolCall(f"search-{len(messages)}", SEARCH, {"query": question.text})
            yield Done("tool_calls", self.name)
            return
        by_marker = {p.marker: p for message in messages[last:] for p in message.passages}
        passages = list(by_marker.values())
        failed = [m for m in messages[last:] if m.failed and m.text]
        if is_talk:
            answer, is_refusal = _small_talk(question), False
        elif is_prompt and not passages:
            answer, is_refusal = _phrases(question).no_documents, True
        elif failed and not passages:
            reason = failed[-1].text.removeprefix("Error: ")
            answer, is_refusal = _phrases(question).search_failed.format(reason=reason), True
        else:
            answer, is_refusal = await self.quote(question.text, passages)
        answer, is_cut = self._bounded(answer, options)
        for piece in re.findall(r"[\s\S]{1,24}", answer):
            yield TextDelta(piece)
        read = sum(self.count_tokens(message.prompt_text) for message in messages)
        yield Usage(read, self.count_tokens(answer), estimated=True)
        yield Done("length" if is_cut else "refused" if is_refusal else "stop", self.name)

    def _bounded(self, answer: str, options: Options) -> tuple[str, bool]:
        """An answer up to a stop sequence, and whether it is cut at the limit of tokens."""
        ends = [answer.find(stop) for stop in options.stop if stop in answer]
        answer = answer[: min(ends, default=len(answer))]
        most = options.max_tokens
        if most is None or self.count_tokens(answer) <= most:
            return answer, False
        end = bisect_right(range(len(answer)), most, key=lambda n: self.count_tokens(answer[:n]))
        return answer[: max(0, end - 1)], True

    async def quote(self, question: str, passages: Sequence[Passage]) -> tuple[str, bool]:
        """Return an answer that quotes the passages, and whether it is a refusal."""
        asked = Question(question)
        phrases = _phrases(asked)
        units = [unit for passage in passages for unit in split_units(passage)]
        if "list" not in asked.kinds:  # A list that nothing announces is often a menu or a log.
            units = [u for u in units if u.kind != "table" and (u.lead or u.kind != "list")]
        if not units:
            return phrases.refusal, True
        scorer = Scorer(asked, passages, await self._rarity(asked))
        scored = await self._score(asked, scorer, units)
        if scorer.answered(scored) < self._refuse_below:
            return _refusal(asked, passages, phrases), True
        chosen, lacking = _choose(asked, scored)
        return _format_answer(phrases, chosen, lacking), False

    async def capabilities(self) -> Capabilities:
        return Capabilities(tools=True, instructions=False)

    async def _rarity(self, question: Question) -> dict[str, float]:
        if self._index is None:
            return dict.fromkeys(question.query.terms, 1.0)
        rarities = await self._index.rarity(question.query.terms)
        return dict(zip(question.query.terms, rarities, strict=True))

    async def _score(
        self, question: Question, scorer: Scorer, units: Sequence[Unit]
    ) -> list[Scored]:
        """The units, best first. Without token vectors the most promising ones are embedded."""
        unknown = [0.0] * len(units)
        if self._index is None:
            return scorer.score(units, unknown)
        late = await self._index.late_scores(question.text, [unit.range for unit in units])
        if late is not None:
            return scorer.score(units, late)
        first = [each.unit for each in scorer.score(units, unknown)[:MAX_COMPARED]]
        texts = [f"{unit.heading}\n{unit.text}" for unit in first]
        return scorer.score(first, await self._index.similarity(question.text, texts))


def _small_talk(question: Question) -> str:
    """The answer to thanks or a greeting. It is a question, so that it is no claim to verify."""
    phrases = _phrases(question)
    return phrases.thanks if _THANKS.search(question.text) else phrases.greeting


def _choose(question: Question, scored: Sequence[Scored]) -> tuple[list[Unit], list[str]]:
    """The units to print, best first, and the sides of a comparison that none is about."""
    if question.sides and (found := _choose_sides(question.sides, scored)):
        return found
    margin = SURE_MARGIN if surely_answers(question, scored[0]) else SCORE_MARGIN
    scored = _shortest_first(scored)
    chosen: list[Unit] = []
    room = MAX_CHARACTERS
    for each in scored:
        if len(chosen) == MAX_UNITS or each.score < scored[0].score - margin:
            break
        if any(_overlap(each.unit, other) for other in chosen):
            continue
        if chosen and set(terms(each.unit.body)) <= set(terms(question.text)):
            continue  # a title or an entry of a menu, which only repeats the question
        if each.features["codes"] < scored[0].features["codes"]:
            continue
        is_row = each.unit.kind == "row" and any(_same_table(each.unit, c) for c in chosen)
        if is_row and each.score < scored[0].score - ROW_MARGIN:
            continue
        if chosen and len(each.unit.text) > room:
            continue
        chosen.append(each.unit)
        room -= len(each.unit.text)
    return _merged_rows(chosen), []


def _shortest_first(scored: Sequence[Scored]) -> list[Scored]:
    """The units with the shortest one first that lies inside the best and is about as good: of a
    section, the sentence that answers."""
    best = scored[0]
    inside = [
        each
        for each in scored
        if each.score >= best.score - INSIDE_MARGIN
        and each.unit.passage is best.unit.passage
        and best.unit.start <= each.unit.start
        and each.unit.end <= best.unit.end
    ]
    shortest = min(inside, key=lambda each: len(each.unit.text))
    return [shortest, *(each for each in scored if each is not shortest)]


def _choose_sides(
    sides: tuple[str, str], scored: Sequence[Scored]
) -> tuple[list[Unit], list[str]] | None:
    """One unit for both sides of a comparison, or one for each; None where no unit names a side."""
    wanted = [set(terms(side)) for side in sides]
    naming = [[each for each in scored if words <= _words(each.unit)] for words in wanted]
    both = [each for each in naming[0] if each in naming[1]]
    if both and both[0].score >= scored[0].score - SCORE_MARGIN:
        return [both[0].unit], []
    best = [found[0].unit if found else None for found in naming]
    chosen = list(dict.fromkeys(unit for unit in best if unit is not None))
    if not chosen:
        return None
    lacking = [side for side, unit in zip(sides, best, strict=True) if unit is None]
    return _merged_rows(chosen), lacking


def _words(unit: Unit) -> set[str]:
    return set(terms(f"{unit.heading} {unit.text}"))


def _overlap(unit: Unit, other: Unit) -> bool:
    """Whether two units have text in common, the header of a table aside, or say the same."""
    if unit.text == other.text:
        return True
    if unit.passage is not other.passage:
        return unit.body in other.body or other.body in unit.body
    spans = [unit.own, other.own]
    return any(a[0] < b[1] and b[0] < a[1] for a in spans[0] for b in spans[1])


def _same_table(unit: Unit, other: Unit) -> bool:
    """Whether two units are rows under one header."""
    return (
        unit.kind == other.kind == "row"
        and unit.lead > 0
        and unit.passage is other.passage
        and unit.spans[: unit.lead] == other.spans[: other.lead]
    )


def _merged_rows(units: Sequence[Unit]) -> list[Unit]:
    """Rows of one table as one unit, in their order there."""
    merged: list[Unit] = []
    for unit in units:
        for at, other in enumerate(merged):
            if _same_table(unit, other):
                rows = sorted({*other.spans[other.lead :], *unit.spans[unit.lead :]})
                merged[at] = replace(other, spans=(*unit.spans[: unit.lead], *rows))
                break
        else:
            merged.append(unit)
    return merged


def _refusal(question: Question, passages: Sequence[Passage], phrases: _Phrases) -> str:
    """The refusal, with what the best passage lacks where it has a part of what was asked."""
    text = set()
    for passage in passages[:2]:
        text |= set(terms(f"{passage.chunk.title} {passage.chunk.heading} {passage.chunk.text}"))
    pieces = question.content.split()
    known = [piece for piece in pieces if set(terms(piece)) <= text]
    unknown = [piece for piece in pieces if piece not in known]
    across = question.is_cjk != is_cjk("".join(passage.chunk.text for passage in passages))
    if not known or not unknown or across or len(unknown) > len(known):
        return phrases.refusal
    partly = phrases.partly.format(known=" ".join(known), unknown=" ".join(unknown))
    return f"{phrases.refusal} {partly}" if not question.is_cjk else f"{phrases.refusal}{partly}"


def _phrases(question: Question) -> _Phrases:
    return _CHINESE if question.is_cjk else _ENGLISH


def _format_answer(phrases: _Phrases, units: Sequence[Unit], lacking: Sequence[str]) -> str:
    """The units with their markers: after a table, a list or code in a paragraph of its own."""
    blocks = []
    for unit in units:
        gap = "\n\n" if unit.is_block or unit.text.startswith(("$$", "|")) else " "
        blocks.append(f"{unit.text}{gap}[{unit.passage.marker}]")
    notes = [phrases.lacks_side.format(side=side) for side in lacking]
    return "\n\n".join([phrases.introduction, *blocks, *notes])
