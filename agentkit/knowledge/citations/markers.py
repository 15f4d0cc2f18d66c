"""Citation markers in an answer, and which of its sentences claim something.

`[1]`, `[1][2]`, `[1, 2 and 3]`, `[1-3]`, `[^1]`, `[source 1]` and their full-width forms are
markers, as are `【1†source】`, `<passage id="1">`, a superscript after a word and `(1)` after a
clause. Brackets in code and formulas, `[3](link)`, an index such as `arr[1]` or `f(x)[1]`, an
exponent, a list's number, and brackets that a quoted source has itself are not. The caller decides
about numbers that no passage has. `[t1]` is the marker of a tool's result.

A heading, a question, a greeting, a refusal, an introduction that ends with a colon, a table's head
and a line of symbols claim nothing. A greeting or a refusal is recognised by its first words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from agentkit.knowledge.citations.polarity import content
from agentkit.text.numbers import quantities
from agentkit.text.patterns import lazy_pattern

_NOT_PROSE = lazy_pattern(
    r"(?P<fence>```|~~~)[\s\S]*?(?:(?P=fence)|\Z)|`[^`\n]*`"
    r"|\$\$[\s\S]*?(?:\$\$|\Z)|\\\[[\s\S]*?(?:\\\]|\Z)"
    r"|\$(?!\s)[^$\n]+(?<!\s)\$(?!\d)"
)
_BOLD = lazy_pattern(r"(\*\*|__)(?P<text>[^*\n]{1,60}?)\1[:：]?$")
_PREDICATE = lazy_pattern(
    r"[.!。！]$|[:：]\s*\S|\b(?:is|are|was|were|has|have|had|can|must|may|will|does|do|needs?|takes?|costs?"
    r"|holds?|uses?|gives?|supports?|runs?|becomes?|contains?|requires?)\b|[是为有占需应达可能将被把]"
)
_HEADING = lazy_pattern(r"#{1,6}\s|(?:[-*_]\s*){3,}$|\|?[\s:|-]+$")
_MARKS = lazy_pattern(r"\A(?:(?:\d+[.)、]|[-*+>•])[ \t]+)+")
_EMPHASIS = lazy_pattern(r"\*\*|__(?=\w)|(?<=\w)__")
_NO_CLAIM = lazy_pattern(
    r"(?:hi|hello|hey|sure|certainly|of course|thanks|thank you|you.re welcome|great question"
    r"|sorry|i apologi[sz]e|unfortunately|i hope|hope this|let me know|feel free"
    r"|if you (?:have|need|want|would)|please (?:let|see|note|refer)|sources?:|references?:"
    r"|i (?:can(?:no|')t|could not|couldn.t|do not|don.t|did not|didn.t|found no|am unable|am not)"
    r"|there is no (?:information|passage|mention)"
    r"|(?:the|these) (?:\w+ )?(?:documents?|passages?|sources?|notes)"
    r" (?:mention|name|cover)s? [^.]{1,80}\bbut (?:no|not|nothing|neither)\b"
    r"|(?:the|these) (?:\w+ )?(?:documents?|passages?|sources?|notes)"
    r" (?:do(?:es)? not|don.t|doesn.t|did not|contains? no|gives? no|holds? no)"
    r"|(?:none of the|no) (?:\w+ )?(?:documents?|passages?|sources?|notes))(?:\b|(?<=:))"
    r"|你好|您好|好的|当然|谢谢|感谢|不客气|抱歉|对不起|很遗憾|遗憾的是|希望(?:这|以上|对)|如果(?:你|您)"
    r"|如需|请(?:告诉|注意|参阅|参考|告知)|来源[:：]|参考资料|参考文献|以上(?:就是|内容|信息)"
    r"|我(?:无法|不能|没有|没能|只能|不知道)|(?:提供的|现有的|这些|检索到的)?(?:文档|资料|材料|来源|笔记|段落)"
    r"[里中内]?(?:(?:都|均|并)?(?:没有|未|无法|不能|不包含)|提到了?[^。]{1,80}[，,](?:但|却)?(?:没有|未))",
    re.IGNORECASE,
)
_COURTESY = lazy_pattern(
    r"(?:(?:hi|hello|hey|sure|certainly|of course|thanks|thank you|sorry|unfortunately)\b"
    r"|你好|您好|好的|当然|谢谢|抱歉|很遗憾|遗憾的是)[ ,，!！:：]*",
    re.IGNORECASE,
)
"""What may stand before a claim. It is judged where a number follows."""
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
    if not bare or _HEADING.match(bare) or _is_bold_heading(sentence.strip()):
        return False
    if bare.rstrip('”"')[-1:] in set(":：?？"):
        return False
    if (opener := _COURTESY.match(bare)) and quantities(bare[opener.end() :]):
        return True
    if _NO_CLAIM.match(bare):
        return False
    return len(content(bare)) >= _LEAST_WORDS or bool(quantities(bare))


def _is_bold_heading(sentence: str) -> bool:
    """Whether a line that is bold from end to end names something and states nothing."""
    bold = _BOLD.match(sentence)
    return bold is not None and not _PREDICATE.search(bold["text"].strip())


def is_table_head(text: str, end: int) -> bool:
    """Whether the row that ends here is the head of a Markdown table."""
    return bool(re.match(r"[ \t]*\n[ \t]*\|?[ \t]*:?-{2,}[\s:|-]*(?:\n|\Z)", text[end:]))


_NUMBER = r"t?[0-9０-９]{1,6}"
_NUMBERS = rf"{_NUMBER}(?::[0-9]{{1,3}}(?=†))?(?:\s*[-–—~～]\s*{_NUMBER})?"
_BETWEEN = r"(?:\s*[,，、;；&]\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+|\s*[和与及]\s*)"
_LIST = rf"{_NUMBERS}(?:{_BETWEEN}{_NUMBERS})*"
_LABEL = (
    r"(?:(?:[Ss]ource|[Pp]assage|[Cc]itation|[Rr]ef|[Rr]eference|[Dd]oc|[Dd]ocument|[Cc]ite|id)s?"
    r"|来源|段落|资料|引用|参考|文档)[ \t]*[:：#.]?[ \t]*"
)
_INSIDE = rf"\s*(?:\^|#|{_LABEL})?{_LIST}(?:\s*†[^\]】\n]{{0,40}})?\s*"
_TAG = "(?:passage|source|cite|ref)"
_RAISED = r"[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}"
_BRACKETS = rf"(?:[\[【［〔]{_INSIDE}(?:\](?!\()|[】］〕])|[(（]\s*{_LABEL}{_LIST}\s*[)）])"
_TAGS = (
    rf"<sup>\s*\[?{_LIST}\]?\s*</sup>"
    rf"|<{_TAG}\s+id=[\"']?{_NUMBER}[\"']?[^>\n]{{0,80}}>(?:</{_TAG}>)?"
)
_ROUND = (
    r"[(（][0-9０-９]{1,2}(?:\s*[,，、]\s*[0-9０-９]{1,2})*[)）]"
    r"(?=[.,;:!?。，；！？：]|[ \t]?(?:\n|\Z))(?!,? ?(?:(?:and|or) )?[(（]\d)"
)
_MARKERS = lazy_pattern(
    rf"(?P<clear>(?!\s)(?:\s?{_BRACKETS})+|{_TAGS})"
    rf"|(?P<raised>{_RAISED}(?:[,⁻–]{_RAISED})*)|(?P<round>{_ROUND})"
)
_START_OF_MARKER = lazy_pattern("[\\[【［〔(（<⁰¹²³⁴⁵⁶⁷⁸⁹]")
_RANGE = lazy_pattern(r"(t?)(\d+)(?:\s*[-–—~～⁻]\s*t?(\d+))?")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹", "0123456789")
_VARIABLE = lazy_pattern(
    r"(?<![A-Za-z])(?:\w*[_.])?(?:arr|args|argv|buf|idx|ptr|vec|dict|kwargs)$"
    r"|\w[_.](?:array|list|data|items?|rows?|values?|keys|names|tokens|lines|map|queue|stack|shape)$"
    r"|(?<![\w.])(?:self|this|sys|os|np|obj)\.[\w.]+$"
    r"|[A-Za-z_][\w.]*\([^()\n]+\)$|=\s*[A-Za-z_][\w.]*\(\)$|[A-Za-z_]\w*\[[\w:+, -]*\]$"
)
_LETTER = lazy_pattern(r"(?:\b([A-Za-z]+)[ ])?(?<![A-Za-z0-9_.'’-])[a-z]$")
_NOT_BEFORE_A_LABEL = """
a an the of in at to for from with and or is are as by read set get use let sort print where if on
value values index element variable matrix vector array list call calls into over
"""
_NO_NOUN = frozenset(_NOT_BEFORE_A_LABEL.split())
_INDEXING = lazy_pattern(r"\s?(?:=[^=]|==|\+=|-=)|\.[a-z_]+\(|\(")
_NUMBERED = lazy_pattern(
    r"(?:\b(?:equation|eq|formula|figure|fig|table|step|section|item|case|option|chapter|part|line|page"
    r"|level|note|type|class|rule|no|one|two|three|four|five|six|seven|eight|nine|ten)\.?"
    r"|公式|式|图|表|步骤?|节|项|条|款|方程)\s*$",
    re.IGNORECASE,
)
_IN_A_COUNT = lazy_pattern(r"[:：]\s*$|[(（]\d{1,2}[)）]\W*(?:(?:and|or) |[和与及])?$")
_UNIT_OR_FUNCTION = lazy_pattern(
    r"(?:\b(?:sec|mol|min|inch|feet|foot|met(?:re|er)s?|miles?|rad|deg|sin|cos|tan|log|exp)|[米里尺寸])$"
)
_WIDEST_RANGE = 20
_CONTEXT = 12


def markers(text: str, sources: Collection[str]) -> Iterator[re.Match[str]]:
    """The groups of markers in an answer; `sources` are the texts of the passages."""
    if not _START_OF_MARKER.search(text):
        return
    prose = masked(text)
    for match in _MARKERS.finditer(prose):
        if _is_marker(prose, match) and not _is_quoted(text, match, sources):
            yield match


def numbers_in(group: str) -> tuple[str, ...]:
    """The numbers of a group of markers, in order, ranges expanded: "1" of a passage, "t1" of a
    tool's result."""
    found: list[str] = []
    group = re.sub(r"(?::\d+)?†[^\]】〕\n]*", "", group).translate(_SUPERSCRIPTS)
    for kind, first, last in _RANGE.findall(group):
        low, high = int(first), int(last or first)
        numbers = range(low, high + 1) if high - low < _WIDEST_RANGE else (low, high)
        found += [f"{kind}{number}" for number in numbers]
    return tuple(dict.fromkeys(found))


def _is_marker(prose: str, match: re.Match[str]) -> bool:
    """Whether what has the form of a marker is none of the other things that have it."""
    before = prose[max(0, match.start() - 60) : match.start()]
    if match["raised"] or match.group().startswith("<sup>"):
        return _follows_word(before.removesuffix(" ") if match["clear"] else before)
    if match["round"]:
        return _ends_clause(before)
    is_definition = prose[match.end() : match.end() + 1] == ":" and before[-1:] in ("", "\n")
    return not (
        is_definition or "0" in numbers_in(match.group()) or _is_index(prose, before, match)
    )


def _follows_word(before: str) -> bool:
    """Whether a superscript refers to what precedes it and is no exponent."""
    if _UNIT_OR_FUNCTION.search(before):
        return False
    return bool(
        re.search(
            r"[A-Za-z]{3}$|[\u4e00-\u9fff]$|[.,;:!?。，；！？：”\"%]$|\s[^()]*\)$|</sup>$", before
        )
    )


def _ends_clause(before: str) -> bool:
    """Whether `(1)` follows a statement: it counts nothing, calls nothing and begins no item."""
    is_call = re.search(r"[A-Za-z_]\w*$", before, re.ASCII)
    is_first = not re.search(r"\w", before[before.rfind("\n") + 1 :])
    is_counted = _NUMBERED.search(before) or _IN_A_COUNT.search(before)
    return not (is_call or is_first or is_counted)


def _is_index(prose: str, before: str, match: re.Match[str]) -> bool:
    """Whether the bracket is an index of a variable: `arr[1]`, `x[1] = 2`."""
    if match.group()[0] != "[" or not re.search(r"[\w)\]]$", before, re.ASCII):
        return False
    is_name = re.search(r"[A-Za-z_]\w*$", before, re.ASCII)
    if (is_name and _INDEXING.match(prose, match.end())) or _VARIABLE.search(before):
        return True
    if (letter := _LETTER.search(before)) is None:
        return False
    is_noun = letter[1] and letter[1].lower() not in _NO_NOUN
    return not (is_noun and re.match(r"\s*(?:[.,;:!?)]|\Z)", prose[match.end() : match.end() + 2]))


def _is_quoted(text: str, match: re.Match[str], sources: Collection[str]) -> bool:
    """Whether a source has this bracket itself, with the words around it."""
    before = text[max(0, match.start() - _CONTEXT) : match.end()].lstrip()
    after = text[match.start() : match.end() + _CONTEXT].rstrip()
    around = [part for part in (before, after) if len(part) >= len(match.group()) + 4]
    return any(part in source for part in around for source in sources)
