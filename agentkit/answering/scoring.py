"""Scores of answer units: how likely a unit answers a question, and how likely the documents do.

Both are logistic regressions over features that need no language model: cosines, the share of the
question's rare terms, the kind of answer, structure and rank. `benchmarks/fit_answers.py` fits them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentkit.answering.question import AnswerKind, Question
from agentkit.answering.units import Unit
from agentkit.text.terms import fold, is_cjk, terms

_NUMBER = r"\d[\d,.]*"
_EVIDENCE: Mapping[AnswerKind, re.Pattern[str]] = {
    "amount": re.compile(
        rf"{_NUMBER}|[一二两三四五六七八九十百千万亿]+(?:个|种|次|层|位|年|天|步|倍|类|项|家|条|部分|阶段)|"
        r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|dozen|hundred|thousand|half|twice|once)\b",
        re.I,
    ),
    "date": re.compile(
        r"\b(?:1[5-9]|20)\d\d\b|\d{1,4}[-/.年]\d{1,2}|\d\s*(?:年|月|日|世纪)|\b\d+(?:st|nd|rd|th) century|\b(?:january|february|march|april|may"
        r"|june|july|august|september|october|november|december|monday|tuesday|wednesday|thursday|friday"
        r"|saturday|sunday|\d{1,2}:\d\d|[ap]\.?m\.?)\b",
        re.I,
    ),
    "person": re.compile(
        r"\b[A-Z][a-z]+ (?:[A-Z]\. )?[A-Z][a-z]+|由.{1,12}(?:提出|创立|撰写|发明|设计|建立)|先生|女士|教授|博士|人(?:：|是)"
    ),
    "place": re.compile(
        r"[~.]?/[\w.]+|\b(?:in|at|on|under|from|near|to) (?:the )?(?:`|[A-Z])|(?:位于|在|目录|文件|存放|保存|路径|地址)|\b(?:folder|directory|file|stored|located)\b",
        re.I,
    ),
    "reason": re.compile(
        r"\b(?:because|since|due to|so that|in order|therefore|reason|to (?:avoid|prevent|ensure|keep|make)|as a result|caused|otherwise|means that)\b|因为|由于|为了|所以|因此|原因|以便|从而|导致|使得|否则|以免|避免",
        re.I,
    ),
    "steps": re.compile(
        r"`[^`]+`|```|\b(?:run|use|set|click|choose|select|press|add|call|pass|install|open|type|create|enable|go to|you can|by \w+ing)\b|可以|使用|通过|执行|运行|设置|点击|选择|首先|步骤|用.{1,12}(?:来|命令)|方法",
        re.I,
    ),
    "list": re.compile(
        r"(?:[^,;]+,){2}|(?:[^、；]+、){1}|\n[-*\d]|\band\b|包括|分别|以及|有.种|一是", re.I
    ),
    "yes_no": re.compile(
        r"\b(?:is|are|can(?:not)?|can't|does(?:n't)?|do(?:n't)?|not|no|never|only|must|may|supports?|supported|allowed?|optional|required|always|yes)\b|不|可以|支持|能|必须|只|没有|无|是|会|允许",
        re.I,
    ),
    "definition": re.compile(
        r"\b(?:is|are|means|refers to|denotes|stands for|consists of|defines?|called|known as)\b|是|指|称为|叫做?|即|表示|定义|：|—|\|",
        re.I,
    ),
}
_UNITS = (
    (
        r"\bhow long\b|\btime(?:out)?\b|\bseconds?\b|多久|多长时间|几(?:年|天|秒|分钟|小时)",
        r"\d\s*(?:s|ms|sec\w*|min\w*|hours?|days?|weeks?|months?|years?)\b|\d\s*(?:秒|分|小时|天|周|个月|月|年|毫秒)",
    ),
    (
        r"\bprice|\bcost|\bfee\b|\bhow much (?:is|are|does|do)\b|多少钱|价格|费用|学费",
        r"[$€£¥]\s*\d|\d\s*(?:USD|EUR|dollars?|euros?|yuan|cents?)|\d\s*(?:元|美元|块|欧元|万元)",
    ),
    (
        r"\bpercent|\bproportion|\bshare\b|比例|百分之|占比",
        r"\d\s*(?:%|％|percent|per cent)|百分之",
    ),
    (
        r"\bmemory|\bdisk|\bfile size|\bhow (?:large|big) .*(?:file|response|model|body)|显存|内存|占用|多大",
        r"\d\s*(?:[KMGT]i?B?|bytes?|bit)\b|\d\s*(?:字节|兆|位)",
    ),
    (r"\bport\b|端口", r"\b\d{2,5}\b"),
    (r"\bversion\b|版本", r"\bv?\d+(?:\.\d+)+\b|\bv?\d+\b"),
)
_UNIT_PATTERNS = tuple((re.compile(a, re.I), re.compile(b, re.I)) for a, b in _UNITS)


@dataclass(frozen=True, slots=True)
class Scored:
    """A unit with its features, and its score, the probability that it answers."""

    unit: Unit
    features: tuple[float, ...]
    score: float = 0.0


NEUTRAL = 0.6
"""The share of terms that counts where no term of the question can be compared."""

FEATURES = (
    "cosine",
    "gap",
    "own_terms",
    "all_terms",
    "kind",
    "unit_of_amount",
    "relevance",
    "first",
    "length",
    "is_row",
    "is_item",
    "is_group",
    "is_section",
    "list_for_list",
    "code_for_steps",
    "definition",
    "missing",
    "heading_terms",
    "across",
)


def kind_match(question: Question, unit: Unit) -> float:
    """Whether a unit has the kind of answer that is asked for: 1, 0, or 0.5 where any kind would
    do."""
    text = unit.body
    scores = []
    for kind in question.kinds:
        pattern = _EVIDENCE.get(kind)
        if pattern is None:
            return 0.5
        found = pattern.search(text)
        if kind == "amount" and not _new_number(question, text):
            found = None
        scores.append(1.0 if found else 0.0)
    return sum(scores) / len(scores)


def _new_number(question: Question, text: str) -> bool:
    """Whether a text has a number that is not in the question."""
    given = set(re.findall(_NUMBER, fold(question.text)))
    words = _EVIDENCE["amount"].findall(fold(text))
    return any(word not in given for word in words)


def unit_of_amount(question: Question, text: str) -> float:
    """1 where the unit of measure that the question implies stands in a text, 0 where it does not,
    0.5 where it implies none."""
    for asked, given in _UNIT_PATTERNS:
        if asked.search(question.text):
            return 1.0 if given.search(text) else 0.0
    return 0.5


def is_definition(question: Question, unit: Unit) -> bool:
    """Whether a unit says what the only subject of a question is."""
    if "definition" not in question.kinds or not question.content:
        return False
    subject = re.escape(fold(question.content).strip())
    text = fold(unit.body).strip()
    name = r"(?:\*\*|`|“|\"|「|the |a |an )?"
    after = r"[^\n。.;；]{0,40}?(?:\b(?:is|are|means|refers to|stands for)\b|是|指|[:：]|—|\||，)"
    return bool(re.match(rf"\W*{name}{subject}{after}", text))


def features(
    question: Question,
    unit: Unit,
    weights: Mapping[str, float],
    cosine: float | None,
    best_cosine: float,
    best_relevance: float,
    is_first: bool,
) -> tuple[float, ...]:
    """The features of a unit, in the order of `FEATURES`. `weights` are the question's terms with
    their rarity, from 0 to 1."""
    chunk = unit.passage.chunk
    own = set(terms(unit.text))
    near = own | set(terms(f"{unit.heading} {chunk.heading} {chunk.title}"))
    across = question.is_cjk != is_cjk(chunk.text)
    if across:
        weights = {term: weight for term, weight in weights.items() if term in question.names}
    total = sum(weights.values())
    if not total:
        weights, total = {"": NEUTRAL}, 1.0
        own, near = {""}, {""}
    covered = sum(weight for term, weight in weights.items() if term in own) / total
    covered_near = sum(weight for term, weight in weights.items() if term in near) / total
    missing = max((weight for term, weight in weights.items() if term not in near), default=0.0)
    heading = set(terms(unit.heading))
    in_heading = sum(weight for term, weight in weights.items() if term in heading) / total
    given = unit.passage.relevance
    relevance = 1.0 if given is None else given / best_relevance
    kinds = question.kinds
    return (
        0.0 if cosine is None else (cosine - (0.74 if across else 0.84)) * 10,
        0.0 if cosine is None else (cosine - best_cosine) * 10,
        covered,
        covered_near,
        kind_match(question, unit),
        unit_of_amount(question, unit.body),
        relevance,
        float(is_first),
        math.log(max(10, len(unit.text)) / 100),
        float(unit.kind == "row"),
        float(unit.kind == "item"),
        float(unit.kind in ("list", "table")),
        float(unit.kind == "section"),
        float("list" in kinds and unit.kind in ("list", "table")),
        float("steps" in kinds and unit.kind in ("code", "list")),
        float(is_definition(question, unit)),
        missing,
        in_heading,
        float(across),
    )


def probability(weights: Sequence[float], bias: float, values: Sequence[float]) -> float:
    """Logistic regression."""
    total = bias + sum(w * v for w, v in zip(weights, values, strict=True))
    return 1 / (1 + math.exp(-max(-30.0, min(30.0, total))))
