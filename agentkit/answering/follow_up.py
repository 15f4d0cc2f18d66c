"""Follow-ups of a conversation: decide whether a prompt can stand alone, and join one that cannot
with the question that it continues, in Chinese and English."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agentkit.answering.question import Question
from agentkit.text.patterns import lazy_pattern

MAX_CHARACTERS = 300
"""How much of the earlier question a joined one repeats; a longer prompt stands alone."""

_ENGLISH_CONNECTIVE = lazy_pattern(
    r"\W*(?:(?:and|but|or|so|then|also|ok(?:ay)?|well|now|yes|no)\b\W*)+", re.IGNORECASE
)
_ENGLISH_FRAGMENT = lazy_pattern(
    r"(?:what|how) about\b|what if\b|same\b"
    r"|(?:in|for|on|at|with|without|under|after|before|using|from|by|as|if)\b",
    re.IGNORECASE,
)
_ENGLISH_QUESTION = lazy_pattern(
    r"(?:what|how|why|who|whose|when|where|which|is|are|was|were|do|does|did|can|could|should|would|will"
    r"|must|may|has|have|list|show|explain|describe|compare|define|tell|give|find|summari[sz]e)\b",
    re.IGNORECASE,
)
_CORPUS = (
    r"(?:project|doc\w*|folder|notes?|repo\w*|book|course|site|website|manual|package|library|guide"
    r"|handbook|collection|knowledge base)\b"
)
"""What a prompt names without an earlier question: the documents themselves."""
_ENGLISH_REFERENCE = lazy_pattern(
    r"\b(?:it(?:'?s)?|its|they|them|their|theirs|he|she|him|his|her|hers)\b"
    rf"|\b(?:this|these|those)\b(?! {_CORPUS})"
    r"|\bthat(?= (?:is|was|are|do|does|mean|work|case|way|one|cost|take|help|compare)\b|\W*$)"
    r"|\b(?:is|of|in|to|at|do|does|about|with|than|like|from) that\b"
    rf"|\b(?:which|first|second|third|last|other|another|old|new) ones?\b"
    r"|\b(?:former|latter|others|rest|aforementioned)\b|\belse\b|\bsame (?:for|with|in|on|thing)\b"
    r"|\b(?:too|as well|instead|either)\W*$",
    re.IGNORECASE,
)
_ENGLISH_EXPLETIVE = lazy_pattern(
    r"\b(?:is|was|isn't|be) it (?=(?:possible|necessary|safe|worth|ok|okay|allowed|better|true"
    r"|recommended|required|easy|hard|important|useful)\b.)"
    r"|\b(?:does|will|would|can) it (?=(?:take|cost|make sense|matter|help|mean) (?:to|if|that)\b)"
    r"|\bwhat time is it\b",
    re.IGNORECASE,
)
_ENGLISH_CLAUSE = lazy_pattern(
    r"[,;:?.!](?=\s)|\b(?:and|or|but|so that|so|if|when|because|before|after|while)\b", re.I
)
_ENGLISH_RELATIONAL = lazy_pattern(
    r"\b(?:(?:dis)?advantages?|pros|cons|drawbacks?|benefits?|downsides?|limit(?:ation)?s?|examples?|differ\w*"
    r"|alternatives?|steps?|reasons?|causes?|prices?|costs?|formulas?|definitions?|authors?|sources?|purposes?"
    r"|results?|effects?|details?|more|again|elaborate|explain|continue|go|on|really|short\w*|brief\w*|simpl\w*"
    r"|summar\w*|better|best|worse|worst|faster|fastest|slower|cheaper|cheapest|larger|largest|smaller|smallest"
    r"|bigger|biggest|higher|lower|newer|older|safer|only|always|exactly|say|happens?|next|main|other"
    r"|most|least|further|in|sure|certain|true|correct|right|wrong|possible|important|english|chinese)\b",
    re.IGNORECASE,
)
_ENGLISH_MEASURE = lazy_pattern(r"\W*\d[\d.,]*\s*-?[^\W\d]*\W*")

_CHINESE_CHARACTER = lazy_pattern("[\u4e00-\u9fff]")
_CHINESE_CONNECTIVE = lazy_pattern(
    "(?:那么|那(?![个些种样时里位年次])|还有|另外|而且|但是|但|可是|所以|然后|接着|再|并且|以及|或者|还|好的|好|嗯|哦|对了"
    r"|[\s，,。！!、])+"
)
_CHINESE_QUESTION = lazy_pattern(
    "什么|怎么|怎样|多少|哪|谁|为何|如何|是否|[吗么]|几|多[大长高久远快]|能不能|是不是|有没有|介绍|解释|说明|列出|比较|区别"
)
_CHINESE_REFERENCE = lazy_pattern(
    "它|(?<![其吉])他们?|她|这(?!(?:个|份|些|门|本|套|篇)?(?:项目|文档|文件夹|资料|笔记|课|书|知识库|手册|仓库))"
    "|(?<=.)那[个些种样]|^那[个些种样]|其(?![他它中实余次])|(?<!应)该(?!不该)|前者|后者|上述|上面|刚才|刚刚|前面|之前(?:说|提)|同样|同理|^其[中他它余]"
    "|也(?:是|一样|可以|能|支持|行)?(?:这样)?[吗么]"
)
_CHINESE_CLAUSE = lazy_pattern(r"[，,；;。？?！!]|并且|而且|以及|然后|如果")
_CHINESE_RELATIONAL = lazy_pattern(
    "优缺点|优点|缺点|优势|劣势|好处|坏处|区别|不同|差别|差异|原因|例子|步骤|价格|作者|来源|出处|原理|公式|定义|用途|作用|局限性?"
    "|限制|替代|结果|细节|详细|具体|更多|其他|其它|更好|更快|更大|更小|更便宜|最[好快大小]|继续|解释|介绍|说明|总结|简单|说说|讲讲|再说|一遍"
    "|一点|真的|确定|然后|接下来|下一步|举|例|英文|中文|英语|说|讲|做|办|意思|主要|影响|效果|风险|问题|名字|依据|别的?|还有|钱|时候|时间|地方|什么|怎么|为何"
    "|[有是的些在用会能要还都更最和与跟及又也就吗呢吧啊呀个了着过来去给我你您请再那么这几多少什为何样吗得到底应该可以对不没]"
)
_CHINESE_ENDING = lazy_pattern(r"呢[\s？?。.!！]*$")
_CHINESE_FRAGMENT = lazy_pattern("如果|要是|在|用|对于|换成|换|改成|改用|对|假如|若")

_LATIN_WORD = r"(?=\S*[A-Z])(?!I\b)(?<![\w-])[A-Za-z][\w+#-]*(?:\.\w+)*"
_LATIN_NAME = rf"{_LATIN_WORD}(?: {_LATIN_WORD})*"
_WHOLE_NAME = lazy_pattern(
    rf"(?:(?:and|or|but) )?(?:(?:what|how) about )?(?:(?:in|for|on|with|the) )*({_LATIN_NAME})\W*"
    rf"|(?:那么?|还有|换成)?(?:在|用)?\s*({_LATIN_NAME})\s*[上中里]?\s*呢\W*"
)
_NAME = lazy_pattern(_LATIN_NAME)
_POSSESSIVE = lazy_pattern(r"\b(?:its|their)\b", re.IGNORECASE)
_PRONOUN = lazy_pattern(r"\b(?:it|they|them)\b(?!'s)|它们?", re.IGNORECASE)
_LONGEST_SUBJECT = 40
_QUANTITY = lazy_pattern(r"(\d[\d.,]*)(\s*-?\s*)([A-Za-z%°]+|[\u4e00-\u9fff])")
_IMPERATIVE = lazy_pattern(
    r"(?:please )?(?:list|show|explain|describe|compare|define|tell|give|find|summari[sz]e)\b"
    r"|请|介绍|解释|说明|列出|列举|比较|对比|总结|概括|描述",
    re.IGNORECASE,
)
_CHINESE_ASKING = lazy_pattern(
    "什么|怎么|怎样|多少|为何|哪|谁|如何|是否|能不能|是不是|有没有|会不会|几[个种次层位年天台步倍]|多[大长高久远快]|[吗呢么]$"
)
_ENGLISH_WORD = lazy_pattern(
    r"\b(?:the|is|are|what|how|why|when|where|which|who|does|did|can|of|and|for|with|it|to|this|that"
    r"|my|you|about|list|show|explain|compare|tell)\b",
    re.IGNORECASE,
)
_OTHER_SCRIPT = lazy_pattern(r"[^\W\d_A-Za-z\u4e00-\u9fff]")


def asks(text: str) -> bool:
    """Whether a text asks for something: a question in any language, or a request."""
    text = text.strip()
    if text[-1:] in ("?", "？", "؟", ";", "՞") or _IMPERATIVE.match(text):
        return True
    if text[-1:] in (".", "。", "!", "！"):
        return False
    if _has_chinese(text):
        return bool(_CHINESE_ASKING.search(text))
    rest = text[match.end() :] if (match := _ENGLISH_CONNECTIVE.match(text)) else text
    return bool(_ENGLISH_QUESTION.match(rest))


def is_judged(prompt: str) -> bool:
    """Whether a prompt is in a language for which `stands_alone` is made."""
    if _OTHER_SCRIPT.search(prompt):
        return False
    return _has_chinese(prompt) or bool(_ENGLISH_WORD.search(prompt))


def stands_alone(prompt: str) -> bool:
    """Whether a prompt can be understood without the conversation before it."""
    question = Question(prompt.strip())
    if len(question.text) > MAX_CHARACTERS:
        return True
    return _chinese_alone(question) if _has_chinese(question.text) else _english_alone(question)


def standalone_question(prompt: str, earlier: Sequence[str]) -> str:
    """A prompt that can be searched for: joined with the earlier question that it continues, where
    it cannot stand alone. `earlier` are the prompts before it, the oldest first."""
    if Question(prompt).is_small_talk or stands_alone(prompt):
        return prompt
    between: list[str] = []
    for question in reversed(earlier):
        if Question(question).is_small_talk:
            continue
        if stands_alone(question):
            base = question[:MAX_CHARACTERS]
            for follow_up in [*reversed(between), prompt]:
                base = _join(base, follow_up)
            return base
        between.append(question)
    return "\n".join([*(text[:MAX_CHARACTERS] for text in between[:1]), prompt])


def _join(question: str, follow_up: str) -> str:
    """The question with the quantity or name of the follow-up in place of its own, the follow-up
    with the question's subject in place of a pronoun, or else both."""
    for join in (_with_quantity, _with_name, _with_subject):
        if joined := join(question, follow_up):
            return joined
    return f"{question}\n{follow_up}"


def _with_subject(question: str, follow_up: str) -> str:
    """The follow-up with the only name or the content of the question in place of its pronouns."""
    asked = Question(question)
    found = [match[0] for match in _names(question)]
    subject = found[0] if len(found) == 1 else asked.content if "\n" not in question else ""
    if not subject or len(subject) > _LONGEST_SUBJECT or _is_long(subject, asked):
        return ""
    named = _POSSESSIVE.sub(lambda _: f"{subject}'s", follow_up)
    named = _PRONOUN.sub(lambda _: subject, named)
    return named if named != follow_up else ""


def _is_long(subject: str, question: Question) -> bool:
    """Whether a subject other than a name has more than what is defined."""
    return not _NAME.fullmatch(subject) and "definition" not in question.kinds


def _names(question: str) -> list[re.Match[str]]:
    """The names in a question, the word aside with which it starts."""
    start = _ENGLISH_QUESTION.match(question)
    return list(_NAME.finditer(question, start.end() if start else 0))


def _with_quantity(question: str, follow_up: str) -> str:
    """The question with the follow-up's number, where both have one of the same unit."""
    found = list(_QUANTITY.finditer(follow_up))
    if len(found) != 1 or not _is_bare(follow_up, found[0]):
        return ""
    number, _, unit = found[0].groups()
    own = [m for m in _QUANTITY.finditer(question) if _unit(m[3]) == _unit(unit)]
    if len(own) != 1:
        return ""
    return question[: own[0].start(1)] + number + question[own[0].end(1) :]


def _with_name(question: str, follow_up: str) -> str:
    """The question with the follow-up's name, where each has exactly one."""
    whole = _WHOLE_NAME.fullmatch(follow_up.strip())
    own = _names(question)
    if not whole or len(own) != 1:
        return ""
    return question[: own[0].start()] + (whole[1] or whole[2]) + question[own[0].end() :]


def _is_bare(follow_up: str, quantity: re.Match[str]) -> bool:
    """Whether a follow-up consists of a quantity and fillers."""
    rest = f"{follow_up[: quantity.start()]} {follow_up[quantity.end() :]}"
    return not any(map(str.isalnum, _own_content(Question(rest))))


def _unit(unit: str) -> str:
    return unit.lower().rstrip("s")


def _english_alone(question: Question) -> bool:
    text = question.text
    rest = text[match.end() :] if (match := _ENGLISH_CONNECTIVE.match(text)) else text
    is_question = bool(_ENGLISH_QUESTION.match(rest))
    if match and not is_question:
        return False
    if _ENGLISH_FRAGMENT.match(rest) and not _has_clause(rest):
        return False
    if _ENGLISH_MEASURE.fullmatch(rest) or not _own_content(question):
        return False
    return not _refers_back(rest, _ENGLISH_REFERENCE, _ENGLISH_CLAUSE)


def _chinese_alone(question: Question) -> bool:
    text = question.text
    rest = text[match.end() :] if (match := _CHINESE_CONNECTIVE.match(text)) else text
    is_question = bool(_CHINESE_QUESTION.search(rest))
    if not is_question and (match or _CHINESE_ENDING.search(rest)):
        return False
    if _CHINESE_FRAGMENT.match(rest) and not is_question:
        return False
    if not _own_content(question):
        return False
    return not _refers_back(rest, _CHINESE_REFERENCE, _CHINESE_CLAUSE)


def _has_clause(text: str) -> bool:
    """Whether a question follows what the text begins with: "In Python, how do I …?"."""
    return any(
        _ENGLISH_QUESTION.match(text[match.end() :].lstrip())
        for match in re.finditer(r",|(?<=\s)(?=what|how|why|who|when|where|which)", text)
    )


def _refers_back(text: str, reference: re.Pattern[str], clause: re.Pattern[str]) -> bool:
    """Whether a pronoun has nothing in an earlier clause of the text that it can stand for."""
    text = _ENGLISH_EXPLETIVE.sub(lambda match: " " * len(match[0]), text)
    for match in reference.finditer(text):
        ends = [end.start() for end in clause.finditer(text, 0, match.start())]
        if not ends or not _own_content(Question(text[: ends[-1]])):
            return True
    return False


def _own_content(question: Question) -> str:
    """What is left of a question without fillers and words that need a complement, such as
    "advantages" or "faster"."""
    left = _ENGLISH_RELATIONAL.sub("", _ENGLISH_REFERENCE.sub("", question.content))
    if _has_chinese(question.text):
        left = _CHINESE_RELATIONAL.sub("", _CHINESE_REFERENCE.sub("", left))
    return "".join(c for c in left if c.isalnum())


def _has_chinese(text: str) -> bool:
    return bool(_CHINESE_CHARACTER.search(text))
