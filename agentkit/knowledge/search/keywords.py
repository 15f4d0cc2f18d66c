"""The keyword leg: BM25 over terms (CJK bigrams, stemmed words) and single CJK characters.

Rare terms propose the passages, for frequent ones are in half of them; every proposed passage is
then weighed by all terms. A share is what a passage gets of what one would that held each term of
the question many times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentkit.knowledge.index.scan import holds_cjk
from agentkit.knowledge.search.lookup import Lookup, Numbers
from agentkit.text.terms import characters, terms

POSTINGS = 5_000
"""How many places of terms are looked at to propose passages, the rarest terms' first."""

_CHARACTERS = 0.6
"""The weight of a single CJK character beside a bigram."""

_SATURATION, _LENGTH = 1.2, 0.75
"""BM25's k1 and b, as FTS5 has them."""

_SAMPLE = 300


@dataclass(frozen=True, slots=True)
class Words:
    """What the full text holds of a passage, two blanks between any two, so that each term can be
    counted between its own."""

    terms: str
    characters: str
    length: int
    """How many terms."""

    @classmethod
    def of(cls, terms: str, characters: str) -> Words:
        length = terms.count(" ") + 1 if terms else 0
        return cls(f" {terms.replace(' ', '  ')} ", characters, length)

    @property
    def is_cjk(self) -> bool:
        found = (len(self.characters) + 1) // 2
        return holds_cjk(found, max(0, self.length - found))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A question's terms and characters with their rarities (inverse document frequencies)."""

    terms: dict[str, float]
    characters: dict[str, float]

    @property
    def ceiling(self) -> float:
        """What a passage would get that held each of them many times."""
        total = sum(self.terms.values()) + _CHARACTERS * sum(self.characters.values())
        return (1 + _SATURATION) * total

    def weight(self, words: Words, average: float) -> float:
        """BM25 of a passage; `average` is the usual number of terms."""
        norm = _SATURATION * (1 - _LENGTH + _LENGTH * words.length / average)
        got = 0.0
        for term, rarity in self.terms.items():
            if count := words.terms.count(f" {term} "):
                got += rarity * count / (count + norm)
        for character, rarity in self.characters.items():
            if count := words.characters.count(character):
                got += _CHARACTERS * rarity * count / (count + _SATURATION)
        return (1 + _SATURATION) * got


class KeywordLeg:
    """Keywords of one index."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._generation = -1
        self._length = 1.0

    def wanted(self, query: str) -> Wanted:
        """What a text asks for."""
        return Wanted(
            {term: self._rarity(term, "terms") for term in dict.fromkeys(terms(query))},
            {c: self._rarity(c, "characters") for c in dict.fromkeys(characters(query))},
        )

    def proposed(self, wanted: Wanted, k: int, allowed: Numbers | None) -> list[int]:
        """The passages that best match by their rare terms, of the allowed. Under filters all
        terms count, for the rare ones may stand elsewhere."""
        chosen, postings = list[str](), 0
        for frequency, term in sorted((self._lookup.frequency(t), t) for t in wanted.terms):
            postings += frequency
            if chosen and postings > POSTINGS and allowed is None:
                break
            if frequency:
                chosen.append(term)
        return self._lookup.matching(chosen, k, allowed)

    def words(self, numbers: Iterable[int]) -> dict[int, Words]:
        found = self._lookup.indexed_words(numbers)
        return {number: Words.of(*columns) for number, columns in found.items()}

    def shares(self, wanted: Wanted, words: Mapping[int, Words]) -> dict[int, float]:
        """Number -> share of the possible BM25, 0 where nothing is shared."""
        if not wanted.ceiling:
            return dict.fromkeys(words, 0.0)
        average, ceiling = self._average(), wanted.ceiling
        return {n: wanted.weight(found, average) / ceiling for n, found in words.items()}

    def _rarity(self, term: str, column: str) -> float:
        """The inverse document frequency, as FTS5 weighs it."""
        holding = self._lookup.frequency(term, column)
        return max(1e-6, math.log((self._lookup.count - holding + 0.5) / (holding + 0.5)))

    def _average(self) -> float:
        """The average number of terms of a chunk, from a sample."""
        generation = self._lookup.refresh()
        if generation != self._generation:
            sample = self._lookup.indexed_words(self._lookup.spread_numbers(_SAMPLE))
            lengths = [len(found.split()) for found, _ in sample.values()]
            self._length = max(1.0, sum(lengths) / max(1, len(lengths)))
            self._generation = generation
        return self._length
