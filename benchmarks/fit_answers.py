"""Fit the weights of answers without a model: `WEIGHTS` and `ANSWERED` of answering/scoring.py.

    python benchmarks/fit_answers.py dev_en dev_zh own_en own_zh notes_en notes_zh \\
        --squad xquad.en.json cmrc2018_trial.json

Data are collections of questions/, SQuAD-like files and, with --documents and --questions, a TSV as
in answers.py. Of a SQuAD-like file questions are drawn at random.

`WEIGHTS` rank the units of a question: a softmax regression towards the units that hold the answer,
short ones more. `ANSWERED` is a logistic regression over the features of a question and its best
unit; its unanswerable questions are those of the collections, and each answerable one once more
without the units that answer it: a near miss. SQuAD-like files serve the first alone. Held out is a
family of sets at a time, such as dev_en and dev_zh. Indexes are kept in build/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentkit import Document, KnowledgeBase
from agentkit.answering.extractive import ExtractiveModel
from agentkit.answering.question import Question
from agentkit.answering.scoring import ANSWERED, WEIGHTS, Scored, Scorer
from agentkit.answering.units import split_units
from agentkit.documents import Passage
from agentkit.settings.schema import REFUSE_BELOW
from benchmarks.answers import (
    Case,
    QuestionSet,
    answers,
    opened_index,
    read_collection,
    read_tsv,
)
from benchmarks.documents import DocumentsError

Vector = NDArray[np.float64]

PARAGRAPH_WEIGHT = 0.3
"""The weight of a question of a SQuAD-like file in the ranking, beside one on whole documents."""
UNANSWERABLE_WEIGHT, NEAR_MISS_WEIGHT = 2.0, 0.3
"""The weights of unanswerable questions in the refusal, beside an answerable one."""
RANKING_PULL, REFUSAL_PULL = 0.02, 0.01
SEED = 7


@dataclass(frozen=True, slots=True)
class ParagraphQuestion:
    """A question of a SQuAD-like file: one of the spellings answers it, in its paragraph."""

    question: str
    spellings: tuple[str, ...]
    source: str
    answerable: bool = True

    def is_answered_by(self, text: str) -> bool:
        return any(spelling in text for spelling in self.spellings)


@dataclass(frozen=True)
class Example:
    """A question, its scorer, its units with their features, and 1.0 for each unit that answers."""

    group: str
    is_answerable: bool
    scorer: Scorer
    units: Sequence[Scored]
    right: Vector
    ranking_weight: float

    @property
    def family(self) -> str:
        return self.group.partition("_")[0]

    @property
    def is_rankable(self) -> bool:
        return self.is_answerable and bool(self.right.any())

    @cached_property
    def features(self) -> Vector:
        return np.array([[unit.features.get(name, 0.0) for name in WEIGHTS] for unit in self.units])

    def order(self, weights: Vector) -> Sequence[int]:
        """The numbers of the units, best first."""
        return [int(at) for at in np.argsort(-(self.features @ weights), kind="stable")]

    def near_miss(self) -> Example:
        """The same question without the units that answer it."""
        rest = [unit for unit, right in zip(self.units, self.right, strict=True) if not right]
        return replace(self, is_answerable=False, units=rest, right=np.zeros(len(rest)))


def read_squad(path: Path, sample: int) -> tuple[QuestionSet, list[Document]]:
    """Draw questions from a SQuAD-like file; each paragraph is a document."""
    articles = json.loads(path.read_text(encoding="utf-8"))["data"]
    paragraphs = [paragraph for article in articles for paragraph in article["paragraphs"]]
    documents = [Document(f"{at}.md", one["context"]) for at, one in enumerate(paragraphs)]
    asked = [
        ParagraphQuestion(qa["question"], tuple(a["text"] for a in qa["answers"]), f"{at}.md")
        for at, paragraph in enumerate(paragraphs)
        for qa in paragraph["qas"]
        if qa["question"].strip()
    ]
    random.Random(SEED).shuffle(asked)
    return QuestionSet(path.stem, asked[:sample], []), documents


async def examples(asked: QuestionSet, knowledge: KnowledgeBase) -> list[Example]:
    """The units of what an agent finds for each question, with their features."""
    cases = await answers(asked, knowledge, ExtractiveModel())
    found = [await _example(case, asked.name, knowledge) for case in cases]
    return [example for example in found if example]


async def _example(case: Case, group: str, knowledge: KnowledgeBase) -> Example | None:
    """The example of a case, None where it has no units."""
    question = Question(case.question.question)
    units = [unit for passage in case.passages for unit in split_units(passage)]
    late = await knowledge.late_scores(question.text, [unit.range for unit in units])
    if not units or late is None:
        return None
    words = question.query.terms
    rarity = dict(zip(words, await knowledge.rarity(words), strict=True))
    scorer = Scorer(question, case.passages, rarity)
    scored = scorer.score(units, late)
    right = np.array([_is_right(case, one.unit.passage, one.unit.text) for one in scored], float)
    weight = PARAGRAPH_WEIGHT if isinstance(case.question, ParagraphQuestion) else 1.0
    return Example(group, case.question.answerable, scorer, scored, right, weight)


def _is_right(case: Case, passage: Passage, text: str) -> bool:
    one = case.question
    elsewhere = isinstance(one, ParagraphQuestion) and passage.chunk.source != one.source
    return one.answerable and not elsewhere and one.is_answered_by(text)


def minimum(gradient: Callable[[Vector], Vector], size: int, steps: int, rate: float) -> Vector:
    """Minimize by Adam, from zero."""
    weights, mean, square = np.zeros(size), np.zeros(size), np.zeros(size)
    for step in range(1, steps + 1):
        slope = gradient(weights)
        mean = 0.9 * mean + 0.1 * slope
        square = 0.999 * square + 0.001 * slope * slope
        corrected = np.sqrt(square / (1 - 0.999**step)) + 1e-8
        weights = weights - rate * mean / (1 - 0.9**step) / corrected
    return weights


def fit_ranking(data: Sequence[Example]) -> Vector:
    """Fit `WEIGHTS`. A right unit's share of the target falls with the root of its length."""
    items = []
    for one in data:
        if one.is_rankable:
            lengths = np.array([max(len(unit.unit.text), 30) for unit in one.units])
            target = one.right / np.sqrt(lengths)
            items.append((one.features, target / target.sum(), one.ranking_weight))
    total = sum(weight for *_, weight in items)

    def gradient(weights: Vector) -> Vector:
        slope = RANKING_PULL * weights
        for features, target, weight in items:
            scores = features @ weights
            odds = np.exp(scores - scores.max())
            slope = slope + weight / total * features.T @ (odds / odds.sum() - target)
        return slope

    return minimum(gradient, len(WEIGHTS), steps=700, rate=0.05)


def report_ranking(
    name: str, data: Sequence[Example], weights: Callable[[Example], Vector]
) -> None:
    """Print for how many questions the best unit answers, and one of the three best."""
    for group in groups(data):
        found = [one.right[one.order(weights(one))] for one in data if one.group == group]
        first = [right[0] for right in found if right.any()]
        three = [right[:3].max() for right in found if right.any()]
        if first:
            print(f"{name}  {group}: {sum(first):.0f} and {sum(three):.0f} of {len(first)}")


def groups(data: Sequence[Example]) -> list[str]:
    return list(dict.fromkeys(one.group for one in data))


class Refusal:
    """The features of questions and their best units, to fit `ANSWERED`."""

    def __init__(self, data: Sequence[Example], ranking: Callable[[Example], Vector]) -> None:
        asked = [one for one in data if one.ranking_weight == 1.0]
        missed = [one.near_miss() for one in asked if one.is_rankable and not one.right.all()]
        every = [*asked, *missed]
        rows = []
        for one in every:
            best = [one.units[at] for at in one.order(ranking(one))[:1]]
            rows.append(one.scorer.answer_features(best))
        self.features = np.array([[row[name] for name in ANSWERED] for row in rows])
        self.answerable = np.array([one.is_answerable for one in every], float)
        self.families = np.array([one.family for one in every])
        self.groups = np.array([one.group for one in every])
        self.is_asked = np.arange(len(every)) < len(asked)
        unanswerable = np.where(self.is_asked, UNANSWERABLE_WEIGHT, NEAR_MISS_WEIGHT)
        self._weights = np.where(self.answerable > 0, 1.0, unanswerable)

    def fit(self, rows: NDArray[np.bool_]) -> Vector:
        """Fit `ANSWERED` to some rows."""
        features, target, weights = (
            x[rows] for x in (self.features, self.answerable, self._weights)
        )
        pull = REFUSAL_PULL * np.array([float(name != "bias") for name in ANSWERED])

        def gradient(fitted: Vector) -> Vector:
            errors = (_logistic(features @ fitted) - target) * weights
            slope: Vector = features.T @ errors / weights.sum() + pull * fitted
            return slope

        return minimum(gradient, len(ANSWERED), steps=2500, rate=0.03)

    def held_out(self) -> Vector:
        """The probability of an answer for each question, fitted without its family of sets."""
        found = np.zeros(len(self.answerable))
        for family in dict.fromkeys(self.families):
            these = self.families == family
            found[these] = _logistic(self.features[these] @ self.fit(~these))
        return found

    def report(self, name: str, probability: Vector, threshold: float) -> None:
        """Print by set the area under the curve and what a threshold refuses."""
        for group in [*dict.fromkeys(self.groups), ""]:
            these = self.is_asked & ((self.groups == group) | (group == ""))
            known, unknown = (probability[these & (self.answerable == y)] for y in (1.0, 0.0))
            if len(known) and len(unknown):
                pairs = known[:, None] - unknown[None, :]
                area = np.mean((pairs > 0) + 0.5 * (pairs == 0))
                print(
                    f"{name}  {group or 'all'}: area {area:.2f}; of the unanswerable "
                    f"{(unknown < threshold).sum()} of {len(unknown)} refused, of the answerable "
                    f"{(known < threshold).sum()} of {len(known)}"
                )


def _logistic(scores: Vector) -> Vector:
    found: Vector = 1 / (1 + np.exp(-scores))
    return found


def fit(data: Sequence[Example], threshold: float) -> None:
    """Fit both, print held-out figures beside those of today's weights, and the dictionaries."""
    now = np.array(list(WEIGHTS.values()))
    families = dict.fromkeys(one.family for one in data if one.ranking_weight == 1.0)
    without = {f: fit_ranking([one for one in data if one.family != f]) for f in families}
    ranking = fit_ranking(data)
    report_ranking("ranking, today", data, lambda one: now)
    report_ranking("ranking, held out", data, lambda one: without.get(one.family, ranking))
    report_ranking("ranking, fitted", data, lambda one: ranking)
    today = Refusal(data, lambda one: now)
    answered = np.array(list(ANSWERED.values()))
    today.report("refusal, today", _logistic(today.features @ answered), threshold)
    held_out = Refusal(data, lambda one: without.get(one.family, ranking))
    held_out.report("refusal, held out", held_out.held_out(), threshold)
    refusal = Refusal(data, lambda one: ranking)
    fitted = refusal.fit(np.ones(len(refusal.answerable), bool))
    refusal.report("refusal, fitted", _logistic(refusal.features @ fitted), threshold)
    for name, keys, weights in (("WEIGHTS", WEIGHTS, ranking), ("ANSWERED", ANSWERED, fitted)):
        print(name, {key: round(float(w), 2) for key, w in zip(keys, weights, strict=True)})


def read(options: argparse.Namespace) -> list[Example]:
    """Read or make the examples of all data. Raises DocumentsError."""
    sets = [read_collection(name) for name in options.collections]
    if options.questions:
        sets.append(read_tsv(options.questions, options.documents))
    data = []
    for asked in sets:
        with opened_index(asked) as knowledge:
            data += asyncio.run(examples(asked, knowledge))
        print(f"{asked.name}: read", flush=True)
    for path in options.squad:
        asked, documents = read_squad(path, options.sample)
        with opened_index(asked) as knowledge:
            knowledge.add_sync(documents)
            data += asyncio.run(examples(asked, knowledge))
        print(f"{asked.name}: read", flush=True)
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("collections", nargs="*", metavar="collection")
    parser.add_argument("--squad", nargs="+", type=Path, default=[], help="SQuAD-like JSON")
    parser.add_argument("--sample", type=int, default=300, help="questions of each of those")
    parser.add_argument("--documents", type=Path, help="a folder, with --questions")
    parser.add_argument("--questions", type=Path, help="questions on it, a TSV")
    parser.add_argument("--threshold", type=float, default=REFUSE_BELOW)
    options = parser.parse_args()
    if bool(options.documents) != bool(options.questions):
        parser.error("--documents and --questions go together.")
    measuring = [name for name in options.collections if name.startswith("debian")]
    if measuring:
        parser.error(f"{', '.join(measuring)} only measure and are never fitted to.")
    try:
        data = read(options)
    except DocumentsError as error:
        sys.exit(str(error))
    if not data:
        parser.error("Name a collection of benchmarks/questions, --squad, or --questions.")
    fit(data, options.threshold)


if __name__ == "__main__":
    main()
