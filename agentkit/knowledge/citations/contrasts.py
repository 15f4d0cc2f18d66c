"""Find contrasts between a claim's clause and one of its passage: changed sides, numbers, columns.

Two things that have changed sides around a word both clauses have (A trains B, B trains A), numbers
in another order, a number before what another one counts, the cell of another column, another rate,
a word whose antonym the other clause has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from agentkit.knowledge.citations.clauses import Tokens, is_number, stem
from agentkit.knowledge.citations.passages import remembered
from agentkit.knowledge.citations.polarity import EMPTY, Clause
from agentkit.text.patterns import lazy_pattern
from agentkit.text.terms import fold


@remembered
def entities_of(clauses: tuple[Tokens, ...]) -> frozenset[str]:
    """What a passage is about: its names, codes and numbers, and words of two clauses and more."""
    counts = Counter(token for clause in clauses for token in set(clause.tokens) - EMPTY)
    names = {token for clause in clauses for token in clause.capitals}
    return frozenset(
        {t for t, n in counts.items() if n > 1}
        | names
        | {t for t in counts if is_number(t) or any(map(str.isdigit, t))}
    )


_RELATIONS = frozenset(["than", "比", "属", "换", "replac", "preced", "exceed", "outperform"])
"""Words whose two sides are not interchangeable, whatever stands there."""
_PASSIVE = lazy_pattern(r"\b(?:is|are|was|were|be|been|being)\s+(\w+)(?:\s+\w+){0,2}?\s+by\b")


def is_reversed(mine: Tokens, other: Tokens, entities: frozenset[str]) -> bool:
    """Whether two things have changed sides around a word that both clauses have: two of the
    entities, or any where the clauses have the same words. The subject of a passive has changed
    sides already."""
    shared = [
        (at, other.tokens.index(token), token)
        for at, token in enumerate(mine.tokens)
        if mine.tokens.count(token) == 1 == other.tokens.count(token)
    ]
    passive = {
        stem(verb)
        for text in (mine.written, other.written)
        for verb in _PASSIVE.findall(fold(text))
    }
    has_changed = bool(_PASSIVE.search(mine.written)) != bool(_PASSIVE.search(other.written))
    has_same_words = set(mine.tokens) - EMPTY == set(other.tokens) - EMPTY
    if has_same_words and not re.search("[,，;；]", mine.written + other.written):
        entities = frozenset(mine.tokens)
    for number, (_, pivot, token) in enumerate(shared):
        if token in EMPTY and token not in _RELATIONS:
            continue
        before = [there for _, there, t in shared[:number] if _counts(t, token, entities)]
        after = [there for _, there, t in shared[number + 1 :] if _counts(t, token, entities)]
        if not before or not after:
            continue
        is_turned = has_changed and token in passive
        have_changed = max(before) > pivot > min(after)
        if have_changed or (is_turned and before[-1] < pivot < after[0]):
            return have_changed != is_turned
    return False


def _counts(token: str, pivot: str, entities: frozenset[str]) -> bool:
    return token not in EMPTY and (token in entities or pivot in _RELATIONS)


def has_reversed_numbers(mine: Tokens, other: Tokens) -> bool:
    """Whether two numbers follow each other the other way round: from 30 to 60, from 60 to 30."""
    last: int | None = None
    for at, token in enumerate(mine.tokens):
        if not is_number(token) or other.tokens.count(token) != 1:
            continue
        between = set(mine.tokens[last + 1 : at]) if last is not None else set()
        if last is not None and between & _TOWARDS and between <= _TOWARDS | _CHANGES:
            before = mine.tokens[last]
            if other.tokens.index(before) > other.tokens.index(token):
                return True
        last = at
    return False


_TOWARDS = frozenset(["to", "到", "至", "成", "为"])
_CHANGES = frozenset(["换", "变", "升", "降", "增", "减", "加", "改"])
_OPPOSITE_CHARACTERS = """
正反 大小 高低 多少 多单 前后 先后 上下 左右 快慢 长短 强弱 增减 升降 开关 始终 头尾 深浅 早晚 单双
内外 优劣 好差 轻重 新旧 远近 松紧 宽窄 买卖 进出 入出 加减 乘除 奇偶 易难 过欠
"""
_PAIRS = [
    pair
    for both in _OPPOSITE_CHARACTERS.split()
    for pair in ((both[0], both[1]), (both[1], both[0]))
]


def has_opposites(mine: str, other: str) -> bool:
    """Whether one has a word and the other only its antonym, and both or neither is negated."""
    one, there = Clause(mine), Clause(other)
    if (one.negations - there.negations) % 2:
        return False
    return any({side, there.sides.get(n)} == {1, 2} for n, side in one.sides.items())


def is_misplaced(mine: Tokens, other: Tokens) -> bool:
    """Whether a claim names one column of a table and gives the cell of another."""
    known = set(mine.tokens) - EMPTY
    cells = {
        column
        for token, column in zip(other.tokens, other.columns, strict=False)
        if token in known and column
    }
    named = Counter(token for head in other.heads for token in head)
    heads = {
        column
        for column, head in enumerate(other.heads)
        if column and any(named[token] == 1 and token in known for token in head)
    }
    return bool(cells and heads and not cells & heads)


def counts_other(mine: Tokens, other: Tokens) -> bool:
    """Whether a number stands before a word that has another number before it there."""
    there: dict[str, set[str]] = {}
    for number, counted in _counted(other):
        there.setdefault(counted, set()).add(number)
    return any(number not in there.get(counted, {number}) for number, counted in _counted(mine))


def _counted(clause: Tokens) -> Iterator[tuple[str, str]]:
    tokens = [token for token in clause.tokens if token != "个"]
    for number, counted in pairwise(tokens):
        if (
            is_number(number)
            and not is_number(counted)
            and counted not in EMPTY
            and not clause.columns
        ):
            yield number, counted


def has_antonym(mine: Tokens, other: Tokens) -> bool:
    """Whether a character beside the same other one is its opposite: 正方向, 反方向."""
    if (Clause(mine.written).negations - Clause(other.written).negations) % 2:
        return False
    for one, opposite in _PAIRS:
        if one not in mine.tokens or opposite not in other.tokens:
            continue
        if one in other.tokens or opposite in mine.tokens:
            continue
        at, there = mine.tokens.index(one), other.tokens.index(opposite)
        before = mine.tokens[at - 1 : at], other.tokens[there - 1 : there]
        after = mine.tokens[at + 1 : at + 2], other.tokens[there + 1 : there + 2]
        if before[0] == before[1] or after[0] == after[1] != ():
            return True
    return False


_RATES = tuple(
    re.compile(rf"(?:\b(?:per|an?|each|every)\s+|/\s?){english}\b|每一?个?{chinese}|{adverb}")
    for english, chinese, adverb in (
        ("seconds?", "秒", r"(?!)"),
        ("minutes?", "分钟?", r"(?!)"),
        ("hours?", "小时", r"\bhourly\b"),
        ("days?", "[天日]", r"\bdaily\b"),
        ("weeks?", "[周星]", r"\bweekly\b"),
        ("months?", "月", r"\bmonthly\b"),
        ("years?", "年", r"\b(?:annual|yearly)"),
    )
)


def has_other_rate(mine: str, other: str) -> bool:
    """Whether both state a rate and they differ: per minute, per hour."""
    rates = [{n for n, rate in enumerate(_RATES) if rate.search(text)} for text in (mine, other)]
    return bool(rates[0] and rates[1]) and not rates[0] & rates[1]
