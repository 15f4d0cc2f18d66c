"""Split text into sentences and search terms, for Chinese and Latin scripts.

A run of CJK characters yields its bigrams, everything else its words. Full and half width, upper
and lower case, traditional and simplified characters are folded. Offsets are those of the original
text; terms are for matching only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

Similarity = Callable[[str, Sequence[str]], Awaitable[Sequence[float]]]
"""Computes the cosine similarity of a text with each of some sentences."""

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af\U00020000-\U0003ffff"
_CJK_RUN = re.compile(f"[{_CJK}]+")
_TERM = re.compile(rf"[{_CJK}]+|\d+(?:\.\d+)+|(?:(?![{_CJK}_])\w)+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LATIN = re.compile(r"[A-Za-z\u0370-\u03ff][A-Za-z0-9\u0370-\u03ff_+-]*")
_SENTENCE_START = re.compile(r"(?:^|[.?!]\s+)\W*([A-Za-z]+)")
_COMPOUND = re.compile(r"(?<![a-z0-9])[a-z0-9]++(?:-[a-z0-9]++)+")
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
_UNIT = re.compile(
    rf"""
      ^[ \t]*(?P<fence>```|~~~)[\s\S]*?^[ \t]*(?P=fence)[^\n]*\n?  # a code block is one unit
    | ^[ \t]*\$\$[\s\S]*?\$\$[^\n]*\n?                              # and so is a formula
    | ^[ \t]*[#|][^\n]*?(?:{_STOP}|(?=\n))                      # a heading, a row
    | [ \t]*(?:(?:\d+[.)]|[-*+>])[ \t]+)*                           # not a sentence: "1. "
      (?:[^\n]|{_WRAP})+?(?:{_STOP}|(?=\n)(?!{_WRAP}))
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
    """Convert to lower case, half width and simplified characters."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return str(_simplifier().convert(folded)) if _CJK_RUN.search(folded) else folded


def terms(text: str) -> list[str]:
    """Return the search terms of a text in order: CJK bigrams (or a single character), words and
    decimal numbers, folded, English words stemmed; then hyphenated names as one term, so that GPT-3
    matches GPT3."""
    folded = fold(text)
    found = [term for run in _TERM.findall(folded) for term in _run_terms(run)]
    return found + [name.replace("-", "") for name in _COMPOUND.findall(folded)]


def characters(text: str) -> list[str]:
    """Return the single CJK characters of a text, folded."""
    return [character for run in _CJK_RUN.findall(fold(text)) for character in run]


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


def clean(text: str) -> str:
    """Replace lone surrogates and NULs, which stores refuse, keeping the length and offsets."""
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)


def _run_terms(run: str) -> Iterator[str]:
    if not _CJK_RUN.match(run):
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
