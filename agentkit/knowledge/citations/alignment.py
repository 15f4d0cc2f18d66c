"""Align a claim with the clauses of a passage and find what was exchanged between them.

A claim mixes two statements where its best clause has another word in the place of one of the
claim's words, and that word is from another clause: the number of another row, a neighbour's name.
Each clause of the claim is compared with those that share most of its words, and the whole claim
with whole sentences; a small linear model over the features of a comparison decides. What is
paraphrased is not compared, so a synonym from elsewhere in the passage looks like an exchange.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from agentkit.knowledge.citations.clauses import (
    END,
    START,
    Run,
    Tokens,
    capitals_in,
    claim_clauses,
    grams,
    is_character,
    is_label,
    is_number,
    matched,
    passage_clauses,
    runs,
    slot,
    tokens_of,
    whole_sentences,
)
from agentkit.knowledge.citations.contrasts import (
    counts_other,
    entities_of,
    has_antonym,
    has_opposites,
    has_other_rate,
    has_reversed_numbers,
    is_misplaced,
    is_reversed,
)
from agentkit.knowledge.citations.passages import remembered
from agentkit.knowledge.citations.polarity import EMPTY, opposed
from agentkit.text.patterns import lazy_pattern
from agentkit.text.terms import is_cjk

WEIGHTS: Mapping[str, float] = {
    "borrowed": 2.53, "number": 2.16, "column": 2.39, "both": 2.15, "first": 1.94, "name": 2.15,
    "reversed": 2.59, "denied": 3.12, "antonym": 2.35, "opposite": 1.46,
    "reversed_numbers": 3.03, "rate": 3.07, "counted": 2.7, "misplaced": 2.76, "constant": -1.35,
}  # fmt: skip
"""The weight of each feature of a comparison, fitted by benchmarks/fit_support.py. Features without
effect on passages that were not fitted are left out."""


@dataclass(frozen=True)
class Comparison:
    """A claim's clause against one of the passage: features, and the words that were exchanged."""

    features: Mapping[str, float]
    exchange: tuple[str, str] | None = None

    @property
    def score(self) -> float:
        """The log odds that the claim says something else than the passage."""
        return sum(WEIGHTS[name] * value for name, value in self.features.items())


def misalignment(claim: str, passage: str, context: str) -> str | None:
    """What a claim has that its passage has otherwise, as a reason; None where it fits."""
    worst, fault = 0.0, None
    for group in comparisons(claim, passage, context):
        nearest = min(group, key=lambda one: one.score)
        if nearest.score > worst:
            worst, fault = nearest.score, nearest
    if fault is None:
        return None
    if is_cjk(claim) != is_cjk(passage) and not fault.exchange:
        return None
    if fault.exchange:
        return f"the passage has {fault.exchange[1]} there, not {fault.exchange[0]}"
    if kind := opposed(claim, passage):
        return "the passage denies it" if kind == "negated" else "the passage says the opposite"
    return "no one sentence there says this"


def comparisons(claim: str, passage: str, context: str) -> list[list[Comparison]]:
    """How each clause of a claim differs from each clause that it may be about, and the whole claim
    from each sentence. A claim is at fault where all comparisons of a group say so. Of a claim in
    another language only names and numbers are compared."""
    clauses = passage_clauses(passage)
    weights = _weights(clauses)
    parts = claim_clauses(claim)
    is_across = is_cjk(claim) != is_cjk(passage)
    whole = tuple(token for part in parts for token in part.tokens)
    entire = Tokens(whole, "" if is_across else claim, capitals=capitals_in(claim))
    is_denied = not is_across and bool(opposed(claim, passage))
    found = []
    is_merged = len(parts) == 1 and bool(_COMMA.search(claim))
    for mine in () if is_across else parts:
        mine = replace(mine, written="") if is_merged else mine
        pairs = _Pairs(mine, whole, clauses, grams(tokens_of(context)), weights, False)
        found.append(pairs.compare_all(clauses, 0.5))
    if len(parts) < 2 or not _JOINING.search(claim):
        pairs = _Pairs(entire, whole, clauses, grams(tokens_of(context)), weights, is_denied)
        found.append(pairs.compare_all(tuple(whole_sentences(clauses)), _NEAR))
    return [group for group in found if group]


_COMMA = lazy_pattern("[，,]")
_JOINING = lazy_pattern(r"\band\b|以及|并且|而且|[;；]")
"""What joins statements that need not be in one sentence."""
_MOST_COMPARED = 5
_NEAR = 0.12
_OF_SENTENCE = 0.3
_OF_NUMBERS = 1.5
"""How much more than a word a number counts."""


@dataclass(frozen=True)
class _Pairs:
    """Compares a clause of a claim with the clauses of a passage."""

    mine: Tokens
    whole: tuple[str, ...]
    clauses: tuple[Tokens, ...]
    around: frozenset[tuple[str, ...]]
    weights: Mapping[str, float]
    is_denied: bool

    def compare_all(self, others: Sequence[Tokens], near: float) -> list[Comparison]:
        """Compare with those that share most, and nearly as much as the best."""
        scored = _scored(self.mine, self.whole, others, self.weights)[:_MOST_COMPARED]
        return [self._compare(other) for score, other in scored if scored[0][0] - score < near]

    def _compare(self, other: Tokens) -> Comparison:
        """The features: `borrowed` is the share of the clause that is elsewhere in the passage, the
        others name an exchange or a contrast."""
        flags = matched(self.mine, grams(other.tokens) | grams(other.header) | self.around)
        full = self._weight([token in self.weights for token in self.mine.tokens]) or 1.0
        found = dict.fromkeys(WEIGHTS, 0.0) | self._contrasts(other)
        found["constant"] = 1.0
        exchange = None
        for run in runs(self.mine, flags):
            kinds, pair, is_elsewhere = self._exchanges(run, other)
            if is_elsewhere:
                found["borrowed"] += sum(self.weights.get(t, 0.0) for t in run.tokens) / full
            found |= dict.fromkeys(kinds, 1.0)
            exchange = exchange or pair
        return Comparison(found, exchange)

    def _weight(self, flags: Sequence[bool]) -> float:
        return _weight(self.mine, flags, self.weights)

    def _contrasts(self, other: Tokens) -> dict[str, float]:
        mine = self.mine
        entities = entities_of(self.clauses)
        has_changed_sides = is_reversed(mine, other, entities)
        features = {
            "counted": counts_other(mine, other),
            "misplaced": is_misplaced(mine, other),
            "opposite": has_opposites(mine.written, other.written) and not has_changed_sides,
            "antonym": has_antonym(mine, other),
            "reversed": has_changed_sides and not opposed(mine.written, other.written),
            "denied": self.is_denied and not has_changed_sides,
            "reversed_numbers": has_reversed_numbers(mine, other),
            "rate": has_other_rate(mine.written, other.written),
        }
        return {name: float(value) for name, value in features.items()}

    def _exchanges(self, run: Run, other: Tokens) -> tuple[set[str], tuple[str, str] | None, bool]:
        """How a run of the claim may stand in the place of another, the two, and whether the run is
        elsewhere in the passage and not in what leads to the other clause."""
        known = self.mine.tokens
        rivals = [
            rival
            for rival in runs(other, matched(other, grams(known)))
            if len(rival.tokens) > 1 or not _says_little(rival.tokens[0])
        ]
        places = list(_places(run, other, self.clauses))
        if not places:
            return set(), None, False
        kinds: set[str] = set()
        pair = None
        for home, place in places:
            for rival in rivals:
                if kind := _rivalry(self.mine, run, other, rival, home, place):
                    kinds.add(kind)
                    pair = _text(place), _text(rival)
        is_led = any(_leads(place, other, self.clauses) for _, place in places)
        return kinds - {"first"} if is_led else kinds, pair, not is_led


def _scored(
    mine: Tokens, claim: tuple[str, ...], others: Sequence[Tokens], weights: Mapping[str, float]
) -> list[tuple[float, Tokens]]:
    """The clauses that share words with a claim's, best first, by the weight of the rare words and,
    less, of what their sentence shares with the whole claim."""
    whole = Tokens(claim, "")
    sentences: dict[int, tuple[str, ...]] = {}
    for clause in others:
        sentences[clause.sentence] = sentences.get(clause.sentence, ()) + clause.tokens
    full = _weight(mine, [True] * len(mine.tokens), weights) or 1.0
    total = _weight(whole, [True] * len(claim), weights) or 1.0
    scored = []
    for clause in others:
        if shared := _weight(mine, matched(mine, grams(clause.tokens)), weights):
            around = matched(whole, grams(sentences[clause.sentence]))
            near = _OF_SENTENCE * _weight(whole, around, weights) / total
            scored.append((shared / full + near, clause))
    return sorted(scored, key=lambda pair: -pair[0])


@remembered
def _weights(clauses: tuple[Tokens, ...]) -> Mapping[str, float]:
    counts = Counter(token for clause in clauses for token in {*clause.tokens, *clause.header})
    return {
        token: math.log(1 + len(clauses) / count) * (_OF_NUMBERS if is_number(token) else 1.0)
        for token, count in counts.items()
    }


def _weight(mine: Tokens, flags: Sequence[bool], weights: Mapping[str, float]) -> float:
    return sum(
        weights.get(token, 0.0)
        for token, flag in zip(mine.tokens, flags, strict=True)
        if flag and token not in EMPTY
    )


def _leads(place: Run, other: Tokens, clauses: Sequence[Tokens]) -> bool:
    """Whether words are in another clause of a sentence, so that they may be its subject."""
    return any(
        clause.sentence == other.sentence and _find(clause.tokens, place.tokens) is not None
        for clause in clauses
        if clause is not other
    )


def _text(run: Run) -> str:
    glue = "" if is_character(run.tokens[0]) else " "
    return glue.join(token.removeprefix("=") for token in run.tokens)


def _places(run: Run, other: Tokens, clauses: Sequence[Tokens]) -> Iterator[tuple[Tokens, Run]]:
    """Where else in the passage a run is, whole or its longest part."""
    for length in range(len(run.tokens), 0, -1):
        if length < (2 if _says_little(run.tokens[0]) else 1):
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


def _says_little(token: str) -> bool:
    """Whether a token alone is no word."""
    return is_character(token) and not is_label(token)


def _find(tokens: tuple[str, ...], part: tuple[str, ...]) -> int | None:
    for at in range(len(tokens) - len(part) + 1):
        if tokens[at : at + len(part)] == part:
            return at
    return None


def _sides(one: tuple[str, str], there: tuple[str, str]) -> bool:
    """Whether two words have a neighbour in common."""
    return one[0] == there[0] != START or one[1] == there[1] != END


def _rivalry(mine: Tokens, run: Run, other: Tokens, rival: Run, home: Tokens, place: Run) -> str:
    """How a word of the other clause has the place that the claim's word has, in the claim or at
    home, "" where it has not."""
    if is_number(run.tokens[0]) != is_number(rival.tokens[0]):
        return ""
    there = slot(other, rival)
    here, at_home = slot(mine, run), slot(home, place)
    if home.columns and other.columns:
        return "column" if at_home == there else ""
    if is_number(run.tokens[0]):
        return "number" if _sides(here, there) or _sides(at_home, there) else ""
    if set(run.tokens) <= mine.capitals and set(rival.tokens) <= other.capitals:
        return "name" if _sides(here, there) or _sides(at_home, there) else ""
    if there != (START, END) and there in (here, at_home):
        return "both"
    return "first" if at_home[0] == there[0] == START else ""
