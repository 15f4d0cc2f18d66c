"""Split text into sentences and search terms.

A run of CJK characters yields its bigrams, everything else its words with their marks. Full and
half width, upper and lower case, traditional and simplified characters are folded; vowel points and
invisible characters are left out. Offsets are those of the original text; terms are for matching
only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

Similarity = Callable[[str, Sequence[str]], Awaitable[Sequence[float]]]
"""Computes the cosine similarity of a text with each of some sentences."""

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af\U00020000-\U0003ffff"
_CJK_RUN = re.compile(f"[{_CJK}]+")
UNSPACED = "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u1000-\u103f\u1050-\u109f\u1780-\u17d3\u17dd"
"""Thai, Lao, Burmese and Khmer, which put no space between words."""
_MARKS = (
    "\u0300-\u036f\u0483-\u0489\u0900-\u0963\u0971-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1"
    "\u0eb4-\u0ebc\u0ec8-\u0ece\u0f71-\u0f84\u0f90-\u0fbc\u102b-\u103e\u1056-\u1059\u17b4-\u17d3\u17dd"
)
"""Marks, which belong to the letter before them and are no word characters to `re`."""
WORD_CHARACTER = rf"(?:(?![{_CJK}{UNSPACED}_])[\w{_MARKS}])"
"""A pattern for one character of a word in a script that puts spaces between words."""
_UNSPACED_RUN = re.compile(f"[{UNSPACED}]+")
_CLUSTER = re.compile(f".[{_MARKS}]*")
_UNWRITTEN = re.compile(
    "[\u00ad\u180e\u200b-\u200f\u2060\ufeff\u0640\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed]|(?<=i)\u0307"
)
"""Soft hyphens, zero-width characters, Hebrew and Arabic vowel points, and the dot of a Turkish
capital I: the same word is written without them."""
_TERM = re.compile(
    rf"[{_CJK}]+|\d+(?:\.\d+)+"
    rf"|(?<![^\W_])[a-z](?:\+\+|\#)(?![\w+#])|(?:(?![{_CJK}_])[\w{_MARKS}])+"
)
_VERSION_MARK = re.compile(r"(?<![^\W_])v(?=\d+\.\d)")
_DOTTED_THOUSANDS = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{3}){2,6}(?![\d.])")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:,\d{3}){1,6}|(?: \d{3}){1,6})(?![\d,])")
_HEXADECIMAL = re.compile(r"(?<![a-z0-9])0x([0-9a-f]{4,})(?![a-z0-9])")
_LANGUAGE_NAMES = {"++": "plusplus", "#": "sharp"}
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LATIN = re.compile(r"[A-Za-z\u0370-\u03ff][A-Za-z0-9\u0370-\u03ff_+-]*")
_SENTENCE_START = re.compile(r"(?:^|[.?!]\s+)\W*([A-Za-z]+)")
_COMPOUND = re.compile(r"(?<![a-z0-9])(?=[\d.]{0,30}[a-z_-])[a-z0-9]++(?:(?:[-_.]|::)[a-z0-9]++)+")
"""A code or identifier in several parts: GPT-3, before_call, server.fs.allow; not 1.2.3."""
_DIACRITIC = re.compile("[\u00c0-\u024f\u1e00-\u1eff]")
_CLOSING = "”’」』）)】》\"'*_"
_WRAP = (
    r"(?<=[^\n]{40})(?<![:：\\|])(?<![ ]{2})\n"
    r"(?![ \t]*(?:$|[-*+>]\s|\d+[.)]\s|[#|]|```|~~~|\$\$|={3,}$|-{3,}$))"
)
"""A line break inside a sentence: after at least 40 characters, and not before a heading, list,
table, formula or code."""
_ABBREVIATIONS = (
    "Mr",
    "Mrs",
    "Ms",
    "Dr",
    "Prof",
    "St",
    "vs",
    "cf",
    "Fig",
    "Eq",
    "Vol",
    "al",
    "e.g",
    "i.e",
)
_NOT_ABBREVIATED = "".join(rf"(?<!\b{re.escape(word)})" for word in _ABBREVIATIONS)
"""A full stop after an abbreviation does not end a sentence."""
_STOP = rf"[。！？；!?;]+[{_CLOSING}]*|{_NOT_ABBREVIATED}\.[{_CLOSING}]*(?=\s|$)|\Z"
_LONGEST_SENTENCE = 10_000
"""In characters; what ends later is split there. The search takes memory for each of them."""
_UNIT = re.compile(
    rf"""
      ^[ \t]*(?P<fence>```|~~~)[\s\S]*?^[ \t]*(?P=fence)[^\n]*\n?  # a code block is one unit
    | ^[ \t]*\$\$[\s\S]*?\$\$[^\n]*\n?                              # and so is a formula
    | ^[ \t]*[#|][^\n]*?(?:{_STOP}|(?=\n))                      # a heading, a row
    | [ \t]*(?:(?:\d+[.)]|[-*+>])[ \t]+)*                           # not a sentence: "1. "
      (?:[^\n]|{_WRAP}){{1,{_LONGEST_SENTENCE}}}?(?:{_STOP}|(?=\n)(?!{_WRAP}))
    | (?:[^\n]|{_WRAP}){{{_LONGEST_SENTENCE}}}
    """,
    re.VERBOSE | re.MULTILINE,
)


def sentences(text: str) -> list[tuple[int, int]]:
    """Return (start, end) of each sentence, without white space around it. A line break ends a
    sentence unless it wraps prose. A fenced code block and a `$$` formula are one sentence each."""
    found = []
    for match in _UNIT.finditer(text):
        inside = match.group()
        stripped = inside.strip()
        if stripped:
            start = match.start() + inside.index(stripped[0])
            found.append((start, start + len(stripped)))
    return found


def fold(text: str) -> str:
    """Convert to lower case, half width and simplified characters, without vowel points and
    invisible characters."""
    if text.isascii():
        return text.lower()
    folded = _UNWRITTEN.sub("", unicodedata.normalize("NFKC", text).casefold())
    return str(_simplifier().convert(folded)) if _CJK_RUN.search(folded) else folded


def terms(text: str) -> list[str]:
    """Return the search terms of a text in order: CJK bigrams (or a single character), words and
    numbers, folded, English words stemmed; then other spellings of the same: codes and identifiers
    as one term (GPT-3 and GPT3), words without diacritics, numbers without separators."""
    folded = _VERSION_MARK.sub("", fold(text))
    found = [term for run in _TERM.findall(folded) for term in _run_terms(run)]
    return found + _spellings(folded)


def _spellings(folded: str) -> list[str]:
    """Other spellings of the codes, numbers and words of a folded text."""
    found = [_stem(re.sub(r"[^a-z0-9]", "", name)) for name in _COMPOUND.findall(folded)]
    if "0x" in folded:
        found += _HEXADECIMAL.findall(folded)
    found += [number.replace(".", "") for number in _DOTTED_THOUSANDS.findall(folded)]
    found += [re.sub("[ ,]", "", number) for number in _THOUSANDS.findall(folded)]
    if _DIACRITIC.search(folded):
        words = _TERM.findall(folded)
        found += [_stem(bare) for word in words if (bare := _bare(word)) != word]
    return found


def _bare(word: str) -> str:
    """A word without the diacritics of its Latin letters."""
    parts = unicodedata.normalize("NFD", word)
    bare = "".join(c for c in parts if not "\u0300" <= c <= "\u036f")
    return bare if bare.isascii() else word


def characters(text: str) -> list[str]:
    """Return what is looked for within runs without spaces, folded: single CJK characters, and
    pairs of letters (with their marks) of Thai, Lao, Burmese and Khmer."""
    folded = fold(text)
    found = [character for run in _CJK_RUN.findall(folded) for character in run]
    for run in _UNSPACED_RUN.findall(folded):
        letters = _CLUSTER.findall(run)
        found += [a + b for a, b in pairwise(letters)] or letters
    return found


def numbers(text: str) -> set[str]:
    """Return the numbers in a text as digits, without thousands separators."""
    return {n.replace(",", "") for n in _NUMBER.findall(unicodedata.normalize("NFKC", text))}


def is_cjk(text: str) -> bool:
    """Whether a text is written mostly in CJK characters rather than Latin words."""
    cjk = sum(len(run) for run in _CJK_RUN.findall(text))
    words = len(re.findall(r"[A-Za-z]{2,}", text))
    return cjk > words


def names(question: str, across: bool = False) -> list[str]:
    """Return the names in a question: Latin words in a Chinese one; capitalised words and those
    with digits in an English one. `across` languages only names that are not translated."""
    found = [word for word in _LATIN.findall(question) if len(word) > 1]
    if not is_cjk(question):
        starts = set(_SENTENCE_START.findall(question))
        found = [
            word
            for word in found
            if _is_coined(word) or (word[0].isupper() and word not in starts and not across)
        ]
    return [_singular(word) for word in found]


def composed(name: str) -> str:
    """Convert a name to Unicode's composed form, which macOS does not use for files."""
    return unicodedata.normalize("NFC", name)


def clean(text: str) -> str:
    """Replace lone surrogates and NULs, which stores refuse, keeping the length and offsets."""
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)


def _run_terms(run: str) -> Iterator[str]:
    if run.endswith(("++", "#")):
        yield run[0] + _LANGUAGE_NAMES[run[1:]]
    elif not _CJK_RUN.match(run):
        yield _stem(run)
    elif len(run) == 1:
        yield run
    else:
        yield from (run[at : at + 2] for at in range(len(run) - 1))


def _is_coined(word: str) -> bool:
    """Whether a word has capitals or digits inside: GPT-4o, FlashAttention, NVIDIA."""
    return any(c.isupper() or c.isdigit() for c in word[1:])


def _singular(word: str) -> str:
    """Remove a lower-case second half (GPT-like) and the s of a plural (GPUs)."""
    head, _, tail = word.partition("-")
    base = head if tail.isalpha() and tail.islower() else word
    return base[:-1] if base.endswith("s") and base[:-1].isupper() else base


@lru_cache(maxsize=50_000)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word)) if word.isascii() and word.isalpha() else word


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@cache
def _simplifier() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")
