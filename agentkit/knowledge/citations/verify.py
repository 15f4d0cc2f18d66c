"""Verify an answer: from its markers to the passages that support its claims.

A quote is a substring of its passage. A marker belongs to the sentence that it is in or follows; a
sentence without one is judged by the next marker of its paragraph, since that is how people close a
thought, then by all passages of the session: an uncited truth is supported, and reported as
uncited. A marker that refers to no passage is reported.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from agentkit._sync import in_thread, in_worker
from agentkit.answers import Citation, Supported
from agentkit.documents import Chunk
from agentkit.knowledge.chunking.blocks import Places
from agentkit.knowledge.citations.evidence import TurnEvidence
from agentkit.knowledge.citations.markers import (
    claims_something,
    is_table_head,
    markers,
    numbers_in,
    plain_sentence,
)
from agentkit.knowledge.citations.passages import Sources, forget_after
from agentkit.knowledge.citations.support import (
    SupportVerdict,
    find_whole,
    is_computed,
    judge,
    needs_similarity,
    pieces,
)
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.text.patterns import lazy_pattern
from agentkit.text.terms import Similarity, is_cjk, sentences

_BLANK = "\u2005"
"""A space that people do not write. It ends sentences as other spaces do."""
_DIGITS_OF_A_YEAR = 4
_PARAGRAPH = lazy_pattern(r"\n[ \t]*\n")


@dataclass(frozen=True, slots=True)
class StatementPart:
    """A part of a sentence and the markers after it."""

    text: str
    markers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence: `written` is `answer[start:end]`, `text` the same without markers. `pieces` are
    the parts that its own markers close; `markers` are its own, or the next of its paragraph;
    `unresolved` are the numbers of its markers that no passage has; `cites_result` tells whether it
    has the marker of a tool's result."""

    text: str
    written: str
    start: int
    end: int
    pieces: tuple[StatementPart, ...]
    markers: tuple[str, ...]
    claims: bool
    unresolved: tuple[str, ...] = ()
    cites_result: bool = False

    @property
    def is_marked(self) -> bool:
        """Whether it has markers of its own."""
        return bool(self.pieces)


@dataclass(frozen=True, slots=True)
class _Group:
    """A group of markers: its place, the numbers of passages in it, its other numbers, and whether
    it has the marker of a tool's result."""

    start: int
    end: int
    numbers: tuple[str, ...]
    unresolved: tuple[str, ...]
    cites_result: bool = False


def statements(
    text: str,
    sources: Collection[str],
    known: Collection[str],
    results: Collection[str] = (),
) -> list[Statement]:
    """The sentences of an answer, in order; `known` are the numbers of the passages, `results` the
    markers of tool results."""
    groups = _groups(text, sources, known, results)
    blank = text
    for group in groups:
        length = group.end - group.start
        blank = f"{blank[: group.start]}{_BLANK * length}{blank[group.end :]}"
    spans = sentences(blank)
    own: list[list[_Group]] = [[] for _ in spans]
    for group in groups:
        if (at := _sentence_of(blank, spans, group.start)) is not None:
            own[at].append(group)
    found = [_statement(text, blank, span, mine) for span, mine in zip(spans, own, strict=True)]
    return _with_following_markers(blank, found)


def _groups(
    text: str, sources: Collection[str], known: Collection[str], results: Collection[str]
) -> list[_Group]:
    """The groups of markers of an answer. A superscript or `(9)` without a passage is none."""
    found = []
    for match in markers(text, sources):
        numbers = numbers_in(match.group())
        resolved = tuple(number for number in numbers if number in known)
        others = [n for n in numbers if n not in known and len(n) < _DIGITS_OF_A_YEAR]
        cites_result = any(n in results for n in others)
        unresolved = tuple(n for n in others if n not in results and (results or n.isdigit()))
        if resolved or cites_result or (unresolved and match["clear"]):
            found.append(_Group(*match.span(), resolved, unresolved, cites_result))
    return found


def _sentence_of(blank: str, spans: Sequence[tuple[int, int]], at: int) -> int | None:
    """The sentence that a marker is in or follows; one at the start of a line precedes its own."""
    after = bisect_left(spans, (at, at))
    if after and spans[after - 1][1] > at:
        return after - 1
    line = blank.rfind("\n", 0, at) + 1
    is_first = not after or spans[after - 1][1] <= line
    if after < len(spans) and (is_first and "\n" not in blank[at : spans[after][0]]):
        return after
    return after - 1 if after else None


def _statement(text: str, blank: str, span: tuple[int, int], own: Sequence[_Group]) -> Statement:
    start, end = span
    plain = blank[start:end].replace(_BLANK, "")
    pieces: list[StatementPart] = []
    reached = start
    for group in own:
        if not group.numbers:
            continue
        part = blank[reached : max(reached, min(group.start, end))].strip()
        if part or not pieces:
            pieces.append(StatementPart(part, group.numbers))
        else:
            pieces[-1] = StatementPart(pieces[-1].text, (*pieces[-1].markers, *group.numbers))
        reached = max(reached, min(group.end, end))
    rest = blank[reached:end].strip()
    if pieces and claims_something(rest):
        pieces[-1] = StatementPart(f"{pieces[-1].text} {rest}".strip(), pieces[-1].markers)
    numbers = tuple(dict.fromkeys(n for piece in pieces for n in piece.markers))
    claims = claims_something(plain) and not is_table_head(blank, end)
    unresolved = tuple(dict.fromkeys(n for group in own for n in group.unresolved))
    cites_result = any(group.cites_result for group in own)
    written = text[start:end]
    return Statement(
        plain, written, start, end, tuple(pieces), numbers, claims, unresolved, cites_result
    )


def _with_following_markers(blank: str, found: Sequence[Statement]) -> list[Statement]:
    """Give sentences without a marker those of the next one in their paragraph."""
    found_back: list[Statement] = []
    following: tuple[str, ...] = ()
    reached = len(blank)
    for one in reversed(found):
        if _PARAGRAPH.search(blank, one.end, max(one.end, reached)):
            following = ()
        following = one.markers or following
        found_back.append(replace(one, markers=following))
        reached = one.start
    return found_back[::-1]


async def located(citations: Sequence[Citation], knowledge: KnowledgeBase) -> tuple[Citation, ...]:
    """The citations, in their order, those with a quote at the quote's own page or part. Where the
    document has changed since, a citation keeps its passage's place."""
    found = []
    for citation in citations:
        if citation.quote and citation.chunk.part:
            start, end = citation.start, citation.end
            excerpt = await knowledge.excerpt(citation.chunk.document_id, start, end)
            if excerpt is not None and excerpt.document.text == citation.quote:
                places, length = Places(excerpt.document, excerpt.first_line), end - start
                page, part = places.page(0, length), places.part(0, length)
                citation = replace(citation, page=page, part=part)
        found.append(citation)
    return tuple(found)


_AROUND = " \t\n>“”\"'"
_MOST_UNCITED = 50
"""With how many passages, the latest first, an uncited sentence is compared."""
_MOST_ACROSS = 5
"""With how many of those in another language the embedder compares it."""


_Compare = Callable[[str, Sequence[str]], Sequence[float]]


@dataclass(frozen=True, slots=True)
class Proof:
    """The citations of an answer, the verdict on each of its claims, and the numbers of markers
    that refer to no passage."""

    citations: tuple[Citation, ...] = ()
    sentences: tuple[Supported, ...] = ()
    unresolved: tuple[str, ...] = ()


async def prove(
    text: str,
    sources: Sources,
    similarity: Similarity | None = None,
    results: Sequence[str] = (),
    question: str = "",
    result_markers: Collection[str] = (),
) -> Proof:
    """The citations of an answer, in its order, one for each passage and quote, and its judged
    sentences. `results` are the other tool calls of the turn, arguments and result of each, and
    `question` is what the user wrote: they are evidence too. `result_markers` are the markers of
    tool results, such as "t1". A long answer takes seconds, which a worker thread spends."""
    if not len(sources):
        found = await in_thread(_groups, text, (), (), result_markers)
        return Proof(unresolved=_unresolved(found))
    loop = asyncio.get_running_loop()

    def compare(claim: str, others: Sequence[str]) -> Sequence[float]:
        assert similarity is not None
        return asyncio.run_coroutine_threadsafe(_awaited(similarity(claim, others)), loop).result()

    proof: Proof = await in_worker(
        _prove,
        text=text,
        sources=sources,
        compare=compare if similarity else None,
        results=results,
        question=question,
        result_markers=result_markers,
    )
    return proof


async def _awaited(cosines: Awaitable[Sequence[float]]) -> Sequence[float]:
    return await cosines


def _prove(
    text: str,
    sources: Sources,
    compare: _Compare | None,
    results: Sequence[str],
    question: str,
    result_markers: Collection[str],
) -> Proof:
    prover = _Prover(sources, compare, results, question)
    found = statements(text, sources.texts(), sources.numbers(), result_markers)
    try:
        return _proof(found, _verbatim(text, found, sources), prover)
    finally:
        forget_after([text, question, *results, *sources.texts()])


def _proof(found: Sequence[Statement], verbatim: Mapping[int, Citation], prover: _Prover) -> Proof:
    citations: dict[tuple[str, str | None], Citation] = {}
    judged = []
    for number, statement in enumerate(found):
        if number in verbatim:
            cited = verbatim[number]
            supported = _supported(statement, True, 1.0, marker=cited.marker)
            made: Iterable[Citation] = [cited]
        else:
            supported, made = prover.prove(statement)
        for citation in made:
            citations.setdefault((citation.marker, citation.quote), citation)
        if statement.claims:
            judged.append(supported)
    return Proof(tuple(citations.values()), tuple(judged), _unresolved(found))


def _unresolved(found: Iterable[Statement | _Group]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(number for each in found for number in each.unresolved))


def _verbatim(text: str, found: Sequence[Statement], sources: Sources) -> Mapping[int, Citation]:
    """The sentences that are in their passage word for word, alone or with those before them since
    the last marker, each with the citation of the whole quotation."""
    quoted: dict[int, Citation] = {}
    first = 0
    for last, statement in enumerate(found):
        if not statement.is_marked:
            continue
        for marker in statement.pieces[0].markers:
            for start in range(first, last + 1):
                quoted_text = text[found[start].start : statement.start] + statement.text
                citation = _quotation(quoted_text.strip(_AROUND), marker, sources)
                if citation and len(statement.pieces) == 1 and len(statement.markers) == 1:
                    quoted |= dict.fromkeys(range(start, last + 1), citation)
                    break
        first = last + 1
    return quoted


def _quotation(quote: str, marker: str, sources: Sources) -> Citation | None:
    chunk = sources.find(marker)
    quote = quote.rstrip()
    if chunk is None or not quote or (at := find_whole(quote, chunk.text)) is None:
        return None
    return Citation(marker, chunk, quote, True, at)


class _Prover:
    """Judges statements by the passages of a session."""

    def __init__(
        self,
        sources: Sources,
        compare: _Compare | None,
        results: Sequence[str],
        question: str,
    ) -> None:
        self._sources = sources
        self._compare = compare
        self._results = results
        self._turn = TurnEvidence("\n".join(results), question)

    def prove(self, statement: Statement) -> tuple[Supported, list[Citation]]:
        """The verdict on a statement, and its citations."""
        if not statement.is_marked:
            return self._unmarked(statement)
        made, verdicts = [], []
        for piece in statement.pieces:
            claim = plain_sentence(piece.text or statement.text)
            best = SupportVerdict(False, -1.0)
            for marker in piece.markers:
                verdict, citation = self._judge_by(claim, marker)
                made.append(citation)
                best = _better(best, replace(verdict, reason=f"[{marker}]: {verdict.reason}"))
            if not best.supported and len(piece.markers) > 1:
                best = _better(best, self._jointly(claim, piece.markers))
            if not best.supported and any(judge(claim, each).supported for each in self._results):
                best = replace(best, supported=True, reason="")
            verdicts.append(best)
        if all(verdict.supported for verdict in verdicts):
            return _supported(statement, True, min(v.score for v in verdicts)), made
        fault = next(verdict for verdict in verdicts if not verdict.supported)
        return _supported(statement, False, fault.score, fault.reason), made

    def _unmarked(self, statement: Statement) -> tuple[Supported, list[Citation]]:
        """Judge by the next markers of the paragraph, then by all passages of the session."""
        if not statement.claims:
            return _supported(statement, True, 1.0), []
        claim = plain_sentence(statement.text)
        for marker in statement.markers:
            verdict, citation = self._judge_by(claim, marker)
            if verdict.supported:
                return _supported(statement, True, verdict.score), [citation]
        uncited = replace(statement, markers=())
        computed = self._score_by_results(claim)
        if computed is not None and statement.cites_result:
            return _supported(uncited, True, computed), []
        if found := self._search_session(claim):
            verdict, marker = found
            reason = f"uncited: it is in [{marker}]"
            return _supported(uncited, True, verdict.score, reason), []
        if computed is not None:
            return _supported(uncited, True, computed, "uncited: it is in a tool result"), []
        reason = "no tool result states it" if statement.cites_result else "no source cited"
        return _supported(uncited, False, 0.0, reason), []

    def _score_by_results(self, claim: str) -> float | None:
        """The score of the first tool call that supports a claim, None where none does."""
        for result in self._results:
            verdict = judge(claim, result)
            if verdict.supported or is_computed(claim, result):
                return verdict.score
        return None

    def _search_session(self, claim: str) -> tuple[SupportVerdict, str] | None:
        """A passage that supports an uncited claim: by words, and in another language by the
        embedder, for a few passages."""
        compared = 0
        for marker in self._sources.numbers()[: -_MOST_UNCITED - 1 : -1]:
            chunk = self._sources.find(marker)
            assert chunk is not None
            if is_cjk(claim) == is_cjk(chunk.text):
                verdict = judge(claim, chunk.text, _context(chunk), turn=self._turn)
            elif compared < _MOST_ACROSS:
                compared += 1
                verdict = self._judged(claim, chunk.text, _context(chunk))
            else:
                continue
            if verdict.supported:
                return verdict, marker
        return None

    def _jointly(self, claim: str, cited: Sequence[str]) -> SupportVerdict:
        """Judge by several passages together."""
        chunks = [chunk for marker in cited if (chunk := self._sources.find(marker))]
        context = "\n".join(_context(chunk) for chunk in chunks)
        return self._judged(claim, "\n".join(chunk.text for chunk in chunks), context)

    def _judge_by(self, claim: str, marker: str) -> tuple[SupportVerdict, Citation]:
        chunk = self._sources.find(marker)
        assert chunk is not None
        verdict = self._judged(claim, chunk.text, _context(chunk))
        if not verdict.supported or verdict.span is None:
            return verdict, Citation(marker, chunk, None, False)
        start, end = verdict.span
        return verdict, Citation(marker, chunk, chunk.text[start:end], True, start)

    def _judged(self, claim: str, passage: str, context: str) -> SupportVerdict:
        cosines = None
        if self._compare is not None and needs_similarity(claim, passage, context, self._turn):
            cosines = self._compare(claim, pieces(claim, passage))
        return judge(claim, passage, context, cosines, self._turn)


def _context(chunk: Chunk) -> str:
    return f"{chunk.title}\n{chunk.heading}\n{chunk.source}\n{chunk.context}"


def _better(one: SupportVerdict, other: SupportVerdict) -> SupportVerdict:
    return max(one, other, key=lambda verdict: (verdict.supported, verdict.score))


def _supported(
    statement: Statement, supported: bool, score: float, reason: str = "", marker: str = ""
) -> Supported:
    markers = (marker,) if marker else statement.markers
    if statement.unresolved:
        named = ", ".join(f"[{number}]" for number in statement.unresolved)
        verb = "refers" if len(statement.unresolved) == 1 else "refer"
        reason = "; ".join(filter(None, (reason, f"{named} {verb} to no passage")))
    return Supported(
        statement.written, statement.start, statement.end, markers, supported, score, reason
    )
