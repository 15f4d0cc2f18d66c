"""Analyse a query: which of its words carry weight, and what is not translated.

Question words, fillers and greetings of Chinese and English are left out of the keyword search:
"what is", 是什么 and 请问 stand in headings too, and would outweigh the only rare word. Words in
capitals ("IT", "WHO") and parts of identifiers are kept.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from agentkit.text.terms import characters, fold, is_cjk, names, terms

_FUNCTION_WORD = re.compile(
    "an?|the|of|to|in|on|at|by|for|from|with|about|as|and|or|but|if|than|then|so|such|that|this"
    "|these|those|there|here|its?|it's|they|them|their|he|she|his|her|we|us|our|you|your|i|me|my"
    "|i'm|i've|is|are|was|were|be|been|being|am|do|does|did|ha[sd]|have|can|could|shall|should"
    "|will|would|may|might|must|not|what|what's|which|whom?|whose|when|where|why|how|please|tell"
    "|many|much|any|some|let|just|also|give|show|know|want"
)
_GREETING = re.compile(
    "thanks?|ok|okay|hello|hi|hey|bye|goodbye|yes|no|yeah|sure|great|cool|good|fine|lot|very|again"
    "|perfect|nice"
)
_PHRASES = re.compile(
    r"\b(?:i (?:want|need|would like|'d like) to(?: know)?|(?:show|give|tell) me|let me know)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"(?<![\w.:/-])[a-z]+(?:['’][a-z]+)?(?![\w:/-]|\.\w|\()", re.IGNORECASE)
_CHANGES = re.compile(
    r"\d\.\d|\b(?:version|releas|chang|deprecat|introduc|since|new in|added|removed|fixed|when)"
    "|版本|发布|更新|变更|改动|变化|新增|弃用|移除|修复|迁移|什么时候|何时",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"(?<![A-Za-z0-9])[A-Za-z0-9]++(?:(?:[_.]|::)[A-Za-z0-9]++)+")
_CODE = re.compile(r"(?=\D{0,20}\d)[a-z0-9.]{2,40}\Z")
_CHINESE = re.compile(
    "请问一下|请问|能不能|可不可以|可以吗|是不是|有没有|能否|是否|为什么|为何|什么是|是什么|是啥|什么样"
    "|什么|怎么样|怎么办|怎么|怎样|如何|哪一个|哪一种|有哪些|哪些|哪个|哪种|哪里|哪儿|哪几[个种]|几个|几种"
    "|多少|多大|多久|告诉我|(?:介绍|解释|说明|讲|说)一下|一下|谢谢|多谢|感谢|你好|您好|好的|再见|麻烦|帮我"
    "|(?:我想|想)知道|我想|的话|[吗呢吧呀嘛么嗯哦](?=\\W|$)|(?<![目标])的(?![确士])|(?<![为除])了(?![解结])"
    "|(?<![于但可还总])是(?!非)|^请"
)


@dataclass(frozen=True, slots=True)
class Query:
    """A query's terms and characters without fillers, each once, in order. `content` is the query
    without fillers, folded; `names` are the terms that are the same in another language:
    identifiers, codes, names and numbers."""

    text: str
    content: str
    terms: tuple[str, ...]
    characters: tuple[str, ...]
    names: tuple[str, ...]
    is_cjk: bool
    asks_for_changes: bool
    """Whether a version, a release or a change is asked for."""
    is_filler: bool
    """Whether nothing is asked: thanks, a greeting, or question words alone."""


def analyze(text: str) -> Query:
    """The analysis of a query."""
    content = _without_fillers(text)
    own, within = dict.fromkeys(terms(content)), tuple(dict.fromkeys(characters(content)))
    is_filler = not own and not within and bool(terms(text))
    across = " ".join([*names(text, across=True), *_IDENTIFIER.findall(content)])
    same = dict.fromkeys([*terms(across), *(term for term in own if _CODE.match(term))])
    return Query(
        text,
        " ".join(content.split()),
        tuple(own),
        within,
        tuple(term for term in same if term in own),
        is_cjk(text),
        bool(_CHANGES.search(text)),
        is_filler,
    )


def _without_fillers(text: str) -> str:
    """The query without its fillers, "" where it has nothing else."""
    is_shouted = text.isupper() and " " in text.strip()

    def replacement(match: re.Match[str]) -> str:
        word = match[0].replace("’", "'")
        is_acronym = len(word) > 1 and word.isupper() and not is_shouted
        return match[0] if is_acronym or not _FUNCTION_WORD.fullmatch(word.lower()) else " "

    content = _WORD.sub(replacement, _PHRASES.sub(" ", text))
    content = _CHINESE.sub(" ", fold(content))
    words = re.findall(r"\w+", content.lower())
    return "" if all(_GREETING.fullmatch(word) for word in words) else content
