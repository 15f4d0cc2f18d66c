"""Whether a claim contradicts a passage: one of them has one more negation or antonym.

A claim's clause is aligned with the clause of the passage that shares most of its words, and the
negations and antonyms between the two are counted; an odd number is a contradiction. There is no
parser: irony, "hardly ever" far from its verb, and antonyms that are not in the list are missed.

antonyms.tsv lists English and Chinese antonyms as patterns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain, pairwise
from pathlib import Path

from agentkit.knowledge.citations.passages import remembered
from agentkit.text.numbers import quantities
from agentkit.text.patterns import lazy_pattern
from agentkit.text.terms import fold, is_cjk, sentences, terms

_ANTONYMS = Path(__file__).with_name("antonyms.tsv")
_COMMENTS = 2
_OBJECT = r"\s+((?:(?!\b(?:to|until|and|or)\b)[^,.;]){1,30})"
_BEFORE = lazy_pattern(
    rf"\b(?:before|prior to|until){_OBJECT}|(\w{{2,4}})(?:[之以]前|前(?![馈向端者几进]))"
)
_AFTER = lazy_pattern(
    rf"\b(?:after|since){_OBJECT}|\bfrom\s+(?:the\s+)?(\w+)\s+on\b|(\w{{2,4}})(?:[之以]后|后(?![者续端台]))"
)
"""Before and after what: opposites only when they are with the same words."""


@cache
def opposites() -> tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]:
    """Each pair, read and compiled when it is first wanted."""
    pairs = [line.split("\t") for line in _ANTONYMS.read_text("utf-8").splitlines()[_COMMENTS:]]
    return tuple((re.compile(one), re.compile(other)) for one, other in pairs)


@cache
def either() -> tuple[re.Pattern[str], ...]:
    """The same with both sides in one, up to the end of the word."""
    return tuple(
        re.compile(f"(?:{one.pattern}|{other.pattern})[a-z]*") for one, other in opposites()
    )


_CLAUSE_END = lazy_pattern(
    r"[，；;：:。！？!?\n()（）|]|,(?!\d)|(?<=[a-z\d%)\]])\.(?=\s|$)"
    r"|\b(?:but|although|though|while|whereas|because|which|instead of|rather than)\b"
    r"|(?=\b(?:unless|except)\b)|而且|并且|(?=而不|而是|而非|而无|而没|但)",
    re.IGNORECASE,
)
_NO_NEGATION = lazy_pattern(
    r"(\w)[不没]\1|不够(?=[，。,;；\s]|$)|不得不|不能不|不可不|不仅|不但|不只|不单(?!独)|不光|不止|不过|不同|不断|不久|不妨|不论|不管"
    r"|不超过|不少于|不低于|不高于|不大于|不小于|不多于|不足|不少|不一定|差不多|不错|不可或缺"
    r"|无论|无监督|无标[注签]|无穷|无限|无数|无线|无符号|非常|非线性|并非不|未来|未免"
    r"|没关系|没问题|[区差类特分级识个性告]别|别[的人处]|是否|能否|可否|与否|是不是|有没有|会不会"
    r"|\bnot (?:only|just|merely|least)\b|\bno (?:more|later|fewer|less|sooner|earlier) than\b"
    r"|\b(?:never|not|cannot) exceed|不到\s*[\d一二三四五六七八九十百]|不[大高多长快远好佳](?!于)"
    r"|\bno matter\b|\bnothing but\b|\bno doubt\b|\bwhether or not\b|\bno\. ?\d"
)
_NEGATION = lazy_pattern(
    r"不|没|无|非|未|勿|莫|别(?=[再把让去用在将])|禁|缺乏|缺少|排除|防止|避免"
    r"|\b(?:not|no|never|nor|neither|none|nobody|nothing|nowhere|without|cannot|unless|except|seldom|rarely"
    r"|hardly|scarcely|lacks?|lacking|excludes?|excluded|forbid(?:s|den)?|prohibit(?:s|ed)?|banned"
    r"|prevent(?:s|ed)?|den(?:y|ies|ied)|absent|unable"
    r"|impossible)\b"
    r"|\bbypass|\bskips?\b|\bdrop(?:s|ped)? support\b|\binstead of\b|\brather than\b|冻结|少了"
    r"|\bsupport\b.{0,30}\bended\b|\bdiscontinued\b|\bdeprecated\b|停止支持|终止支持"
    r"|n[’']t\b"
)
_PREFIX = lazy_pattern(r"\b(?:un|non-?|dis|in|im)([a-z]{3,})\b")
_FUNCTION_WORDS = """
a an the of to in on at by for from with and or as is are was were be been being it its them we us
our you your i me my this that these those there their they he she his her which who whom will would
can could may might must should shall do does did has have had than then so such into over about
under through during between per until since once some any all each every only also more most very
just up out if when not no never without too now
的 了 在 是 和 也 都 就 能 这 那 其 它 被 把 从 到 等 于 为 由 用 以 而 且 又 要 须 再 仍 还 很
只 更 之 所 将 让 使 给 对 向 个 有 一 不 没 做 每 里 得 地 着 与 及 或 他 她 们 该 此 各 约 共 成
"""
EMPTY = frozenset(_FUNCTION_WORDS.split())
"""Tokens that carry no content of their own."""
_EMPTY_CHINESE = lazy_pattern(
    r"可以|能够|需要|必须|应当|应该|以及|或者|因为|所以|因此|如果|虽然|不会|没有|无法|无须|无需|不必"
    r"|[的了在是和与也都就会能这那其它被把从到等于为由用以而且又及要须再仍还很只更最之所将让使给对向]"
)
_LATIN = lazy_pattern(r"[a-z][a-z0-9]+")
_LEAST_OVERLAP = 0.3
_LEAST_SHARED = 2
_AS_GOOD = 0.9
_OF_TWO = 0.7
"""How much of two neighbouring clauses' overlap one of them may have at most."""
_OF_SENTENCE = 0.5
_OF_MARKS = 2
"""How much more than a word a shared number or pair of opposites counts."""
_HEADS = 2


@dataclass(frozen=True)
class Clause:
    """A clause, and what its alignment needs. `denials` are its negations where they are not to
    be counted."""

    written: str
    denials: int | None = None

    @cached_property
    def text(self) -> str:
        return fold(self.written)

    @cached_property
    def sides(self) -> dict[int, int]:
        """The pairs of antonyms here: 1 for the first word, 2 for the second, 3 for both."""
        found = {}
        for n, pair in enumerate(either()):
            if pair.search(self.text):
                one, other = opposites()[n]
                found[n] = bool(one.search(self.text)) + 2 * bool(other.search(self.text))
        return found

    @cached_property
    def terms(self) -> frozenset[str]:
        """Its terms; antonyms count as one term."""
        text = self.text
        for n in self.sides:
            text = either()[n].sub(" ", text)
        stated = {f"={quantity.value:g}" for quantity in quantities(self.written)}
        return content(_EMPTY_CHINESE.sub(" ", text)) | {f"#{n}" for n in self.sides} | stated

    @cached_property
    def bare(self) -> str:
        """The text without what only looks like a negation."""
        return _NO_NEGATION.sub(lambda match: "_" * len(match.group()), self.text)

    @cached_property
    def negations(self) -> int:
        if self.denials is not None:
            return self.denials
        return len(_NEGATION.findall(self.bare.replace("neither", "").replace("cannot", "not ")))

    @cached_property
    def heads(self) -> frozenset[str]:
        """The first words after each negation: what is denied."""
        after = [self.bare[match.end() :] for match in _NEGATION.finditer(self.bare)]
        firsts = [[t for t in terms(rest[:40]) if t not in EMPTY][:_HEADS] for rest in after]
        return frozenset(chain.from_iterable(firsts))


@remembered
def content(text: str) -> frozenset[str]:
    """The terms of a text that carry its meaning."""
    return frozenset(
        term
        for term in terms(text)
        if term not in EMPTY and not (len(term) == 1 and "a" <= term <= "z")
    )


@remembered
def clauses(text: str) -> tuple[Clause, ...]:
    """The clauses of a text, those without a word left out."""
    found = [Clause(part.strip()) for part in split_clauses(text)]
    return tuple(clause for clause in found if clause.terms)


def split_clauses(text: str) -> Iterator[str]:
    """The text cut at the ends of its clauses."""
    return (part for whole in _CLAUSE_END.split(text) for part in _at_and(whole))


def _at_and(part: str) -> list[str]:
    """A part cut at "and" where both sides say something: "food and meat" is one thing."""
    one, conjunction, rest = part.partition(" and ")
    says_more = len(content(rest)) >= _LEAST_SHARED or _NEGATION.search(fold(rest))
    if not conjunction or len(content(one)) <= _LEAST_SHARED or not says_more:
        return [part]
    return [one, *_at_and(rest)]


def opposed(claim: str, passage: str) -> str | None:
    """How a claim contradicts a passage in one language: "negated", "opposite" or None."""
    for mine in clauses(claim):
        near = _aligned(mine, claim, passage)
        if near and all(
            _is_odd(mine, other)
            and not _is_denied_elsewhere(mine, other, passage)
            and not _is_denied_elsewhere(other, mine, claim)
            for other in near
        ):
            return _kind(mine, near[0])
    return None


def opposed_across(claim: str, passage: str, nearest: str) -> str | None:
    """The same across languages, where clauses meet by their numbers and names alone; `nearest`
    is the clause that an embedder finds nearest, for a claim of one clause without such."""
    mine = clauses(claim)
    for clause in mine:
        anchors = _anchors(clause.written)
        near = [
            other
            for start, end in sentences(passage)
            if anchors & _anchors(passage[start:end])
            for other in clauses(passage[start:end])
            if anchors & _anchors(other.written) or other.written == nearest
        ]
        near = [other for other in near if other.written == nearest] or near
        if not near and len(mine) == 1 and nearest:
            near = [Clause(nearest)]
        whole = Clause(claim)
        if near and all(_is_odd(clause, o) and _is_odd(whole, o) for o in near):
            is_both = clause.negations % 2 and any(o.negations % 2 for o in clauses(passage))
            return _kind(clause, near[0]) if _opposites(clause, near[0]) or not is_both else None
    return None


@remembered
def _anchors(text: str) -> frozenset[object]:
    """What is the same in all languages: numbers and Latin names."""
    values = {q.value for q in quantities(text)}
    return frozenset(values | (set(_LATIN.findall(fold(text))) - EMPTY))


def _is_denied_elsewhere(one: Clause, other: Clause, text: str) -> bool:
    """Whether what a clause denies may be what another clause of the other's text denies."""
    if not one.negations % 2 or other.negations % 2 or _opposites(one, other):
        return False
    return any(
        clause.negations % 2 and (clause.terms & one.terms or _denies(clause, one))
        for clause in clauses(text)
    )


def _aligned(mine: Clause, claim: str, passage: str) -> list[Clause]:
    """The clauses of a passage about the same as a claim's, by shared words with sentence's too."""
    wanted = content(claim)
    scored = []
    for start, end in sentences(passage):
        sentence = passage[start:end]
        nearness = _OF_SENTENCE * len(wanted & content(sentence)) / len(wanted)
        scored += [
            (overlap + nearness, other)
            for overlap, other in _overlaps(mine, clauses(sentence))
            if overlap >= _LEAST_OVERLAP
        ]
    best = max((score for score, _ in scored), default=0.0)
    return [other for score, other in scored if score >= _AS_GOOD * best]


def _overlaps(mine: Clause, others: Sequence[Clause]) -> Iterator[tuple[float, Clause]]:
    """The overlap with each clause, and with two neighbours where both contribute: those deny what
    the one denies that denies something of the claim's clause, else what the nearer one denies."""
    found = [(_overlap(mine, other), other) for other in others]
    yield from found
    for (one_overlap, one), (two_overlap, two) in pairwise(found):
        if one.terms & mine.terms and two.terms & mine.terms:
            denying = [
                c
                for c in (one, two)
                if c.negations % 2 and (_denies(c, mine) or mine.negations % 2)
            ]
            nearer = one if one_overlap >= two_overlap else two
            both = Clause(f"{one.written}, {two.written}", (denying or [nearer])[0].negations)
            overlap = _overlap(mine, both)
            if max(one_overlap, two_overlap) < _OF_TWO * overlap:
                yield overlap, both


def _denies(one: Clause, mine: Clause) -> bool:
    """Whether what a clause denies is in another, in Chinese by the first character."""
    return any(
        head in mine.terms or (head[0] > "\u2fff" and head[0] in mine.text) for head in one.heads
    )


def _overlap(mine: Clause, other: Clause) -> float:
    meeting = mine.terms & other.terms
    if is_cjk(mine.text) and all(term.isascii() and term[0] not in "#=" for term in meeting):
        return 0.0
    shared = _weight(meeting)
    whole = _weight(mine.terms)
    if shared < min(_LEAST_SHARED, whole / 2):
        return 0.0
    return shared / whole


def _weight(found: frozenset[str]) -> int:
    return sum(_OF_MARKS if term[0] in "#=" else 1 for term in found)


def _kind(mine: Clause, other: Clause) -> str:
    return "opposite" if _opposites(mine, other) else "negated"


def _is_odd(mine: Clause, other: Clause) -> bool:
    prefixes = _prefixed(mine, other) + _prefixed(other, mine)
    return (mine.negations + other.negations + prefixes + _opposites(mine, other)) % 2 == 1


def _prefixed(mine: Clause, other: Clause) -> int:
    """Words such as "unsigned" where the other clause has "signed"."""
    return sum(
        1 for stem in _PREFIX.findall(mine.text) if content(stem) & (other.terms - mine.terms)
    )


def _opposites(mine: Clause, other: Clause) -> int:
    """The number of antonyms on different sides."""
    sides = sum({side, other.sides.get(n)} == {1, 2} for n, side in mine.sides.items())
    return sides + _turned(mine.text, other.text) + _turned(other.text, mine.text)


def _turned(mine: str, other: str) -> bool:
    """Whether one says "before" of what the other says "after"."""
    return bool(_times(_BEFORE, mine) & _times(_AFTER, other) - _times(_AFTER, mine))


def _times(pattern: re.Pattern[str], text: str) -> frozenset[str]:
    """The terms that follow before or after, in Chinese those that precede it."""
    return content(
        " ".join(filter(None, (part for m in pattern.finditer(text) for part in m.groups())))
    )
