"""Scores of answer units: how likely a unit answers a question, and how likely the documents do.

Both are linear over features that need no language model: late interaction, the share of the
question's rare and exact terms, the kind of answer and rank. `benchmarks/fit_answers.py` fits them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from agentkit.answering.question import AnswerKind, Question, has_digit, quantities
from agentkit.answering.units import Unit
from agentkit.documents import Passage
from agentkit.text.terms import fold, is_cjk, names, terms

_NUMBER = r"\d[\d,.]*"
_EVIDENCE: Mapping[AnswerKind, str] = {
    "amount": (
        rf"(?i){_NUMBER}|[一二两三四五六七八九十百千万亿]+(?:个|种|次|层|位|年|天|步|倍|类|项|家|条"
        rf"|部分|阶段)|"
        r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|twelve|dozen|hundred|thousand"
        r"|half|twice|once)\b"
    ),
    "date": (
        r"(?i)\b(?:1[5-9]|20)\d\d\b|\d{1,4}[-/.年]\d{1,2}|\d\s*(?:年|月|日|世纪)|\b\d+(?:st|nd|rd"
        r"|th) century|\b(?:january|february|march|april|may"
        r"|june|july|august|september|october|november|december|monday|tuesday|wednesday"
        r"|thursday|friday"
        r"|saturday|sunday|\d{1,2}:\d\d|[ap]\.?m\.?)\b"
    ),
    "person": (
        r"\b[A-Z][a-z]+ (?:[A-Z]\. )?[A-Z][a-z]+|由.{1,12}(?:提出|创立|撰写|发明|设计|建立)"
        r"|先生|女士|教授|博士|人(?:：|是)"
    ),
    "code": (
        r"(?m)`[^`\n]+`|(?<![\w-])--?[A-Za-z]|```|\w\(|[a-z]_[a-z]|^[ \t]*[$#] "
        r"|\b(?:Ctrl|Alt|Shift|Esc)\b|\*\*[^*\n]+\*\*"
    ),
    "list": (r"(?:[^,;]+,){2}|(?:[^、；]+、){1}|\n[-*\d]|\band\b|包括|分别|以及|有.种|一是"),
    "definition": (
        r"(?i)\b(?:is|are|means|refers to|denotes|stands for|consists of|defines?|called"
        r"|known as)\b|是|指|称为|叫做?|即|表示|定义|：|—|\|"
    ),
}
_UNITS = (
    (
        r"\bprice|\bcost|\bfee\b|\bhow much (?:is|are|does|do)\b|多少钱|价格|费用|学费",
        r"[$€£¥]\s*\d|\d\s*(?:USD|EUR|dollars?|euros?|yuan|cents?)|\d\s*(?:元|美元|块|欧元|万元)",
    ),
    (
        r"\bmemory|\bdisk|\bfile size|\bhow (?:large|big) .*(?:file|response|model|body)|显存|内存"
        r"|占用|多大",
        r"\d\s*(?:[KMGT]i?B?|bytes?|bit)\b|\d\s*(?:字节|兆|位)",
    ),
    (r"\bversion\b|版本", r"\bv?\d+(?:\.\d+)+\b|\bv?\d+\b"),
)

_NOT_MEASURED = re.compile(
    r"(?<![\d.])(?:19|20)\d\d(?: ?年(?: ?\d+ ?月)?|(?=\W*$|[。，；、)）;:|]|[.,](?!\d)))"
    r"|\b(?:19|20)\d\d-\d\d?(?:-\d\d?)?|\b[A-Za-z][\w.-]*\d[\w.]*"
)
"""Dates, bare years and names with digits, whose numbers are no amounts."""
_CODE = re.compile(r"```[\s\S]*?(?:```|\Z)|`[^`\n]*`")

NEUTRAL = 0.6
"""The share of terms that counts where no term of the question can be compared."""

SIMILARITY = 0.84
"""The similarity of a unit whose own is not to be had: that of texts on one subject."""

_ABSENT = 0.9
_SEAM = 0.2

_SHORT = 4
"""A question of so many terms, or fewer, is short."""

WEIGHTS: Mapping[str, float] = {
    "similarity": 1.8,
    "similarity_rank": 0.92,
    "own_terms": 0.95,
    "all_terms": 0.83,
    "together": 1.0,
    "exact": 0.46,
    "codes": 1.5,
    "kind": 0.53,
    "kind_near": 0.62,
    "relevance": 0.69,
    "row": 0.37,
    "first": 0.68,
    "length": -0.21,
}
"""The weights of a unit's features in its score."""

ANSWERED: Mapping[str, float] = {
    "lacks_of_short": -2.11,
    "lacks_kind": -0.47,
    "amount_unit": 0.5,
    "relevance": 0.57,
    "across": -0.35,
    "bias": 0.63,
}
"""The weights of the features of a question and its best unit in the probability that the passages
answer it."""

_VALUES = ("amount", "date", "person")
"""Kinds of answers that a unit has or has not, whatever its words."""

_FAR = (0.74 - SIMILARITY) * 10
"""The similarity of unrelated texts in two languages, as a feature."""

_ALL_TERMS = 0.9
"""The share of a question's terms that counts as all."""


def kind_match(question: Question, text: str) -> float:
    """Whether a text has the kind of answer that is asked for: 1, 0, or 0.5 where any kind would
    do, or where a kind has no words of its own."""
    scores = []
    for kind in question.kinds:
        pattern = _EVIDENCE.get(kind)
        if pattern is None:
            return 0.5
        scores.append(1.0 if re.search(pattern, text) else 0.0)
    return sum(scores) / len(scores)


def amount_unit(question: Question, text: str) -> float:
    """1 where the unit of measure that the question implies stands in a text, 0 where it does not,
    0.5 where it implies none."""
    for asked, given in _UNITS:
        if re.search(asked, question.text, re.IGNORECASE):
            return 1.0 if re.search(given, text, re.IGNORECASE) else 0.0
    return 0.5


@dataclass(frozen=True, slots=True)
class Scored:
    """A unit, its features by name, and its score."""

    unit: Unit
    features: Mapping[str, float]
    score: float


def surely_answers(question: Question, best: Scored) -> bool:
    """Whether the best unit has the value that is asked for, and all terms of the question or all
    its codes and quantities."""
    asks_value = any(kind in (*_VALUES, "code") for kind in question.kinds)
    found = best.features
    has_codes = any(map(has_digit, question.exact_terms(bool(found["across"]))))
    has_all = found["all_terms"] >= _ALL_TERMS or (has_codes and found["codes"] == 1.0)
    return asks_value and found["kind"] == 1.0 and has_all


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
        self._across = [is_across(question, passage.chunk.text) for passage in passages]
        self._headings: dict[tuple[str, str, str], set[str]] = {}

    def score(self, units: Sequence[Unit], similarities: Sequence[float]) -> list[Scored]:
        """The units with their features and scores, best first. `similarities` to the question are
        those of late interaction, or cosines; 0 for what has none."""
        known = [similarity or SIMILARITY for similarity in similarities]
        ordered = sorted(known, reverse=True)
        scored = []
        for unit, similarity in zip(units, known, strict=True):
            features = {
                **self.unit_features(unit),
                "similarity": (similarity - SIMILARITY) * 10,
                "similarity_rank": 1 / (1 + ordered.index(similarity)),
            }
            scored.append(Scored(unit, features, _weighted(WEIGHTS, features)))
        return sorted(scored, key=lambda each: -each.score)

    def unit_features(self, unit: Unit) -> dict[str, float]:
        """The features of a unit without its similarity."""
        question, at = self._question, self._number(unit)
        across = self._across[at]
        own = set(terms(unit.text))
        given = unit.passage.relevance
        sentences = unit.sentences
        shares = [self._share(set(terms(sentence)), across) for sentence in sentences]
        together = max(shares)
        nearest = [s for s, share in zip(sentences, shares, strict=True) if share == together]
        found = own | self._heading_terms(unit)
        exact = question.exact_terms(across)
        exact_found = exact & (found | quantities(unit.text))
        return {
            "own_terms": self._share(own, across),
            "all_terms": self._share(found, across),
            "together": together,
            "exact": len(exact_found) / len(exact) if exact else 1.0,
            "codes": float(set(filter(has_digit, exact)) <= exact_found),
            "kind": kind_match(question, unit.body),
            "kind_near": max(kind_match(question, _NOT_MEASURED.sub(" ", s)) for s in nearest),
            "row": float(unit.kind == "row" and "amount" in question.kinds),
            "relevance": 1.0 if given is None else given / self._best_relevance,
            "first": float(at == 0),
            "length": math.log(max(10, len(unit.text)) / 100),
            "across": float(across),
        }

    def _number(self, unit: Unit) -> int:
        """The number of a unit's passage, from 0."""
        return next(at for at, passage in enumerate(self._passages) if passage is unit.passage)

    def _heading_terms(self, unit: Unit) -> set[str]:
        chunk = unit.passage.chunk
        names = unit.heading, chunk.heading, chunk.title
        if names not in self._headings:
            self._headings[names] = set(terms(" ".join(names)))
        return self._headings[names]

    def answered(self, scored: Sequence[Scored]) -> float:
        """The probability that the passages answer the question, 0 where they lack a name in it
        that nobody translates, or are in another language and far; `scored` is sorted."""
        if not scored or self._lacks_name(across=not self._question.is_cjk):
            return 0.0
        nearest = max(each.features["similarity"] for each in scored)
        if scored[0].features["across"] and not self._compared(True) and nearest < _FAR:
            return 0.0
        return 1 / (1 + math.exp(-_weighted(ANSWERED, self.answer_features(scored))))

    def answer_features(self, scored: Sequence[Scored]) -> dict[str, float]:
        """The features of a question and its units, the best one first. In a short question each
        word counts; a long one is often a paraphrase."""
        best = scored[0].features
        lacks = 1 - self._share(self._terms[self._number(scored[0].unit)], bool(best["across"]))
        relevance = self._passages[0].relevance
        asks_value = any(kind in _VALUES for kind in self._question.kinds)
        return {
            "lacks_of_short": lacks * min(1.0, _SHORT / max(1, len(self._rarity))),
            "lacks_kind": float(asks_value) * (1 - best["kind"]),
            "amount_unit": amount_unit(self._question, scored[0].unit.body),
            "relevance": 1.0 if relevance is None else relevance,
            "across": best["across"],
            "bias": 1.0,
        }

    def _compared(self, across: bool) -> Mapping[str, float]:
        """The question's terms that a text can be expected to have: across languages only names."""
        if not across:
            return self._rarity
        return {t: weight for t, weight in self._rarity.items() if t in self._question.query.names}

    def _share(self, found: Set[str], across: bool) -> float:
        """The share of the question's terms, by their rarity, that are among these."""
        wanted = self._compared(across)
        total = sum(wanted.values())
        return sum(w for t, w in wanted.items() if t in found) / total if total else NEUTRAL

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
    """Whether a text is in the other language than a question, code aside."""
    return question.is_cjk != is_cjk(_CODE.sub(" ", text))


def letters_and_digits(text: str) -> str:
    """Reduce a text to its letters and digits, so that d_{model} equals d_model."""
    return "".join(c for c in fold(text) if c.isalnum())


def _passage_terms(passage: Passage) -> set[str]:
    chunk = passage.chunk
    return set(terms(f"{chunk.source} {chunk.title} {chunk.heading} {chunk.text}"))


def _weighted(weights: Mapping[str, float], features: Mapping[str, float]) -> float:
    return sum(weights[name] * value for name, value in features.items() if name in weights)
