"""Question analysis: the kind of answer that a question asks for, its content terms, and the sides
of a comparison, in Chinese and English."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from agentkit.knowledge.search.query import LONGEST, Query, analyze
from agentkit.text.terms import fold, terms

AnswerKind = Literal["amount", "date", "person", "code", "list", "definition", "other"]

_KINDS: tuple[tuple[AnswerKind, str], ...] = (
    (
        "amount",
        r"\bhow (?:many|much|long|large|big|tall|far|fast|old|often|deep|wide|heavy|high|small)\b"
        r"|\b(?:price|cost|size|limit|number|percentage|percent|timeout|maximum|minimum|max|min"
        r"|amount"
        r"|version|port|default|capacity|length|height|width|weight|fee|rate|score)\b"
        r"|多少|几(?:个|种|次|层|位|年|天|台|步|倍|点|岁|人|块|条|项|页|章|号|代|类)|多(?:大|长|高|久|远|重|快|深|宽|贵)"
        r"|价格|大小|数量|端口|版本|默认值|上限|下限|最大|最小|比例|费用|尺寸|速度|占用",
    ),
    (
        "date",
        r"\bwhen\b|\bwhat (?:year|date|day|time)\b|\bwhich (?:year|date|day|month)\b|\bsince\b"
        r"|\bdate\b"
        r"|何时|什么时候|什么时间|哪(?:一)?[年天月日]|日期|时间是|几[月号日点]|年份",
    ),
    ("person", r"\bwho(?:se|m)?\b|\bauthor\b|谁|作者|何人|哪位|创始人|发明者"),
    (
        "code",
        r"\b(?:commands?|options?|flags?|functions?|methods?|variables?|parameters?|arguments?|syntax"
        r"|switch|keys?|settings?|class|decorator)\b|命令|选项|函数|变量|开关|配置项|快捷键|按键|什么参数|哪个参数",
    ),
    (
        "list",
        r"\b(?:which|what) (?:\w+ ){0,3}(?:are|kinds|types|options|formats|steps|tools|ways)\b"
        r"|\b(?:list|kinds of|types of|options|supported)\b"
        r"|哪些|哪几|有几|都有|分别|列出|包括什么|种类|几种|几个",
    ),
    (
        "definition",
        r"\bwhat(?:'s| is| are| was| does)\b|\bmeaning\b|\bdefine\b|\bmean\b|\bexplain\b"
        r"|是什么|什么是|是啥|什么意思|含义|定义|指什么|何谓|介绍|解释",
    ),
    (
        "other",
        r"\bwhere\b|\bwhich (?:file|folder|directory|place|city|country)\b|\blocation\b"
        r"|哪里|哪儿|何处|在哪|什么地方|位置|路径|哪个(?:文件|目录|城市|国家)"
        r"|\bwhy\b|\breason\b|\bhow come\b|\bwhat (?:causes|for)\b|为什么|为何|原因|为啥|怎么会"
        r"|\bhow (?:do|does|can|could|should|would|to|is|are)\b|\b(?:steps|install|set ?up"
        r"|configure)\b|怎么|怎样|如何|步骤|方法|咋"
        r"|^\W*(?:is|are|was|were|does|do|did|can|could|may|must|should|will|has|have)\b"
        r"|吗\W*$|是否|能不能|可不可以|会不会|是不是|有没有|支不支持|还是",
    ),
)
_PATTERNS = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _KINDS)

_COMPARISON = re.compile(
    r"\b(?:difference|differences|compare|compared|versus|vs\.?|differ|better|rather)\b"
    r"|区别|不同|差别|差异|对比|比较|相比|还是|哪个更|异同",
    re.IGNORECASE,
)
_SIDES = (
    re.compile(
        r"\b(?:between|compare)\s+(?P<a>.+?)\s+(?:and|with|to|or|vs\.?)\s+(?P<b>.+?)\W*$", re.I
    ),
    re.compile(
        r"^(?:what(?:'s| is)? the difference\w*|how do(?:es)?|is|are)?\W*(?P<a>.+?)\s+"
        r"(?:vs\.?|versus|compared (?:to|with)|differ from|(?:different|better"
        r"|faster) than)\s+(?P<b>.+?)\W*$",
        re.I,
    ),
    re.compile(
        r"^(?P<a>.+?)(?:和|与|跟|同|、|相比于?|比起)(?P<b>.+?)"
        r"(?:之间)?(?:的|有|有什么|有何|在|哪|相比|之间)*(?:区别|不同|差别|差异|对比|比较|异同|相比|哪个|更).*$"
    ),
    re.compile(r"^(?:比较|对比)(?:一下)?(?P<a>.+?)(?:和|与|跟)(?P<b>.+?)\W*$"),
)
_QUANTITY = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)[ \t-]?([a-z]+|%|[\u4e00-\u9fff])")


@dataclass(frozen=True)
class Question:
    """A question, up to the LONGEST that a search reads, with what it asks for."""

    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", self.text[:LONGEST])

    @cached_property
    def query(self) -> Query:
        """The question as a search reads it: terms without fillers, and names."""
        return analyze(self.text)

    @property
    def is_cjk(self) -> bool:
        return self.query.is_cjk

    @cached_property
    def content(self) -> str:
        """The question without question words and fillers, as it is written."""
        words = (word.strip("?？!！,，.。;；:：\"'()") for word in self.query.content.split())
        return " ".join(as_written(self.text, word) for word in words if word)

    @cached_property
    def kinds(self) -> tuple[AnswerKind, ...]:
        """The kinds of answer that would do, the most specific first."""
        found = [kind for kind, pattern in _PATTERNS if pattern.search(self.text)]
        return tuple(found) or ("other",)

    @cached_property
    def sides(self) -> tuple[str, str] | None:
        """What a comparison compares."""
        if not _COMPARISON.search(self.text):
            return None
        for pattern in _SIDES:
            if match := pattern.search(self.text.strip()):
                first, second = (Question(match[name]).content for name in ("a", "b"))
                if first and second:
                    return first, second
        return None

    def exact_terms(self, across: bool) -> set[str]:
        """The terms that stand as they are in a text that answers: names, codes and, unless it is
        `across` languages, quantities."""
        found = {name for name in self.query.names if not name.isdigit()}
        return found if across else found | quantities(self.text)

    @property
    def is_small_talk(self) -> bool:
        """Whether it is thanks, a greeting or a word of agreement, and asks nothing."""
        return self.query.is_small_talk


def quantities(text: str) -> set[str]:
    """The numbers of a text, each joined with the word or the character that follows."""
    found = _QUANTITY.findall(fold(text))
    return {number.replace(",", "") + "".join(terms(unit)) for number, unit in found}


def has_digit(term: str) -> bool:
    return any(map(str.isdigit, term))


def as_written(text: str, folded: str) -> str:
    """A part of a text as it is written there; as it is given where it is not found."""
    at = text.lower().find(folded.lower())
    return text[at : at + len(folded)] if folded and at >= 0 else folded
