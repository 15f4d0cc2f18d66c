"""Scores of answer units: how likely a unit answers a question, and how likely the documents do.

Both are logistic regressions over features that need no language model: cosines, the share of the
question's rare terms, the kind of answer, structure and rank. `benchmarks/fit_answers.py` fits
them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from agentkit.answering.question import AnswerKind, Question
from agentkit.answering.units import Unit, without_markup
from agentkit.documents import Passage
from agentkit.text.terms import fold, is_cjk, names, terms

_NUMBER = r"\d[\d,.]*"
_EVIDENCE: Mapping[AnswerKind, re.Pattern[str]] = {
    "amount": re.compile(
        rf"{_NUMBER}|[一二两三四五六七八九十百千万亿]+(?:个|种|次|层|位|年|天|步|倍|类|项|家|条"
        rf"|部分|阶段)|"
        r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|dozen|hundred|thousand"
        r"|half|twice|once)\b",
        re.I,
    ),
    "date": re.compile(
        r"\b(?:1[5-9]|20)\d\d\b|\d{1,4}[-/.年]\d{1,2}|\d\s*(?:年|月|日|世纪)|\b\d+(?:st|nd|rd"
        r"|th) century|\b(?:january|february|march|april|may"
        r"|june|july|august|september|october|november|december|monday|tuesday|wednesday"
        r"|thursday|friday"
        r"|saturday|sunday|\d{1,2}:\d\d|[ap]\.?m\.?)\b",
        re.I,
    ),
    "person": re.compile(
        r"\b[A-Z][a-z]+ (?:[A-Z]\. )?[A-Z][a-z]+|由.{1,12}(?:提出|创立|撰写|发明|设计|建立)"
        r"|先生|女士|教授|博士|人(?:：|是)"
    ),
    "place": re.compile(
        r"[~.]?/[\w.]+|\b(?:in|at|on|under|from|near|to) (?:the )?(?:`|[A-Z])|(?:位于|在|目录"
        r"|文件|存放"
        r"|保存|路径|地址)|\b(?:folder|directory|file|stored|located)\b",
        re.I,
    ),
    "code": re.compile(
        r"`[^`\n]+`|(?<![\w-])--?[A-Za-z]|```|\w\(|[a-z]_[a-z]|^[ \t]*[$#] |\b(?:Ctrl|Alt|Shift|Esc)\b"
        r"|\*\*[^*\n]+\*\*",
        re.M,
    ),
    "reason": re.compile(
        r"\b(?:because|since|due to|so that|in order|therefore|reason|to (?:avoid|prevent|ensure"
        r"|keep|make)|as a result|caused|otherwise|means that)\b|因为|由于|为了|所以|因此|原因"
        r"|以便|从而|导致|使得"
        r"|否则|以免|避免",
        re.I,
    ),
    "steps": re.compile(
        r"`[^`]+`|```|\b(?:run|use|set|click|choose|select|press|add|call|pass|install|open|type"
        r"|create|enable|go to|you can|by \w+ing)\b|可以|使用|通过|执行|运行|设置|点击|选择"
        r"|首先|步骤|用.{1,12}(?:来"
        r"|命令)|方法",
        re.I,
    ),
    "list": re.compile(
        r"(?:[^,;]+,){2}|(?:[^、；]+、){1}|\n[-*\d]|\band\b|包括|分别|以及|有.种|一是", re.I
    ),
    "yes_no": re.compile(
        r"\b(?:is|are|can(?:not)?|can't|does(?:n't)?|do(?:n't)?|not|no|never|only|must|may"
        r"|supports?|supported|allowed?|optional|required|always|yes)\b|不|可以|支持|能|必须|只"
        r"|没有|无|是|会"
        r"|允许",
        re.I,
    ),
    "definition": re.compile(
        r"\b(?:is|are|means|refers to|denotes|stands for|consists of|defines?|called|known as)\b"
        r"|是|指|称为|叫做?|即|表示|定义|：|—|\|",
        re.I,
    ),
}
_UNITS = (
    (
        r"\bhow long\b|\btime(?:out)?\b|\bseconds?\b|多久|多长时间|几(?:年|天|秒|分钟|小时)",
        r"\d\s*(?:s|ms|sec\w*|min\w*|hours?|days?|weeks?|months?|years?)\b|\d\s*(?:秒|分|小时"
        r"|天|周|个月"
        r"|月|年|毫秒)",
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
        r"\bmemory|\bdisk|\bfile size|\bhow (?:large|big) .*(?:file|response|model|body)|显存|内存"
        r"|占用|多大",
        r"\d\s*(?:[KMGT]i?B?|bytes?|bit)\b|\d\s*(?:字节|兆|位)",
    ),
    (r"\bport\b|端口", r"\b\d{2,5}\b"),
    (r"\bversion\b|版本", r"\bv?\d+(?:\.\d+)+\b|\bv?\d+\b"),
)
_UNIT_PATTERNS = tuple((re.compile(a, re.I), re.compile(b, re.I)) for a, b in _UNITS)


_CODE = re.compile(r"```[\s\S]*?(?:```|\Z)|`[^`\n]*`")

NEUTRAL = 0.6
"""The share of terms that counts where no term of the question can be compared."""

COSINE, ACROSS_COSINE = 0.84, 0.74
"""Cosines of e5 models between related texts, in one script and across two."""

_ABSENT = 0.9
_SEAM = 0.2

_SHORT = 4
"""A question of so many terms, or fewer, is short."""

WEIGHTS: Mapping[str, float] = {
    "cosine": 0.94,
    "gap": 1.77,
    "own_terms": 1.26,
    "all_terms": 1.23,
    "kind": 0.97,
    "amount_unit": 0.2,
    "relevance": 0.92,
    "first": 0.96,
    "length": 0.15,
    "row": 0.08,
    "item": 0.04,
    "group": 0.04,
    "section": -0.26,
    "list_for_list": 0.05,
    "definition": 0.2,
    "exact": 0.8,
    "missing": 0.13,
    "heading_terms": -0.38,
    "across": -0.84,
}
"""The weights of a unit's features in its score."""

ANSWERED: Mapping[str, float] = {
    "cosine": 0.94,
    "best_cosine": 0.7,
    "own_terms": 0.42,
    "own_terms_of_short": 0.36,
    "lacks": -0.26,
    "lacks_of_short": -0.87,
    "passages_lack": -1.11,
    "lacks_name": -0.34,
    "short": -0.64,
    "relevance": 0.6,
    "lead": 0.29,
    "across": -1.64,
    "cjk": -0.56,
    "bias": 0.74,
}
"""The weights of the features of a question and its best unit in the probability that the passages
answer it."""


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


def amount_unit(question: Question, text: str) -> float:
    """1 where the unit of measure that the question implies stands in a text, 0 where it does not,
    0.5 where it implies none."""
    for asked, given in _UNIT_PATTERNS:
        if asked.search(question.text):
            return 1.0 if given.search(text) else 0.0
    return 0.5


def is_definition(question: Question, unit: Unit) -> bool:
    """Whether a unit says what the only subject of a question is."""
    if "definition" not in question.kinds or not question.query.content:
        return False
    subject = re.escape(fold(question.query.content).strip())
    text = fold(unit.body).strip()
    name = r"(?:\*\*|`|“|\"|「|the |a |an )?"
    after = r"[^\n。.;；]{0,40}?(?:\b(?:is|are|means|refers to|stands for)\b|是|指|[:：]|—|\||，)"
    return bool(re.match(rf"\W*{name}{subject}{after}", text))


@dataclass(frozen=True, slots=True)
class Scored:
    """A unit, its features by name, and its score."""

    unit: Unit
    features: Mapping[str, float]
    score: float


class Scorer:
    """Scores the units of a search's passages for one question. `rarity` has the question's terms
    with their rarity, from 0 to 1."""

    def __init__(
        self, question: Question, passages: Sequence[Passage], rarity: Mapping[str, float]
    ) -> None:
        self._question = question
        self._passages = passages
        self._rarity = _without_seams(rarity)
        self._best_relevance = max((p.relevance or 0.0 for p in passages), default=0.0) or 1.0
        self._terms = [_passage_terms(passage) for passage in passages]

    def unit_features(self, unit: Unit) -> dict[str, float]:
        """The features of a unit without its cosine."""
        question, chunk = self._question, unit.passage.chunk
        across = is_across(question, chunk.text)
        own = set(terms(unit.text))
        heading = set(terms(unit.heading))
        near = own | heading | set(terms(f"{chunk.heading} {chunk.title}"))
        given = unit.passage.relevance
        missing = [w for term, w in self._compared(across).items() if term not in near]
        kinds = question.kinds
        is_group = unit.kind in ("list", "table")
        return {
            "own_terms": self._share(own, across),
            "all_terms": self._share(near, across),
            "heading_terms": self._share(heading, across),
            "missing": max(missing, default=0.0),
            "exact": self._exact(own),
            "kind": kind_match(question, unit),
            "amount_unit": amount_unit(question, unit.body),
            "relevance": 1.0 if given is None else given / self._best_relevance,
            "first": float(unit.passage is self._passages[0]),
            "length": math.log(max(10, len(unit.text)) / 100),
            "row": float(unit.kind == "row"),
            "item": float(unit.kind == "item"),
            "group": float(is_group),
            "section": float(unit.kind == "section"),
            "list_for_list": float("list" in kinds and is_group),
            "definition": float(is_definition(question, unit)),
            "across": float(across),
        }

    def preselect(self, units: Sequence[Unit], count: int) -> list[Scored]:
        """The most promising units by all but cosines, best first."""
        scored = []
        for unit in units:
            found = self.unit_features(unit)
            scored.append(Scored(unit, found, _weighted(WEIGHTS, found)))
        return sorted(scored, key=lambda each: -each.score)[:count]

    def with_cosines(self, scored: Sequence[Scored], cosines: Sequence[float]) -> list[Scored]:
        """The units with the cosines of their texts to the question, best first."""
        best = max(cosines, default=0.0)
        found = []
        for each, cosine in zip(scored, cosines, strict=True):
            across = is_across(self._question, each.unit.passage.chunk.text)
            added = {
                "cosine": (cosine - (ACROSS_COSINE if across else COSINE)) * 10,
                "gap": (cosine - best) * 10,
            }
            features = {**each.features, **added}
            found.append(Scored(each.unit, features, _weighted(WEIGHTS, features)))
        return sorted(found, key=lambda each: -each.score)

    def answered(self, scored: Sequence[Scored]) -> float:
        """The probability that the passages answer the question, 0 where they lack a name in it
        that nobody translates; `scored` is sorted."""
        if not scored or self._lacks_name(across=not self._question.is_cjk):
            return 0.0
        return 1 / (1 + math.exp(-_weighted(ANSWERED, self.answer_features(scored))))

    def answer_features(self, scored: Sequence[Scored]) -> dict[str, float]:
        """The features of a question and its units, the best one first. In a short question each
        word counts; a long one is often a paraphrase."""
        best = scored[0].features
        index = next(i for i, p in enumerate(self._passages) if p is scored[0].unit.passage)
        across = bool(best["across"])
        all_across = all(is_across(self._question, p.chunk.text) for p in self._passages)
        neutral = 1.0 if all_across else NEUTRAL
        lacks = 1 - self._share(self._terms[index], across, neutral)
        everywhere = set().union(*self._terms)
        relevances = [1.0 if p.relevance is None else p.relevance for p in self._passages]
        shortness = min(1.0, _SHORT / max(1, len(self._rarity)))
        return {
            "cosine": best.get("cosine", 0.0),
            "best_cosine": max(each.features.get("cosine", 0.0) for each in scored),
            "own_terms": best["own_terms"],
            "own_terms_of_short": best["own_terms"] * shortness,
            "lacks": lacks,
            "lacks_of_short": lacks * shortness,
            "passages_lack": 1 - self._share(everywhere, all_across, neutral),
            "lacks_name": float(self._lacks_name(across)),
            "short": shortness,
            "relevance": relevances[0],
            "lead": relevances[0] - (relevances[1] if len(relevances) > 1 else 0.0),
            "across": best["across"],
            "cjk": float(self._question.is_cjk),
            "bias": 1.0,
        }

    def _exact(self, found: Set[str]) -> float:
        """The share of the question's names, codes and numbers, by their rarity, among these, 0.5
        without any."""
        wanted = {t: w for t, w in self._rarity.items() if t in self._question.query.names}
        total = sum(wanted.values())
        return sum(w for t, w in wanted.items() if t in found) / total if total else 0.5

    def _compared(self, across: bool) -> Mapping[str, float]:
        """The question's terms that a text can be expected to have: across languages only names."""
        if not across:
            return self._rarity
        return {t: weight for t, weight in self._rarity.items() if t in self._question.query.names}

    def _share(self, found: Set[str], across: bool, neutral: float = NEUTRAL) -> float:
        """The share of the question's terms, by their rarity, that are among these."""
        wanted = self._compared(across)
        total = sum(wanted.values())
        return sum(w for t, w in wanted.items() if t in found) / total if total else neutral

    def _lacks_name(self, across: bool) -> bool:
        """Whether no passage has all names of the question."""
        wanted = {letters_and_digits(name) for name in names(self._question.text, across)}
        return bool(wanted) and not any(
            all(name in text for name in wanted)
            for text in (
                letters_and_digits(f"{p.chunk.source} {p.chunk.heading} {p.chunk.text}")
                for p in self._passages
            )
        )


def _without_seams(rarity: Mapping[str, float]) -> dict[str, float]:
    """The rarity of terms, lower for a CJK bigram that is in no passage while the one before or
    after it is: it most likely spans two words."""
    terms = list(rarity)
    found = dict(rarity)
    for before, term, after in zip(["", *terms], terms, [*terms[1:], ""], strict=False):
        if len(term) == 2 and is_cjk(term) and rarity[term] > _ABSENT:
            near = [
                other
                for other, joined in (
                    (before, before[-1:] == term[0]),
                    (after, after[:1] == term[1]),
                )
                if joined and rarity[other] <= _ABSENT
            ]
            if near:
                found[term] *= _SEAM
    return found


def is_across(question: Question, text: str) -> bool:
    """Whether a text is in the other language than a question, markup and code aside."""
    prose = without_markup(_CODE.sub(" ", text))
    return question.is_cjk != is_cjk(prose)


def letters_and_digits(text: str) -> str:
    """Reduce a text to its letters and digits, so that d_{model} equals d_model."""
    return "".join(c for c in fold(text) if c.isalnum())


def _passage_terms(passage: Passage) -> set[str]:
    chunk = passage.chunk
    return set(terms(f"{chunk.source} {chunk.title} {chunk.heading} {chunk.text}"))


def _weighted(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    return sum(weights[name] * value for name, value in features.items() if name in weights)
