"""Align a claim with the clauses of a passage and find what was exchanged between them.

A claim mixes two statements where its best clause has another word in the place of one of the
claim's words, and that word is from another clause: the number of another row, a neighbour's name.
It reverses one where two things have changed sides around the same verb. Words are compared by
their stems, Chinese by its characters; what is paraphrased is not compared.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from agentkit.knowledge.citations.evidence import ORDINAL, ROW, units
from agentkit.knowledge.citations.polarity import Clause, opposed
from agentkit.text.numbers import is_unit, normalize, quantities
from agentkit.text.terms import fold, is_cjk, terms

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(
    rf"[a-z]*\d[a-z0-9]*\+[a-z0-9]+|[{_CJK}]|(?:(?![{_CJK}_])\w)+|(?<=[a-z])(?:\+\+|#)"
)
_SPLIT = re.compile(
    r"[，；;。！？!?\n：]|:(?!\d)|,(?!\s?\d)|(?<=[A-Za-z\d%)\]])\.(?=\s|$)"
    r"|\b(?:but|although|though|while|whereas|because|unless)\b|(?=\bwhich\b|\binstead of\b|\brather than\b)"
    r"|而且|并且|(?=而不|而是|而非|但是?|(?<!正)则)"
)
_FUNCTION_WORDS = """
a an the of to in on at by for from with and or as is are was were be been being it its them we us
our you your i me my this that these those there their they he she his her which who whom will would
can could may might must should shall do does did has have had than then so such into over about
under through during between per until since once
some any all each every only also more most very just up out if when not no never without too now
的 了 在 是 和 也 都 就 会 能 这 那 其 它 被 把 从 到 等 于 为 由 用 以 而 且 又 要 须 再 仍 还 很 只 更 之 所 将 让 使
给 对 向 个 有 一 不 没 做 时 每 里 中 上 下 得 地 着 与 及 或 他 她 们 该 此 各 约 共
"""
_EMPTY = frozenset(_FUNCTION_WORDS.split())
_FILLERS = re.compile(
    r"例如|比如|可见|因此|所以|通常|一般|主要|负责|其中|用来|用于|称为|叫做|无法|不能|没有|不会|可以|能够|往往|必须|需要|笔记|列举|这类|该类|这种"
)
_SAME = {"与": "和", "及": "和", "跟": "和"}
_START, _END = "<", ">"
_ARTICLES = frozenset("a an the its their his her 的 了".split())


@dataclass(frozen=True)
class Tokens:
    """A clause as its tokens, of a sentence or a part of it that semicolons separate. `columns`
    are the cells of a table row that they are in, `header` the words of its header
    and the line before the table, `heads` the header by columns.
    `continues`: after "and" the subject may be that of the clause before. `is_item`: of a list or
    table, where the subject is never that of the sentence before."""

    tokens: tuple[str, ...]
    written: str
    sentence: int = 0
    columns: tuple[int, ...] = ()
    capitals: frozenset[str] = frozenset()
    header: tuple[str, ...] = ()
    heads: tuple[tuple[str, ...], ...] = ()
    continues: bool = False
    is_item: bool = False


@lru_cache(maxsize=4_000)
def _tokens_of(text: str) -> tuple[str, ...]:
    text = normalize(text)
    found: list[str] = []
    reached = 0
    for quantity in quantities(text):
        if text[max(0, quantity.start - 1) : quantity.start] == "+":
            continue
        found += _words(text[reached : quantity.start])
        found.append(f"={quantity.bare:g}")
        reached = max(reached, quantity.end)
    return tuple(found + _words(text[reached:]))


def _words(text: str) -> list[str]:
    text = _REPLACED.sub(r"把\2换成\1", text) if "用" in text or "以" in text else text
    text = _FILLERS.sub(
        " ", _PART_OF.sub(r"属于\1", _BETTER.sub("比", _WORSE.sub("不比", fold(text))))
    )
    return [_SAME.get(word, _stem(word)) for word in _TOKEN.findall(text)]


_PART_OF = re.compile(r"是([^，。是]{1,20}?)的(?:一部分|分支|子集|一种|一类)")
_REPLACED = re.compile(r"[用以]([^，。用以]{1,20}?)(?:换掉|替换|代替|取代)了?([^，。]{1,20})")
_WORSE = re.compile(r"不如|劣于|逊于|低于|弱于")
_BETTER = re.compile(r"优于|好于|强于|高于|胜过|超过")


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    return word if word in _EMPTY else (terms(word) or [word])[0]


def _capitals(text: str) -> frozenset[str]:
    """The names of a text: capitalised words within it, in Chinese all Latin words."""
    text = text.strip()
    pattern = r"[A-Za-z]\w*" if is_cjk(text) else _CAPITALISED
    quoted = " ".join(re.findall(r"`([^`]+)`", text))
    words = [word for word in re.findall(pattern, text) if not is_unit(word)] + _TOKEN.findall(
        quoted
    )
    return frozenset(_stem(fold(word)) for word in words)


_CAPITALISED = r"(?<![.?!]\s)(?<!^)\b[A-Z][A-Za-z]*\d*|^\W*[A-Z]\w+(?= [A-Z]\w)"


@lru_cache(maxsize=1_000)
def claim_clauses(claim: str) -> tuple[Tokens, ...]:
    """The clauses of a claim; one that says too little alone is joined with the one before."""
    parts: list[str] = []
    for part in _parts(claim):
        if not _tokens_of(part):
            continue
        if parts and (_is_short(part) or (len(parts) == 1 and _is_short(parts[0]))):
            parts[-1] = f"{parts[-1]} {part}"
        else:
            parts.append(part)
    return tuple(Tokens(_tokens_of(part), part, 0, (), _capitals(part)) for part in parts)


_LEAST = {True: 4, False: 2}


def _is_short(part: str) -> bool:
    has_number = any(token[0] == "=" for token in _tokens_of(part))
    return _size(part) < (1 if has_number else _LEAST[is_cjk(part)])


def _parts(sentence: str) -> Iterator[str]:
    """The clauses of a sentence; "and" separates two that both say something."""
    for part in _SPLIT.split(_LABEL.sub(r"\1 ", sentence)):
        reached = 0
        for match in re.finditer(r"\band\b", part):
            if _size(part[reached : match.start()]) > 2 and _size(part[match.end() :]) > 1:
                yield part[reached : match.start()]
                reached = match.end()
        yield part[reached:]


_LABEL = re.compile(r"^([^，。,.:：]{1,40})[:：](?=\s*[^\s\d])")
"""A label before what is said of it: "Storage: 50 GB"."""


def _size(part: str) -> int:
    return sum(token not in _EMPTY for token in _tokens_of(part))


@lru_cache(maxsize=1_000)
def passage_clauses(passage: str) -> tuple[Tokens, ...]:
    """The clauses of a passage; a table row is one, with the cells of its header."""
    found: list[Tokens] = []
    number = 0
    for unit in units(passage):
        if ROW.match(unit.text):
            number += 1
            if unit.is_body:
                found.append(_row(unit.text, number, unit.context, unit.lead))
            continue
        is_item = bool(ORDINAL.match(unit.text))
        for sentence in re.split("[;；]", ORDINAL.sub("", unit.text)):
            number += 1
            for part in _parts(sentence):
                if tokens := _tokens_of(part):
                    is_rest = sentence[: sentence.find(part)].endswith("and")
                    found.append(
                        Tokens(
                            tokens,
                            part,
                            number,
                            (),
                            _capitals(part),
                            continues=is_rest,
                            is_item=is_item,
                        )
                    )
    return tuple(found)


def _row(text: str, number: int, header: str, lead: str) -> Tokens:
    tokens: list[str] = []
    columns: list[int] = []
    for column, cell in enumerate(text.strip().strip("|").split("|")):
        inside = _tokens_of(cell)
        tokens += inside
        columns += [column] * len(inside)
    heads = tuple(_tokens_of(cell) for cell in header.strip().strip("|").split("|"))
    context = tuple(token for head in heads for token in head) + _tokens_of(lead)
    names = _capitals(text)
    return Tokens(
        tuple(tokens), text, number, tuple(columns), names, context, is_item=True, heads=heads
    )


def _whole_sentences(clauses: Sequence[Tokens]) -> Iterator[Tokens]:
    """The sentences of a passage, each with all its clauses, and its table rows."""
    for number, group in groupby(clauses, key=lambda clause: clause.sentence):
        inside = list(group)
        if len(inside) == 1:
            yield inside[0]
            continue
        yield Tokens(
            tuple(token for clause in inside for token in clause.tokens),
            "，".join(clause.written for clause in inside),
            number,
            capitals=frozenset().union(*(clause.capitals for clause in inside)),
            is_item=inside[0].is_item,
        )


@dataclass(frozen=True)
class Run:
    """Tokens of a clause, from `start` to `end`."""

    start: int
    end: int
    tokens: tuple[str, ...]


def _matched(mine: Tokens, others: frozenset[tuple[str, ...]]) -> list[bool]:
    """Which tokens are among those of another clause: words alone, characters in pairs."""
    flags = [False] * len(mine.tokens)
    for at, token in enumerate(mine.tokens):
        if _is_character(token):
            if mine.tokens[at : at + 2] in others and at + 1 < len(mine.tokens):
                flags[at] = flags[at + 1] = True
        elif (token,) in others:
            flags[at] = True
    return flags


def _is_character(token: str) -> bool:
    return len(token) == 1 and token > "\u2fff"


@lru_cache(maxsize=10_000)
def _grams(tokens: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    pairs = {tokens[at : at + 2] for at in range(len(tokens) - 1)}
    return frozenset(pairs | {(token,) for token in tokens})


def _runs(mine: Tokens, flags: Sequence[bool]) -> list[Run]:
    """The unmatched stretches of content, without the function words at their ends."""
    runs = []
    start = 0
    while start < len(flags):
        if flags[start] or mine.tokens[start] in _EMPTY:
            start += 1
            continue
        end = start + 1
        while end < len(flags) and not flags[end] and _joins(mine, start, end):
            end += 1
        while mine.tokens[end - 1] in _EMPTY:
            end -= 1
        runs.append(Run(start, end, mine.tokens[start:end]))
        start = end
    return runs


def _joins(mine: Tokens, start: int, at: int) -> bool:
    """Whether a token continues a run: a character another, a name another."""
    if mine.columns and mine.columns[at] != mine.columns[start]:
        return False
    token = mine.tokens[at]
    if _is_character(mine.tokens[start]):
        return _is_character(token) and token not in _EMPTY
    return (
        token not in _EMPTY
        and not _is_character(token)
        and token[0] != "="
        and (mine.tokens[start][0] != "=")
    )


WEIGHTS: Mapping[str, float] = {
    "deficit": 1.67, "borrowed": 1.97, "borrows": 0.21, "number": 2.08, "column": 2.29,
    "both": 2.23, "first": 1.9, "name": 2.26, "side": 0.21, "subject": 0.93, "opposed": 2.27,
    "reversed_numbers": 3.01, "rate": 3.08, "novel": 0.14, "replaced": 0.45, "antonym": 2.43,
    "opposite": 1.14, "absent": 0.75, "misplaced": 3.09, "denied": 1.81, "wide": 0.02,
    "behind": 1.93, "constant": -2.11,
}  # fmt: skip
"""The weight of each feature of a comparison, fitted by benchmarks/fit_support.py. They are
described where `_Pairs.compare` computes them."""


def misalignment(claim: str, passage: str, context: str) -> str | None:
    """What a claim has that its passage has otherwise, as a reason; None where it fits."""
    worst, fault = 0.0, None
    for group in comparisons(claim, passage, context):
        nearest = min(group, key=lambda one: one.score)
        if nearest.score > worst:
            worst, fault = nearest.score, nearest
    if fault is None or (is_cjk(claim) != is_cjk(passage) and fault.exchange is None):
        return None
    if fault.exchange and fault.exchange[1]:
        return f"the passage has {fault.exchange[1]} there, not {fault.exchange[0]}"
    if kind := opposed(claim, passage):
        return "the passage denies it" if kind == "negated" else "the passage says the opposite"
    return "no one sentence there says this"


def comparisons(claim: str, passage: str, context: str) -> list[list[Comparison]]:
    """How each clause of a claim differs from each clause that it may be about, and the whole claim
    from each sentence. A claim is at fault where all comparisons of a group say so."""
    clauses = passage_clauses(passage)
    around = _grams(_tokens_of(context))
    weights, entities = _weights(clauses), _entities(clauses)
    parts = claim_clauses(claim)
    is_across = is_cjk(claim) != is_cjk(passage)
    if is_across:
        parts = tuple(kept for part in parts if (kept := _same_in_both(part, weights)).tokens)
    whole = tuple(token for part in parts for token in part.tokens)
    denied = None if is_across else opposed(claim, passage)
    groups = [] if is_across else [(part, clauses, 0.0) for part in parts]
    all_parts = Tokens(whole, "" if is_across else claim, capitals=_capitals(claim))
    groups.append((all_parts, tuple(_whole_sentences(clauses)), 1.0))
    found = []
    for mine, others, is_wide in groups:
        scored = _scored(mine, whole, others, weights)[:_MOST_COMPARED]
        pairs = _Pairs(
            mine, whole, clauses, around, weights, entities, bool(denied) and bool(is_wide)
        )
        best = scored[0][0] if scored else 0.0
        found.append(
            [
                pairs.compare(other, best - score, is_wide)
                for score, other in scored
                if not is_wide or best - score < _AS_WIDE
            ]
        )
    return [one for one in found if one]


def _same_in_both(part: Tokens, weights: dict[str, float]) -> Tokens:
    """What a clause shares with a passage in another language: names and numbers."""
    kept = tuple(t for t in part.tokens if t in weights or t[0] == "=")
    return Tokens(kept, "", capitals=frozenset(kept))


_MOST_COMPARED = 5
_AS_WIDE = 0.12
_OF_SENTENCE = 0.3
_OF_NUMBERS = 1.5
"""How much more than a word a number counts."""


@dataclass(frozen=True)
class Comparison:
    """A claim's clause against one of the passage: features, and the words that were exchanged."""

    features: Mapping[str, float]
    exchange: tuple[str, str] | None = None

    @property
    def score(self) -> float:
        """The log odds that the claim says something else than the passage."""
        return sum(WEIGHTS[name] * value for name, value in self.features.items())


@dataclass
class _Pairs:
    """Compares a clause of a claim with the clauses of a passage."""

    mine: Tokens
    whole: tuple[str, ...]
    clauses: Sequence[Tokens]
    around: frozenset[tuple[str, ...]]
    weights: dict[str, float]
    entities: frozenset[str]
    is_denied: bool

    def compare(self, other: Tokens, behind: float, is_wide: float) -> Comparison:
        flags = _matched(self.mine, _grams(other.tokens) | _grams(other.header))
        in_context = _matched(self.mine, self.around)
        for run in _runs(self.mine, flags):
            if in_context[run.start]:
                flags[run.start : run.end] = in_context[run.start : run.end]
        known = [token in self.weights for token in self.mine.tokens]
        full = _weight(self.mine, known, self.weights) or 1.0
        found = dict.fromkeys(WEIGHTS, 0.0)
        found["deficit"] = 1 - _weight(self.mine, flags, self.weights) / full
        found["behind"] = behind
        found["constant"] = 1.0
        found["wide"] = is_wide
        there = {*other.tokens, *other.header}
        numbers = [token for token in self.mine.tokens if token[0] == "="]
        found["absent"] = float(
            any(t in self.weights and t not in there and (t,) not in self.around for t in numbers)
        )
        found["misplaced"] = float(_is_misplaced(self.mine, other))
        found["number"] = max(found["number"], float(_counts_other(self.mine, other)))
        found["opposite"] = float(_has_opposites(self.mine.written, other.written))
        found["antonym"] = float(_has_antonym(self.mine, other))
        exchange = None
        for run in _runs(self.mine, flags):
            kinds, pair = self._exchanges(run, other)
            if pair is None:
                if self._is_other_number(run, other):
                    found["number"] = 1.0
                found["novel"] += len(run.tokens) / len(self.mine.tokens)
                found["replaced"] = max(found["replaced"], self._replaces(run, other))
                continue
            if "context" not in kinds:
                found["borrows"] = 1.0
                found["borrowed"] += sum(self.weights.get(t, 0.0) for t in run.tokens) / full
            for kind in kinds - {"context"}:
                found[kind] = 1.0
                exchange = exchange or pair
        found["opposed"] = float(_is_opposed(self.mine, other, self.entities))
        found["denied"] = float(self.is_denied and not is_reversed(self.mine, other, self.entities))
        found["reversed_numbers"] = float(_has_reversed_numbers(self.mine, other))
        found["rate"] = float(_has_other_rate(self.mine.written, other.written))
        return Comparison(found, exchange)

    def _is_other_number(self, run: Run, other: Tokens) -> bool:
        if run.tokens[0][0] != "=":
            return False
        slot = _slot(self.mine, run)
        rivals = _runs(other, _matched(other, _grams(self.mine.tokens)))
        return any(
            rival.tokens[0][0] == "=" and _beside_the_same(slot, _slot(other, rival))
            for rival in rivals
        )

    def _replaces(self, run: Run, other: Tokens) -> float:
        """Whether a word that the passage does not have stands between the same two words."""
        slot = _slot(self.mine, run)
        rivals = _runs(other, _matched(other, _grams(self.whole)))
        return float(
            not set(slot) & {_START, _END}
            and not set(slot) <= _EMPTY
            and any(
                _slot(other, rival) == slot and abs(len(rival.tokens) - len(run.tokens)) < 2
                for rival in rivals
            )
        )

    def _exchanges(self, run: Run, other: Tokens) -> tuple[set[str], tuple[str, str] | None]:
        """How a run of the claim may stand in the place of another, and the two."""
        is_number = run.tokens[0][0] == "="
        given = self.mine.tokens if is_number else self.whole
        rivals = _runs(other, _matched(other, _grams(given)))
        kinds: set[str] = set()
        pair = None
        for home, place in _homes(run, other, self.clauses):
            pair = pair or (_text(place), "")
            for rival in rivals:
                if found := _rivalry(self.mine, run, other, rival, home, place):
                    kinds.add(found)
                    pair = (_text(place), _text(rival))
            subject = _subject(self.mine, other, place, self.clauses)
            if subject is place:
                kinds.add("context")
            elif subject is not None and _slot(home, place)[0] == _START:
                kinds.add("subject")
                pair = (_text(place), _text(subject))
        return kinds, pair


def _scored(
    mine: Tokens,
    claim: tuple[str, ...],
    clauses: Sequence[Tokens],
    weights: dict[str, float],
) -> list[tuple[float, Tokens]]:
    """The clauses that share words with a claim's, by the weight of the rare ones."""
    whole = Tokens(claim, "")
    sentences: dict[int, tuple[str, ...]] = {}
    for clause in clauses:
        sentences[clause.sentence] = sentences.get(clause.sentence, ()) + clause.tokens
    nearness = {
        number: _weight(whole, _matched(whole, _grams(tokens)), weights)
        for number, tokens in sentences.items()
    }
    full = _weight(mine, [True] * len(mine.tokens), weights) or 1.0
    total = _weight(whole, [True] * len(whole.tokens), weights) or 1.0
    scored = []
    for clause in clauses:
        shared = _weight(mine, _matched(mine, _grams(clause.tokens)), weights)
        if shared:
            near = _OF_SENTENCE * nearness[clause.sentence] / total
            scored.append((shared / full + near, clause))
    return sorted(scored, key=lambda pair: -pair[0])


@lru_cache(maxsize=1_000)
def _weights(clauses: tuple[Tokens, ...]) -> dict[str, float]:
    counts = Counter(token for clause in clauses for token in {*clause.tokens, *clause.header})
    return {
        token: math.log(1 + len(clauses) / count) * (_OF_NUMBERS if token[0] == "=" else 1.0)
        for token, count in counts.items()
    }


def _weight(mine: Tokens, flags: Sequence[bool], weights: dict[str, float]) -> float:
    return sum(
        weights.get(token, 0.0)
        for token, flag in zip(mine.tokens, flags, strict=True)
        if flag and token not in _EMPTY
    )


def _subject(mine: Tokens, other: Tokens, place: Run, clauses: Sequence[Tokens]) -> Run | None:
    """`place` itself where its words are in a clause just before another, in its sentence or the
    one before; else the first words of the nearest such clause that the claim does not have."""
    at = next(
        (
            n
            for n, one in enumerate(clauses)
            if one.sentence == other.sentence and one.tokens[:3] == other.tokens[:3]
        ),
        0,
    )
    for clause in reversed(clauses[:at]):
        is_same = clause.sentence == other.sentence
        if clause.sentence < other.sentence - 1 or (not is_same and other.is_item):
            return None
        start = _find(clause.tokens, place.tokens)
        if start is not None and (is_same or start == 0):
            return place
        runs = _runs(clause, _matched(clause, _grams(mine.tokens)))
        if clause.continues:
            continue
        if clause.sentence == other.sentence and runs and _slot(clause, runs[0])[0] == _START:
            return runs[0]
    return None


def _text(run: Run) -> str:
    glue = "" if _is_character(run.tokens[0]) else " "
    return glue.join(token.removeprefix("=") for token in run.tokens)


def _homes(run: Run, other: Tokens, clauses: Sequence[Tokens]) -> Iterator[tuple[Tokens, Run]]:
    """Where else in the passage a run is, whole or its longest part."""
    for length in range(len(run.tokens), 0, -1):
        if length < (2 if _is_character(run.tokens[0]) else 1):
            return
        found = False
        for at in range(len(run.tokens) - length + 1):
            part = run.tokens[at : at + length]
            for clause in clauses:
                if clause is not other and (start := _find(clause.tokens, part)) is not None:
                    found = True
                    yield clause, Run(start, start + length, part)
        if found:
            return


def _find(tokens: tuple[str, ...], part: tuple[str, ...]) -> int | None:
    for at in range(len(tokens) - len(part) + 1):
        if tokens[at : at + len(part)] == part:
            return at
    return None


def _beside_the_same(one: tuple[str, str], there: tuple[str, str]) -> bool:
    left, right = one[0] == there[0] != _START, one[1] == there[1] != _END
    return left or right


def _rivalry(mine: Tokens, run: Run, other: Tokens, rival: Run, home: Tokens, place: Run) -> str:
    """How a word of the other clause has the place that the claim's word has, in the claim or at
    home, "" where it has not."""
    if (run.tokens[0][0] == "=") != (rival.tokens[0][0] == "="):
        return ""
    slots = _slot(mine, run), _slot(home, place)
    there = _slot(other, rival)
    if home.columns and other.columns:
        return "column" if slots[1] == there else ""
    sides = [
        (one[0] == there[0] and one[0] != _START, one[1] == there[1] and one[1] != _END)
        for one in slots
    ]
    if run.tokens[0][0] == "=":
        return "number" if any(map(any, sides)) else ""
    if set(run.tokens) <= mine.capitals and set(rival.tokens) <= other.capitals:
        return "name"
    if any(one == there != (_START, _END) for one in slots):
        return "both"
    if slots[1][0] == there[0] == _START:
        return "first"
    strong = any(
        (left and there[0] not in _EMPTY) or (right and there[1] not in _EMPTY)
        for left, right in sides
    )
    return "side" if strong else ""


def _slot(clause: Tokens, run: Run, skipped: frozenset[str] = _ARTICLES) -> tuple[str, str]:
    """What is before and after a run; its column in a table row."""
    if clause.columns:
        column = f"|{clause.columns[run.start]}"
        return column, column
    start, end = run.start, run.end
    while start and clause.tokens[start - 1] in skipped:
        start -= 1
    while end < len(clause.tokens) and clause.tokens[end] in skipped:
        end += 1
    return (
        clause.tokens[start - 1] if start else ("and" if clause.continues else _START),
        clause.tokens[end] if end < len(clause.tokens) else _END,
    )


@lru_cache(maxsize=1_000)
def _entities(clauses: tuple[Tokens, ...]) -> frozenset[str]:
    """What a passage is about: its names, codes and numbers, and words of two clauses and more."""
    counts = Counter(token for clause in clauses for token in set(clause.tokens) - _EMPTY)
    names = {token for clause in clauses for token in clause.capitals}
    return frozenset(
        {t for t, n in counts.items() if n > 1}
        | names
        | {t for t in counts if t[0] == "=" or any(map(str.isdigit, t))}
    )


_RELATIONS = frozenset(["than", "比", "属", "换", "replac", "preced", "exceed", "outperform"])
"""Words whose two sides are not interchangeable, whatever stands there."""
_PASSIVE = re.compile(r"\b(?:is|are|was|were|be|been|being)\s+(\w+)(?:\s+\w+){0,2}?\s+by\b")


def _is_opposed(mine: Tokens, other: Tokens, entities: frozenset[str]) -> bool:
    """Whether two clauses deny each other: an odd number of negations, antonyms and reversals."""
    is_denied = bool(opposed(mine.written, other.written))
    return is_denied != is_reversed(mine, other, entities)


def is_reversed(mine: Tokens, other: Tokens, entities: frozenset[str]) -> bool:
    """Whether two things have changed sides around a word that both clauses have. The subject of a
    passive has changed sides already."""
    shared = [
        (at, other.tokens.index(token), token)
        for at, token in enumerate(mine.tokens)
        if mine.tokens.count(token) == 1 == other.tokens.count(token)
    ]
    passive = {
        _stem(verb)
        for text in (mine.written, other.written)
        for verb in _PASSIVE.findall(fold(text))
    }
    has_changed = bool(_PASSIVE.search(mine.written)) != bool(_PASSIVE.search(other.written))
    for number, (_, pivot, token) in enumerate(shared):
        if token in _EMPTY and token not in _RELATIONS:
            continue
        before = [there for _, there, t in shared[:number] if _counts(t, token, entities)][-1:]
        after = [there for _, there, t in shared[number + 1 :] if _counts(t, token, entities)][:1]
        if not before or not after:
            continue
        if before[0] > pivot > after[0]:
            return not (has_changed and token in passive)
        if has_changed and token in passive and before[0] < pivot < after[0]:
            return True
    return False


def _counts(token: str, pivot: str, entities: frozenset[str]) -> bool:
    return token not in _EMPTY and (token in entities or pivot in _RELATIONS)


def _has_reversed_numbers(mine: Tokens, other: Tokens) -> bool:
    """Whether two numbers follow each other the other way round: from 30 to 60, from 60 to 30."""
    last: int | None = None
    for at, token in enumerate(mine.tokens):
        if token[0] != "=" or other.tokens.count(token) != 1:
            continue
        if last is not None and _TOWARDS & set(mine.tokens[last:at]):
            before = mine.tokens[last]
            if other.tokens.index(before) > other.tokens.index(token):
                return True
        last = at
    return False


_TOWARDS = frozenset(["to", "到", "至", "成", "为"])
_ANTONYMS = dict(
    pair.split("/")
    for pair in (
        "正/反 大/小 高/低 多/少 前/后 先/后 上/下 左/右 快/慢 长/短 强/弱 增/减 升/降 开/关 始/终 头/尾 深/浅"
        " 早/晚 单/双 内/外 优/劣 好/差 轻/重 新/旧 远/近 松/紧 宽/窄 买/卖 进/出 入/出 加/减 乘/除 奇/偶 易/难 过/欠"
    ).split()
)
_ANTONYMS |= {other: one for one, other in _ANTONYMS.items()} | {
    "多": "少单",
    "单": "双多",
    "后": "前先",
}


def _has_opposites(mine: str, other: str) -> bool:
    """Whether one has a word and the other only its antonym."""
    there = Clause(other).sides
    return any({side, there.get(n)} == {1, 2} for n, side in Clause(mine).sides.items())


def _is_misplaced(mine: Tokens, other: Tokens) -> bool:
    """Whether a claim names one column of a table and gives the cell of another."""
    grams = _grams(mine.tokens)
    cells = {
        c
        for token, c in zip(other.tokens, other.columns, strict=False)
        if (token,) in grams and token not in _EMPTY and c
    }
    heads = {
        number
        for number, head in enumerate(other.heads)
        if number
        and any(
            (t,) in grams for t in head if sum(t in h for h in other.heads) == 1 and t not in _EMPTY
        )
    }
    return bool(cells and heads and not cells & heads)


def _counts_other(mine: Tokens, other: Tokens) -> bool:
    """Whether a number stands before a word that has another number before it there."""
    there: dict[str, set[str]] = {}
    for number, counted in _counted(other):
        there.setdefault(counted, set()).add(number)
    return any(number not in there.get(counted, {number}) for number, counted in _counted(mine))


def _counted(clause: Tokens) -> Iterator[tuple[str, str]]:
    tokens = [token for token in clause.tokens if token != "个"]
    for number, counted in zip(tokens, tokens[1:], strict=False):
        if number[0] == "=" and counted[0] != "=" and counted not in _EMPTY and not clause.columns:
            yield number, counted


def _has_antonym(mine: Tokens, other: Tokens) -> bool:
    """Whether a character beside the same other one is its opposite: 正方向, 反方向."""
    for at, token in enumerate(mine.tokens):
        for opposite in _ANTONYMS.get(token, ""):
            if token in other.tokens or opposite not in other.tokens or opposite in mine.tokens:
                continue
            there = other.tokens.index(opposite)
            if mine.tokens[at - 1 : at] == other.tokens[there - 1 : there] or (
                mine.tokens[at + 1 : at + 2] == other.tokens[there + 1 : there + 2] != ()
            ):
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


def _has_other_rate(mine: str, other: str) -> bool:
    """Whether both state a rate and they differ: per minute, per hour."""
    rates = [{n for n, rate in enumerate(_RATES) if rate.search(text)} for text in (mine, other)]
    return bool(rates[0] and rates[1]) and not rates[0] & rates[1]
