"""Rebuild paragraphs from the lines of PDF pages: join hard breaks, drop running heads.

It uses geometry: a line that ends although the next word had fitted ends on purpose. A running head
is kept at its first appearance, so that no word is lost; page numbers are dropped. Lines come in
the order of the file's content, which is the reading order in most files; lengths are in points.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from agentkit.knowledge.loaders.pdf_page import Line

_MARGIN = 0.12
"""The share of a page's height, above and below, where running heads and page numbers stand."""
_NEAR = 4
_NUMBER = re.compile(r"(?<!\d)\d{1,5}(?!\d)", re.ASCII)
_ONLY_COUNTS = re.compile(r"[\W\d_]*(?:(?:pages?|p|of|第|页|頁|共)[\W\d_]*){0,5}", re.IGNORECASE)
_MARKER = re.compile(
    r"(?:[•◦▪●○■□‣·–—*-]\s|\(?\d{1,3}[.)](?!\d)|[（(]?[一二三四五六七八九十]{1,3}[）)、.])\s*\S"
)
_BROKEN_NUMBER = re.compile(r"\w-$")
_URL = re.compile(r"[<(\[\"']?(?:https?://|www\.|ftp://|file:/)", re.IGNORECASE)
_GOES_ON = "-/_=&?%#"
"""Characters of a URL after which it goes on in the next line."""
_PUNCTUATION = ".,;:!?()[]{}<>\"'“”‘’«»"
_FIRST_HALVES = frozenset((
    "well", "self", "ever", "long", "short", "high", "low", "full", "half", "part", "cross", "real",
    "state", "two", "three", "four", "five", "six", "ten", "so", "ill", "open", "single", "double",
    "multi", "user", "built", "first", "second", "third", "large", "small", "old", "new", "all",
))  # fmt: skip
"""Words that begin compounds with a hyphen, as in well-known."""
_SECOND_HALVES = frozenset((
    "aware", "based", "called", "defined", "dependent", "driven", "ended", "free", "friendly",
    "grained", "known", "level", "like", "only", "oriented", "powered", "purpose", "quality",
    "related", "scale", "sized", "specific", "style", "term", "wide",
))  # fmt: skip
"""Words that end them, as in user-defined."""
_BROKEN_WORD = re.compile(r"[^\W\d_]-$")
_LEADER = re.compile(r"(?:\.\s?){4,}\s*\w{1,5}$")
"""The dots of a table of contents, and the page at their end."""
_ROMAN = re.compile(r"[ivx]{1,5}")
_END = "。！？；：.!?;:…”’」』）)"
CJK = re.compile(
    "[\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff01-\uff60\U00020000-\U0003ffff]"
)


def without_running_heads(pages: Sequence[Sequence[Line]]) -> list[list[Line]]:
    """The pages without what is at the same place of nearby pages: running heads and feet after
    their first appearance, page numbers always."""
    found: dict[tuple[str, int], list[int]] = defaultdict(list)
    # Larger text than the body's is a heading, even where it repeats.
    sizes = [line.size for lines in pages for line in lines for _ in line.text[::20]]
    small = 1.05 * median(sizes) if sizes else 0.0
    for page, lines in enumerate(pages):
        for key in {key for line in lines for key in _keys(line, page) if line.size <= small}:
            found[key].append(page)
    seen: set[str] = set()
    kept = []
    for page, lines in enumerate(pages):
        inward = sorted(lines, key=lambda line: -line.bottom)
        out: set[int] = set()
        for edge in (inward, inward[::-1]):
            out |= _running(edge, page, found, len(pages), seen)
        kept.append([line for line in lines if id(line) not in out])
    return kept


def _running(
    inward: Sequence[Line],
    page: int,
    found: dict[tuple[str, int], list[int]],
    pages: int,
    seen: set[str],
) -> set[int]:
    """The lines of a page to drop, from an edge inward up to the first that does not repeat."""
    needed = 3 if pages > 2 else 2
    out: set[int] = set()
    for line in inward:
        near = {
            key: bisect_right(seen_on, page + _NEAR) - bisect_left(seen_on, page - _NEAR)
            for key, place in _keys(line, page)
            for seen_on in [found.get((key, place), [])]
        }
        number = line.text.strip("-–— ") if near else ""
        alone = number == "1" if pages == 1 else bool(_ROMAN.fullmatch(number))
        known = [key for key, count in near.items() if count >= needed]
        if not known and not alone:
            break
        if alone or _ONLY_COUNTS.fullmatch(line.text) or not seen.isdisjoint(known):
            out.add(id(line))
        seen.update(known)
    return out


def _keys(line: Line, page: int) -> Iterator[tuple[str, int]]:
    """What would repeat on another page: the line, or its rest beside a page number. A number
    inside a sentence is not a page number."""
    if _MARGIN < line.height < 1 - _MARGIN:
        return
    place = round(line.bottom)
    yield line.text, place
    only_counts = _ONLY_COUNTS.fullmatch(line.text)
    for match in _NUMBER.finditer(line.text[:200]):
        before, after = line.text[: match.start()], line.text[match.end() :]
        if only_counts or not re.search(r"\w", before) or not re.search(r"\w", after):
            yield f"{before}\0{int(match.group()) - page}\0{after}", place


@dataclass(frozen=True, slots=True)
class Usual:
    """The usual line distance of a document in font sizes, whether its pitch is fixed, and its
    words."""

    pitch: float
    fixed: bool
    words: frozenset[str]


def usual(pages: Sequence[Sequence[Line]]) -> Usual:
    """The usual spacing: a wider gap ends a paragraph, and a fixed pitch is code."""
    drops = [
        (above.bottom - below.bottom) / above.size
        for lines in pages
        for above, below in pairwise(lines)
        if _are_aligned(above, below) and 0.5 < (above.bottom - below.bottom) / above.size < 2.5
    ]
    fixed = [line.fixed for lines in pages for line in lines]
    return Usual(median(drops) if drops else 1.2, sum(fixed) > len(fixed) / 2, _words(pages))


def paragraphs(lines: Sequence[Line], usual: Usual) -> Iterator[list[str]]:
    """Blocks of paragraphs: those of a block have no white space between them."""
    block: list[str] = []
    for run in _lines_in_runs(lines, usual.pitch):
        for text, ends_block in _of_run(run, usual):
            block.append(text)
            if ends_block:
                yield block
                block = []
    if block:
        yield block


def _is_broken(before: str, after: str) -> bool:
    """Whether a line ends inside a word, a number or a URL."""
    if _URL.match(before.rsplit(None, 1)[-1]) and before[-1] in _GOES_ON:
        return True
    last = _BROKEN_WORD if after[0].isalpha() else _BROKEN_NUMBER if after[0].isdigit() else None
    return last is not None and last.search(before) is not None


def joined(before: str, after: str, words: Set[str] = frozenset()) -> str:
    """Join two pieces of a paragraph: without a space between Chinese, in a URL and at a hyphen.
    `words` are the words of the document, which tell a broken word from a compound."""
    last, first = before.rsplit(None, 1)[-1:], after.split(None, 1)[:1]
    token, follows = (last or [""])[0], (first or [""])[0]
    if _URL.match(token) and token[-1] in _GOES_ON:
        return before + after
    if _BROKEN_NUMBER.search(token) and after[:1].isdigit():
        return before + after
    if _BROKEN_WORD.search(before) and after[:1].isalpha():
        return (before[:-1] if _is_one_word(token, follows, words) else before) + after
    if CJK.match(before[-1:]) or CJK.match(after[:1]):
        return before + after
    return f"{before} {after}"


def _is_one_word(before: str, after: str, words: Set[str]) -> bool:
    """Whether a hyphen at the end of a line breaks one word, and is none of the word's own."""
    stem, rest = before[:-1].strip(_PUNCTUATION), after.strip(_PUNCTUATION)
    if not (rest[:1].islower() and stem[-1:].islower()) or "-" in stem or _URL.match(before):
        return False
    if stem.casefold() + rest in words:
        return True
    stem = stem.casefold()
    compound = len(stem) == 1 or stem in _FIRST_HALVES or rest in _SECOND_HALVES
    return not (compound or f"{stem}-{rest}" in words)


def _words(pages: Sequence[Sequence[Line]]) -> frozenset[str]:
    """The words of a document in small letters, without those that the end of a line may break."""
    found: set[str] = set()
    for lines in pages:
        broken = False
        for line in lines:
            tokens = line.text.casefold().split()
            if tokens and broken:
                del tokens[0]
            broken = bool(tokens) and tokens[-1].endswith("-")
            if broken:
                del tokens[-1]
            found.update(token.strip(_PUNCTUATION) for token in tokens)
    return frozenset(found)


def continues(before: Line, after: Line) -> bool:
    """Whether a paragraph continues across the end of a page or a column."""
    if before.text[-1:] in _END or abs(before.size - after.size) > 0.1 * before.size:
        return False
    first = after.text[:1]
    both = CJK.match(before.text[-1:]) and CJK.match(first)
    return bool(both or first.islower()) and not _MARKER.match(after.text)


def _lines_in_runs(lines: Sequence[Line], pitch: float) -> Iterator[list[Line]]:
    """Runs of lines below each other at the usual distance, in one size."""
    run: list[Line] = []
    for line in lines:
        drop = (run[-1].bottom - line.bottom) / run[-1].size if run else 0.0
        is_row = "\t" in line.text
        most = 3.0 if is_row else max(1.35 * pitch, pitch + 0.3)
        same = bool(run) and is_row == ("\t" in run[-1].text)
        if run and line.ruled and run[-1].ruled and drop > 0:
            run.append(line)
            continue
        if run and not (same and _are_aligned(run[-1], line) and 0.5 < drop < most):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _are_aligned(above: Line, below: Line) -> bool:
    """Whether two lines have one size and one column."""
    overlap = min(above.right, below.right) - max(above.left, below.left)
    return abs(above.size - below.size) <= 0.1 * above.size and overlap > 0


def _of_run(run: Sequence[Line], usual: Usual) -> Iterator[tuple[str, bool]]:
    """(paragraph, whether white space follows it) of a run of lines."""
    right = max(line.right for line in run)
    left = min(line.left for line in run)
    indented = [line.left > left + 0.8 * line.size for line in run]
    starts_left = sum(indented) > len(run) / 2
    text = run[0].text
    for before, after, is_in in zip(run, run[1:], indented[1:], strict=False):
        broken = _is_broken(before.text, after.text)
        fits = not broken and before.right + 0.3 * before.size + after.opening < right
        starts = is_in != starts_left and len(run) > 2
        listed = _MARKER.match(after.text) or _LEADER.search(before.text[-60:])
        code = after.fixed and not usual.fixed
        if fits or starts or listed or code or "\t" in before.text + after.text:
            yield text, before.text[-1:] in _END and not _MARKER.match(text)
            text = after.text
        else:
            text = joined(text, after.text, usual.words)
    yield text, True
