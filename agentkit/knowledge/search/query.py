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
_GREETINGS = "谢谢|多谢|感谢|谢了|你好|您好|好的|再见|拜拜"
_SMALL_TALK = re.compile(
    r"\W*(?:(?:thanks?|thank you|thx|ok(?:ay)?|great|cool|nice|hi|hello|hey|(?:good)?bye"
    r"|good (?:morning|evening|day)|very much|a lot|so much|again|got it|i see|perfect|good|sure"
    r"|well done|fine|yes|no|yep|yeah"
    rf"|{_GREETINGS}|好吧?|嗯|哦|明白了?|知道了|懂了|收到|嗨|辛苦了?|不错|可以|行|对|是的"
    r"|你|您|了|啦|呀|大家)\W*)+",
    re.IGNORECASE,
)
_PHRASES = re.compile(
    r"\b(?:i (?:want|need|would like|'d like) to(?: know)?|(?:show|give|tell) me|let me know"
    r"|how (?:long|often|far|big|large|old|tall|fast|deep)|what (?:kinds?|sorts?) of|used for"
    r"|what happens|(?:do|does) (?:it|this|that) (?:take|mean))\b",
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
    "请问一下|请问|什么(?:时候|时间|地方|地点)|何[时地处人]"
    "|能不能|可不可以|可以吗|是不是|有没有|要不要|会不会|能否|是否|为什么|为何|为啥|什么是"
    "|是什么意思|什么意思|(?:叫|有|做|干)?(?:什么|啥)(?:用的?|样)?|是?干嘛用?的?|怎么(?:样|办|回事)?|怎样|如何"
    "|咋(?:样|办)?|有?哪些|哪几[个种]|哪(?:一?[个种年天月日号家位里儿款类])?(?!吒)|是谁|谁"
    "|有?几(?:[个种年天月号点岁秒次条位项步倍层台块代类页章]|分钟|小时)|有?多[少大久长高快深宽重远]|告诉我"
    f"|(?:介绍|解释|说明|讲|说)一下|一下|{_GREETINGS}|麻烦|帮我"
    "|(?:我想|想)知道|我想|的话|[吗呢吧呀嘛么嗯哦](?=\\W|$)|(?<![目标])的(?![确士])|(?<![为除])了(?![解结])"
    "|(?<![于但可还总])是(?!非)|^请"
)


LONGEST = 10_000
"""The characters of a query that are read; longer ones are pasted documents."""


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
    is_small_talk: bool
    """Whether it is thanks, a greeting or a word of agreement."""


def analyze(text: str) -> Query:
    """The analysis of a query's first LONGEST characters."""
    text = text[:LONGEST]
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
        bool(_SMALL_TALK.fullmatch(text.strip() or "ok")),
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
    return "" if _SMALL_TALK.fullmatch(content.strip() or "ok") else content
