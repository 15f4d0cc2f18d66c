"""Split claims and passages into clauses of comparable tokens.

A token is a word's stem, a Chinese character or a number's value. A clause of a table is a row with
its header. Labels ("Storage: 50 GB") stay with their text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from agentkit.knowledge.citations.evidence import ORDINAL, ROW, units
from agentkit.knowledge.citations.passages import remembered
from agentkit.knowledge.citations.polarity import EMPTY, split_clauses
from agentkit.text.numbers import is_unit, normalize, quantities
from agentkit.text.patterns import lazy_pattern
from agentkit.text.terms import fold, is_cjk, terms

_CJK = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = lazy_pattern(
    rf"[a-z]*\d[a-z0-9]*\+[a-z0-9]+|[{_CJK}]|(?:(?![{_CJK}_])\w)+|(?<=[a-z])(?:\+\+|#)"
)
_FILLERS = lazy_pattern(
    r"例如|比如|相比|对比|比例|可见|因此|所以|通常|一般|主要|负责|其中|用来|用于|称为|叫做|无法|不能|没有|不会|可以"
    r"|能够|往往|必须|需要|笔记|列举|这类|该类|这种|(?<=[^机社协聚])会(?=[^话议员计晤])"
)
_FRAMES = (
    (
        re.compile(r"[用以]([^，。用以]{1,20}?)(?:换掉|替换|代替|取代)了?([^，。]{1,20})"),
        r"把\2换成\1",
    ),
    (re.compile(r"不如|劣于|逊于|低于|弱于"), "不比"),
    (re.compile(r"优于|好于|强于|高于|胜过|超过"), "比"),
    (re.compile(r"是([^，。是]{1,20}?)的(?:一部分|分支|子集|一种|一类)"), r"属于\1"),
)
"""Chinese ways to say the same, in one form, so that the order of their parts can be compared."""
START, END = "<", ">"
_LABEL_A = lazy_pattern(
    r"(?<=[A-Za-z\u4e00-\u9fff] )A(?![\w'’.])|(?<![A-Za-z])A(?= ?[\u4e00-\u9fff])"
)
"""A that is no article: plan A."""
_ARTICLES = frozenset(["a", "an", "the", "its", "their", "his", "her", "的", "了"])


@dataclass(frozen=True)
class Tokens:
    """A clause as its tokens. `sentence` numbers the sentences, which semicolons end too. In a
    table row `columns` are the cells of the tokens, `header` is the header with the line before the
    table and `heads` the header by columns. `continues`: after "and" the subject may be that of the
    clause before. `is_item`: in a list or table, where the sentence before gives no subject."""

    tokens: tuple[str, ...]
    written: str
    sentence: int = 0
    columns: tuple[int, ...] = ()
    capitals: frozenset[str] = frozenset()
    header: tuple[str, ...] = ()
    heads: tuple[tuple[str, ...], ...] = ()
    continues: bool = False
    is_item: bool = False


@remembered
def tokens_of(text: str) -> tuple[str, ...]:
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
    text = fold(_LABEL_A.sub("labela", text))
    for frame, form in _FRAMES:
        text = frame.sub(form, text)
    return [stem(word) for word in _TOKEN.findall(_FILLERS.sub(" ", text))]


@remembered
def stem(word: str) -> str:
    return word if word in EMPTY else (terms(word) or [word])[0]


def capitals_in(text: str) -> frozenset[str]:
    """The names of a text: capitalised words within it, in Chinese all Latin words."""
    text = text.strip()
    pattern = r"[A-Za-z]\w*" if is_cjk(text) else _CAPITALISED
    quoted = " ".join(re.findall(r"`([^`]+)`", text))
    words = [word for word in re.findall(pattern, text) if not is_unit(word)] + _TOKEN.findall(
        quoted
    )
    return frozenset(stem(fold(word)) for word in words)


_CAPITALISED = r"(?<![.?!]\s)(?<!^)\b[A-Z][A-Za-z]*\d*|^\W*[A-Z]\w+(?= [A-Z]\w)"


@remembered
def claim_clauses(claim: str) -> tuple[Tokens, ...]:
    """The clauses of a claim; one that says too little alone is joined with the one before."""
    parts: list[str] = []
    for part in _parts(claim):
        if not tokens_of(part):
            continue
        if parts and (_is_short(part) or (len(parts) == 1 and _is_short(parts[0]))):
            parts[-1] = f"{parts[-1]} {part}"
        else:
            parts.append(part)
    return tuple(Tokens(tokens_of(part), part, 0, (), capitals_in(part)) for part in parts)


_LEAST = {True: 4, False: 2}


def _is_short(part: str) -> bool:
    has_number = any(is_number(token) for token in tokens_of(part))
    return _size(part) < (1 if has_number else _LEAST[is_cjk(part)])


def _parts(sentence: str) -> Iterator[str]:
    """The clauses of a sentence, what is in brackets whole."""
    sentence = _BRACKETS.sub(lambda match: re.sub("[,，;；]", " ", match.group()), sentence)
    return filter(None, split_clauses(_LABEL.sub(r"\1 ", sentence)))


_BRACKETS = lazy_pattern(r"[\[(（【][^\])）】\n]{1,60}[\])）】]")
_LABEL = lazy_pattern(r"^([^，。,.:：]{1,40})[:：](?=\s*[^\s\d])")
"""A label before its text: "Storage: 50 GB"."""


def _size(part: str) -> int:
    return sum(token not in EMPTY for token in tokens_of(part))


@remembered
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
                if tokens := tokens_of(part):
                    is_rest = sentence[: sentence.find(part)].rstrip().endswith("and")
                    found.append(
                        Tokens(
                            tokens,
                            part,
                            number,
                            (),
                            capitals_in(part),
                            continues=is_rest,
                            is_item=is_item,
                        )
                    )
    return tuple(found)


def _row(text: str, number: int, header: str, lead: str) -> Tokens:
    tokens: list[str] = []
    columns: list[int] = []
    for column, cell in enumerate(text.strip().strip("|").split("|")):
        inside = tokens_of(cell)
        tokens += inside
        columns += [column] * len(inside)
    heads = tuple(tokens_of(cell) for cell in header.strip().strip("|").split("|"))
    context = tuple(token for head in heads for token in head) + tokens_of(lead)
    names = capitals_in(text)
    return Tokens(
        tuple(tokens), text, number, tuple(columns), names, context, is_item=True, heads=heads
    )


def whole_sentences(clauses: Sequence[Tokens]) -> Iterator[Tokens]:
    """The sentences of a passage, each with all its clauses, and its table rows."""
    for _, group in groupby(clauses, key=lambda clause: clause.sentence):
        yield _joined(list(group))


def _joined(clauses: Sequence[Tokens]) -> Tokens:
    first = clauses[0]
    if len(clauses) == 1:
        return first
    return Tokens(
        tuple(token for clause in clauses for token in clause.tokens),
        "，".join(clause.written for clause in clauses),
        first.sentence,
        capitals=frozenset().union(*(clause.capitals for clause in clauses)),
        is_item=first.is_item,
    )


@dataclass(frozen=True)
class Run:
    """Tokens of a clause, from `start` to `end`."""

    start: int
    end: int
    tokens: tuple[str, ...]


def matched(mine: Tokens, others: frozenset[tuple[str, ...]]) -> list[bool]:
    """Which tokens are among those of another clause: words alone, characters in pairs."""
    flags = [False] * len(mine.tokens)
    for at, token in enumerate(mine.tokens):
        if is_character(token):
            if mine.tokens[at : at + 2] in others and at + 1 < len(mine.tokens):
                flags[at] = flags[at + 1] = True
        elif (token,) in others:
            flags[at] = True
    return flags


def is_number(token: str) -> bool:
    """Whether a token is the value of a number."""
    return token[0] == "="


def is_label(token: str) -> bool:
    """Whether a character names one of several things: 甲方案, 乙方案."""
    return token in "甲乙丙丁"


def is_character(token: str) -> bool:
    return len(token) == 1 and token > "\u2fff"


@remembered
def grams(tokens: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    pairs = {tokens[at : at + 2] for at in range(len(tokens) - 1)}
    return frozenset(pairs | {(token,) for token in tokens})


def runs(mine: Tokens, flags: Sequence[bool]) -> list[Run]:
    """The unmatched stretches of content, without the function words at their ends."""
    runs = []
    start = 0
    while start < len(flags):
        if flags[start] or mine.tokens[start] in EMPTY:
            start += 1
            continue
        end = start + 1
        while end < len(flags) and not flags[end] and _joins(mine, start, end):
            end += 1
        while mine.tokens[end - 1] in EMPTY:
            end -= 1
        runs.append(Run(start, end, mine.tokens[start:end]))
        start = end
    return runs


def _joins(mine: Tokens, start: int, at: int) -> bool:
    """Whether a token continues a run: a character another, a name another."""
    if mine.columns and mine.columns[at] != mine.columns[start]:
        return False
    token = mine.tokens[at]
    if is_character(mine.tokens[start]):
        return is_character(token) and token not in EMPTY
    return (
        token not in EMPTY
        and not is_character(token)
        and not is_number(token)
        and not is_number(mine.tokens[start])
    )


def slot(clause: Tokens, run: Run) -> tuple[str, str]:
    """What is before and after a run, articles left out; its column in a table row."""
    if clause.columns:
        column = f"|{clause.columns[run.start]}"
        return column, column
    start, end = run.start, run.end
    while start and clause.tokens[start - 1] in _ARTICLES:
        start -= 1
    while end < len(clause.tokens) and clause.tokens[end] in _ARTICLES:
        end += 1
    return (
        clause.tokens[start - 1] if start else ("and" if clause.continues else START),
        clause.tokens[end] if end < len(clause.tokens) else END,
    )
