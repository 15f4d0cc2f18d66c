"""Text as search sees it: sentences, terms and folding, for Chinese and Latin scripts alike.

Chinese has no spaces: a run of CJK characters gives its bigrams, everything else its words. Full
width and half width, upper and lower case, traditional and simplified characters are folded into
one. Offsets are those of the text as given; terms are for matching only.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any

Similarity = Callable[[str, Sequence[str]], Awaitable[Sequence[float]]]
"""A question or claim and some sentences in, the cosine of each out."""

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af\U00020000-\U0003ffff"
_CJK_RUN = re.compile(f"[{_CJK}]+")
_TERM = re.compile(rf"[{_CJK}]+|\d+(?:\.\d+)+|(?:(?![{_CJK}_])\w)+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_LATIN = re.compile(r"[A-Za-z\u0370-\u03ff][A-Za-z0-9\u0370-\u03ff_+-]*")
_SENTENCE_START = re.compile(r"(?:^|[.?!]\s+)\W*([A-Za-z]+)")
_COMPOUND = re.compile(r"(?<![a-z0-9])[a-z0-9]++(?:-[a-z0-9]++)+")
_CLOSING = "”’」』）)】》\"'"
_WRAP = (
    r"(?<=[^\n]{40})(?<![:：\\|])(?<![ ]{2})\n"
    r"(?![ \t]*(?:$|[-*+>]\s|\d+[.)]\s|[#|]|```|~~~|\$\$|={3,}$|-{3,}$))"
)
"""The end of a line within a sentence: forty characters stand before it, and no heading, list,
table, formula or code begins behind it."""
_SHORT = ("Mr", "Mrs", "Ms", "Dr", "Prof", "St", "vs", "cf", "Fig", "Eq", "Vol", "al", "e.g", "i.e")
_NO_END = "".join(rf"(?<!\b{re.escape(word)})" for word in _SHORT)
"""Behind these words a full stop ends no sentence."""
_STOP = rf"[。！？；!?;]+[{_CLOSING}]*|{_NO_END}\.[{_CLOSING}]*(?=\s|$)|\Z"
_UNIT = re.compile(
    rf"""
      ^[ \t]*(?P<fence>```|~~~)[\s\S]*?^[ \t]*(?P=fence)[^\n]*\n?  # a code block is one unit
    | ^[ \t]*\$\$[\s\S]*?\$\$[^\n]*\n?                              # and so is a formula
    | ^[ \t]*[#|][^\n]*?(?:{_STOP}|(?=\n))                      # a heading, a row
    | [ \t]*(?:(?:\d+[.)]|[-*+>])[ \t]+)*                           # "1. " ends no sentence
      (?:[^\n]|{_WRAP})+?(?:{_STOP}|(?=\n)(?!{_WRAP}))
    """,
    re.VERBOSE | re.MULTILINE,
)


def sentences(text: str) -> list[tuple[int, int]]:
    """The (start, end) of each sentence, white space left out. A line ends a sentence, unless it is
    long and prose goes on below it: a writer wrapped it there. A fenced code block and a `$$`
    formula are one each."""
    found = []
    for match in _UNIT.finditer(text):
        inside = match.group()
        stripped = inside.strip()
        if stripped:
            start = match.start() + inside.index(stripped[0])
            found.append((start, start + len(stripped)))
    return found


def fold(text: str) -> str:
    """Lower case, half width, simplified characters: equal for texts that mean the same."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return str(_simplifier().convert(folded)) if _CJK_RUN.search(folded) else folded


def terms(text: str) -> list[str]:
    """The terms a text is found by: CJK bigrams (a lone character stands for itself), words and
    decimal numbers, folded and English ones stemmed, in the order of the text; then hyphened
    names as one, so that GPT-3 and GPT3 meet."""
    folded = fold(text)
    found = [term for run in _TERM.findall(folded) for term in _of_run(run)]
    return found + [name.replace("-", "") for name in _COMPOUND.findall(folded)]


def characters(text: str) -> list[str]:
    """The single CJK characters of a text, folded."""
    return [character for run in _CJK_RUN.findall(fold(text)) for character in run]


def numbers(text: str) -> set[str]:
    """The numbers written in a text, without thousands separators: what a claim stands on."""
    return {n.replace(",", "") for n in _NUMBER.findall(unicodedata.normalize("NFKC", text))}


def is_cjk(text: str) -> bool:
    """Whether a text is written mostly in CJK characters rather than Latin words."""
    cjk = sum(len(run) for run in _CJK_RUN.findall(text))
    words = len(re.findall(r"[A-Za-z]{2,}", text))
    return cjk > words


def names(question: str, across: bool = False) -> list[str]:
    """The names in a question: Latin words in a Chinese one; in an English one the capitalised
    words and those with digits, and `across` languages only those that nobody translates."""
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
    """A text that every store takes: lone surrogates and NULs become the replacement mark.
    The length does not change, so offsets hold."""
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)


def _of_run(run: str) -> Iterator[str]:
    if not _CJK_RUN.match(run):
        yield _stemmed(run)
    elif len(run) == 1:
        yield run
    else:
        yield from (run[at : at + 2] for at in range(len(run) - 1))


def _is_coined(word: str) -> bool:
    """Written with inner capitals or digits: GPT-4o, FlashAttention, NVIDIA."""
    return any(c.isupper() or c.isdigit() for c in word[1:])


def _singular(word: str) -> str:
    """Without a lower-case second half (GPT-like) and a plural's s (GPUs)."""
    head, _, tail = word.partition("-")
    base = head if tail.isalpha() and tail.islower() else word
    return base[:-1] if base.endswith("s") and base[:-1].isupper() else base


@lru_cache(maxsize=50_000)
def _stemmed(word: str) -> str:
    return str(_stemmer().stemWord(word)) if word.isascii() and word.isalpha() else word


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")


@cache
def _simplifier() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")
