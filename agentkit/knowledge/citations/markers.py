"""Citation markers in an answer, also while it is streamed, and which sentences claim something.

`[1]`, `[1][2]`, `[1, 2]`, `[1-3]` and their full-width forms are markers. Brackets in code and
formulas, `[3](link)`, `[^1]`, an index such as `arr[1]`, and brackets that a quoted source has
itself are not. The caller drops numbers that no passage has.

A heading, a question, a greeting, a refusal, an introduction that ends with a colon, a table's head
and a line of symbols claim nothing. A greeting or a refusal is recognised by its first words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from agentkit.knowledge.citations.polarity import content
from agentkit.text.numbers import quantities

_NOT_PROSE = re.compile(
    r"(?P<fence>```|~~~)[\s\S]*?(?:(?P=fence)|\Z)|`[^`\n]*`"
    r"|\$\$[\s\S]*?(?:\$\$|\Z)|\\\[[\s\S]*?(?:\\\]|\Z)"
    r"|\$(?!\s)[^$\n]+(?<!\s)\$(?!\d)"
)
_BOLD = re.compile(r"\*\*[^*\n]{1,60}\*\*[:：]?$")
_HEADING = re.compile(r"#{1,6}\s|(?:[-*_]\s*){3,}$|\|?[\s:|-]+$")
_MARKS = re.compile(r"(?:(?:\d+[.)、]|[-*+>•])[ \t]+)+")
_EMPHASIS = re.compile(r"\*\*|__(?=\w)|(?<=\w)__")
_NO_CLAIM = re.compile(
    r"(?:hi|hello|hey|sure|certainly|of course|thanks|thank you|you.re welcome|great question"
    r"|sorry|i apologi[sz]e|unfortunately|i hope|hope this|let me know|feel free"
    r"|if you (?:have|need|want|would)|please (?:let|see|note|refer)|sources?:|references?:"
    r"|i (?:can(?:no|')t|could not|couldn.t|do not|don.t|did not|didn.t|found no|am unable|am not)"
    r"|there is no (?:information|passage|mention)"
    r"|(?:the|these) (?:\w+ )?(?:documents?|passages?|sources?|notes)"
    r" (?:do(?:es)? not|don.t|doesn.t|did not|contains? no|gives? no|holds? no)"
    r"|(?:none of the|no) (?:\w+ )?(?:documents?|passages?|sources?|notes))(?:\b|(?<=:))"
    r"|你好|您好|好的|当然|谢谢|感谢|不客气|抱歉|对不起|很遗憾|遗憾的是|希望(?:这|以上|对)|如果(?:你|您)"
    r"|如需|请(?:告诉|注意|参阅|参考|告知)|来源[:：]|参考资料|参考文献|以上(?:就是|内容|信息)"
    r"|我(?:无法|不能|没有|没能|只能|不知道)|(?:提供的|现有的|这些|检索到的)?(?:文档|资料|材料|来源|笔记|段落)"
    r"[里中内]?(?:都|均|并)?(?:没有|未|无法|不能|不包含)",
    re.IGNORECASE,
)
_LEAST_WORDS = 2


def masked(text: str) -> str:
    """The text with code and formulas replaced by NULs of the same length."""
    return _NOT_PROSE.sub(lambda match: "\0" * len(match.group()), text)


def plain_sentence(sentence: str) -> str:
    """A sentence without list marks and emphasis."""
    return _EMPHASIS.sub("", _MARKS.sub("", sentence.strip(), count=1)).strip()


def claims_something(sentence: str) -> bool:
    """Whether a sentence without its markers makes a claim that a source could support."""
    bare = plain_sentence(masked(sentence).replace("\0", " "))
    if not bare or _HEADING.match(bare) or _BOLD.match(sentence.strip()):
        return False
    if bare.rstrip('”"')[-1:] in set(":：?？") or _NO_CLAIM.match(bare):
        return False
    return len(content(bare)) >= _LEAST_WORDS or bool(quantities(bare))


def is_table_head(text: str, end: int) -> bool:
    """Whether the row that ends here is the head of a Markdown table."""
    return bool(re.match(r"[ \t]*\n[ \t]*\|?[ \t]*:?-{2,}[\s:|-]*(?:\n|\Z)", text[end:]))


_NUMBERS = r"[0-9０-９]{1,6}(?:\s*[-–—~～]\s*[0-9０-９]{1,6})?"
_LIST = rf"{_NUMBERS}(?:\s*[,，、;；]\s*{_NUMBERS})*"
_ONE = rf"(?:\[\s*{_LIST}\s*\](?!\()|【\s*{_LIST}\s*】|［\s*{_LIST}\s*］)"
_MARKERS = re.compile(rf"{_ONE}(?:\s?{_ONE})*")
_RANGE = re.compile(r"(\d+)\s*[-–—~～]\s*(\d+)|(\d+)")
_INDEXED = re.compile(
    r"(?:(?<![A-Za-z])[a-z]|[A-Za-z0-9]*_[A-Za-z0-9_]*|[A-Za-z]\w*\.\w+|[)\]]"
    r"|\b(?:arr|array|args|argv|buf|data|idx|items|list|ptr|row|vec))$"
)
_INDEXING = re.compile(r"\s?(?:=[^=]|==|\+=|-=|\.[a-z_]+\(|\()")
_OPEN = re.compile(r"[\[【［][^\]】］\n]{0,40}$")
_WIDEST_RANGE = 20
_CONTEXT = 10


@dataclass(frozen=True, slots=True)
class Marker:
    """A group of markers in a text, and the numbers in it that are known."""

    text: str
    numbers: tuple[str, ...]


def markers(text: str, sources: Collection[str]) -> Iterator[re.Match[str]]:
    """The groups of markers in an answer; `sources` are the texts of the passages."""
    prose = masked(text)
    for match in _MARKERS.finditer(prose):
        if not _is_index(prose, match) and not _is_quoted(text, match, sources):
            yield match


def numbers_in(group: str) -> tuple[str, ...]:
    """The numbers of a group of markers, in order, ranges expanded."""
    found: list[str] = []
    for first, last, single in _RANGE.findall(group):
        low, high = int(single or first), int(single or last)
        found += map(str, range(low, high + 1) if high - low < _WIDEST_RANGE else (low, high))
    return tuple(dict.fromkeys(found))


class MarkerStream:
    """Split streamed text into text and markers: nothing is returned before it is certain what it
    is, and the pieces joined are the text."""

    def __init__(
        self, is_known: Callable[[str], bool], sources: Callable[[], Collection[str]] = tuple
    ) -> None:
        self._is_known = is_known
        self._sources = sources
        self._text = ""
        self._emitted = 0

    def feed(self, delta: str) -> list[str | Marker]:
        """What is certain after the next piece of text."""
        self._text += delta
        return self._cut(_certain(self._text))

    def close(self) -> list[str | Marker]:
        """The rest, at the end of the text."""
        return self._cut(len(self._text))

    def _cut(self, certain: int) -> list[str | Marker]:
        found: list[str | Marker] = []
        for match in self._markers(certain):
            self._emit(found, match.start())
            numbers = tuple(n for n in numbers_in(match.group()) if self._is_known(n))
            if numbers:
                found.append(Marker(match.group(), numbers))
                self._emitted = match.end()
        self._emit(found, certain)
        return found

    def _markers(self, certain: int) -> list[re.Match[str]]:
        if not any(bracket in self._text[self._emitted : certain] for bracket in "[【［"):
            return []
        found = markers(self._text, self._sources())
        return [m for m in found if self._emitted <= m.start() and m.end() <= certain]

    def _emit(self, found: list[str | Marker], end: int) -> None:
        if self._emitted < end:
            found.append(self._text[self._emitted : end])
            self._emitted = end


def _certain(text: str) -> int:
    """How much of a text, more of which comes, can be cut: up to the first bracket that may
    still become a marker, or be one in code or in a quotation. On a line with marks of code or
    formulas nothing is certain before its end: a later mark may pair the others anew."""
    line = text.rfind("\n") + 1
    undecided = [len(text)]
    if (open_bracket := _OPEN.search(text)) is not None:
        undecided.append(open_bracket.start())
    undecided += [m.start() for m in _MARKERS.finditer(text) if len(text) - m.end() < _CONTEXT]
    if any(mark in text[line:] for mark in "`$"):
        undecided += [m.start() for m in _MARKERS.finditer(text) if m.end() > line]
    return min(undecided)


def _is_index(prose: str, match: re.Match[str]) -> bool:
    """Whether the bracket is an index of a variable: `arr[1]`, `x[1] = 2`."""
    if match.group()[0] != "[":
        return False
    before = prose[max(0, match.start() - 40) : match.start()]
    if not before or not re.search(r"[\w)\]]$", before, re.ASCII):
        return False
    is_code = bool(re.search(r"[A-Za-z_]\w*$", before, re.ASCII)) and bool(
        _INDEXING.match(prose, match.end())
    )
    return is_code or bool(_INDEXED.search(before))


def _is_quoted(text: str, match: re.Match[str], sources: Collection[str]) -> bool:
    """Whether a source has this bracket itself, with the words around it."""
    before = text[max(0, match.start() - _CONTEXT) : match.end()].lstrip()
    after = text[match.start() : match.end() + _CONTEXT].rstrip()
    around = [part for part in (before, after) if len(part) >= len(match.group()) + 4]
    return any(part in source for part in around for source in sources)
