"""Keyword retrieval: BM25 over terms (CJK bigrams, stemmed words) and single CJK characters.

Rare terms propose the candidates, since frequent ones are in half of all chunks; every candidate is
then scored by all terms. A share is a chunk's BM25 divided by that of one which holds each term of
the query many times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agentkit.knowledge.search.lookup import Lookup, Numbers
from agentkit.knowledge.search.query import Query

POSTINGS = 5_000
"""How many postings of terms are read to propose candidates, those of the rarest terms first."""

_CHARACTERS = 0.6
"""The weight of a single CJK character beside a bigram."""

_SATURATION, _LENGTH = 1.2, 0.75
"""BM25's k1 and b, as FTS5 has them."""

_SAMPLE = 300


@dataclass(frozen=True, slots=True)
class Words:
    """The indexed words of a chunk, separated by two spaces so that each term can be counted with
    its own on both sides."""

    terms: str
    characters: str
    length: int
    """The number of terms."""

    @classmethod
    def of(cls, terms: str, characters: str) -> Words:
        length = terms.count(" ") + 1 if terms else 0
        return cls(f" {terms.replace(' ', '  ')} ", characters, length)


@dataclass(frozen=True, slots=True)
class KeywordQuery:
    """A query's terms and characters with their inverse document frequencies."""

    terms: dict[str, float]
    characters: dict[str, float]

    @property
    def ceiling(self) -> float:
        """The BM25 of a chunk that holds each of them many times."""
        total = sum(self.terms.values()) + _CHARACTERS * sum(self.characters.values())
        return (1 + _SATURATION) * total

    def weight(self, words: Words, average: float) -> float:
        """The BM25 of a chunk; `average` is the average number of terms."""
        norm = _SATURATION * (1 - _LENGTH + _LENGTH * words.length / average)
        score = 0.0
        for term, idf in self.terms.items():
            if count := words.terms.count(f" {term} "):
                score += idf * count / (count + norm)
        for character, idf in self.characters.items():
            if count := words.characters.count(character):
                score += _CHARACTERS * idf * count / (count + _SATURATION)
        return (1 + _SATURATION) * score


class KeywordRetriever:
    """Keyword search in one index."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._generation = -1
        self._length = 1.0

    def weighed(self, query: Query) -> KeywordQuery:
        """The terms of a query with their weights."""
        return KeywordQuery(
            {term: self._idf(term, "terms") for term in query.terms},
            {c: self._idf(c, "characters") for c in query.characters},
        )

    def weighed_names(self, query: Query) -> KeywordQuery:
        """The terms of a query that are not translated, with their weights; those that the index
        does not hold are left out."""
        held = [term for term in query.names if self._lookup.frequency(term)]
        return KeywordQuery({term: self._idf(term, "terms") for term in held}, {})

    def candidates(self, query: KeywordQuery, k: int, allowed: Numbers | None) -> list[int]:
        """The chunks that best match by their rare terms, among the allowed. With filters all
        terms count, since the rare ones may be in other documents."""
        column, held = "terms", [(self._lookup.frequency(t), t) for t in query.terms]
        if not any(frequency for frequency, _ in held):
            column = "characters"
            held = [(self._lookup.frequency(t, column), t) for t in query.characters]
        chosen, postings = list[str](), 0
        for frequency, term in sorted(held):
            postings += frequency
            if chosen and postings > POSTINGS and allowed is None:
                break
            if frequency:
                chosen.append(term)
        return self._lookup.matching(chosen, k, allowed, column)

    def words(self, numbers: Iterable[int]) -> dict[int, Words]:
        found = self._lookup.indexed_words(numbers)
        return {number: Words.of(*columns) for number, columns in found.items()}

    def shares(self, query: KeywordQuery, words: Mapping[int, Words]) -> dict[int, float]:
        """Number -> share of the highest possible BM25."""
        if not query.ceiling:
            return dict.fromkeys(words, 0.0)
        average, ceiling = self._average(), query.ceiling
        return {n: query.weight(found, average) / ceiling for n, found in words.items()}

    def _idf(self, term: str, column: str) -> float:
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
