"""Answers without a model: is what the extractive model prints right, short, or rightly refused?

    python benchmarks/answers.py debian_en debian_zh       # collections of questions/
    python benchmarks/answers.py dev_en --show --curve
    python benchmarks/answers.py --documents folder --questions questions.tsv

A line of a TSV is: question TAB regular expression that a right answer matches, or "-" for an
unanswerable question. What the figures mean stands in questions/README.md. `--curve` shows what
other values of `knowledge.refuse_below` would refuse. Documents are downloaded once and indexes are
kept, both in build/. The public collections `debian_en` and `debian_zh` only measure: never tune to
them.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from agentkit import Agent, KnowledgeBase
from agentkit.answering.extractive import ExtractiveModel
from agentkit.backends.base import Model
from agentkit.documents import Passage
from benchmarks.documents import DocumentsError, document_paths, questions

INDEXES = Path(__file__).parent.parent / "build" / "answers"
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SHORT, _BEGINNING = 600, 400
_INTRODUCTION = re.compile(r"\A(?:Quoted from the documents|以下逐字引自文档)[^\n]*\n+")

Verdict = Literal[
    "right and short", "right", "wrong", "wrongly refused", "rightly refused", "wrongly answered"
]


class Question(Protocol):
    """A question that says which texts answer it."""

    @property
    def question(self) -> str: ...
    @property
    def answerable(self) -> bool: ...
    def is_answered_by(self, text: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class PatternQuestion:
    """A question that is answered by what a regular expression matches; without one it is
    unanswerable."""

    question: str
    pattern: re.Pattern[str] | None

    @property
    def answerable(self) -> bool:
        return self.pattern is not None

    def is_answered_by(self, text: str) -> bool:
        return self.pattern is not None and bool(self.pattern.search(text))


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions on some documents, which are files and folders."""

    name: str
    questions: Sequence[Question]
    documents: Sequence[Path]


@dataclass(frozen=True, slots=True)
class Case:
    """A question, the passages that were found, best first, and the answer."""

    question: Question
    passages: Sequence[Passage]
    answer: str
    is_refused: bool

    @property
    def rank(self) -> int | None:
        """The rank, from 1, of the first passage that answers."""
        texts = (f"{p.chunk.heading}\n{p.chunk.text}" for p in self.passages)
        found = (at for at, text in enumerate(texts, 1) if self.question.is_answered_by(text))
        return next(found, None) if self.question.answerable else None

    @property
    def verdict(self) -> Verdict:
        return verdict(self.question, self.answer, self.is_refused)


def verdict(question: Question, answer: str, is_refused: bool) -> Verdict:
    """Judge an answer; its introduction does not count."""
    text = _INTRODUCTION.sub("", answer)
    if not question.answerable:
        return "rightly refused" if is_refused else "wrongly answered"
    if is_refused:
        return "wrongly refused"
    if not question.is_answered_by(text):
        return "wrong"
    is_short = len(text) <= _SHORT and question.is_answered_by(text[:_BEGINNING])
    return "right and short" if is_short else "right"


def read_collection(name: str) -> QuestionSet:
    """Return a collection of questions/, downloading its documents. Raises DocumentsError."""
    return QuestionSet(name, questions(name), document_paths(name))


def read_tsv(file: Path, documents: Path) -> QuestionSet:
    """Read questions with regular expressions on a folder of documents."""
    rows = [line.split("\t") for line in file.read_text("utf-8").splitlines() if line.strip()]
    asked = [PatternQuestion(q, None if g == "-" else re.compile(g)) for q, g, *_ in rows]
    place = hashlib.sha256(str(documents.resolve()).encode()).hexdigest()
    return QuestionSet(f"{file.stem}-{place[:8]}", asked, [documents])


@contextmanager
def opened_index(asked: QuestionSet) -> Iterator[KnowledgeBase]:
    """An index of the documents of a set, kept in build/ and brought up to date."""
    with KnowledgeBase.open(INDEXES / asked.name) as knowledge:
        for path in asked.documents:
            knowledge.add_path_sync(path)
        yield knowledge


async def answers(
    asked: QuestionSet, knowledge: KnowledgeBase, model: Model | str = "extractive"
) -> list[Case]:
    """Ask an agent with the extractive model each question, in a conversation of its own."""
    agent = Agent(model, knowledge=knowledge)
    found = []
    for question in asked.questions:
        answer = await agent.run(question.question)
        passages = [passage for message in answer.messages for passage in message.passages]
        found.append(Case(question, passages, answer.text, answer.stop_reason == "refused"))
    return found


async def curve(
    cases: Sequence[Case], index: KnowledgeBase, thresholds: Sequence[float]
) -> list[tuple[float, int, int]]:
    """For each threshold of the probability of an answer, how many unanswerable questions would be
    refused, and how many answerable ones."""
    points = []
    for threshold in thresholds:
        model = ExtractiveModel(index, refuse_below=threshold)
        refused = Counter[bool]()
        for case in cases:
            _, is_refused = await model.quote(case.question.question, case.passages)
            refused[case.question.answerable] += is_refused
        points.append((threshold, refused[False], refused[True]))
    return points


def summary(cases: Sequence[Case]) -> str:
    """One line of figures."""
    verdicts = Counter(case.verdict for case in cases)
    ranks = [case.rank for case in cases if case.question.answerable]
    figures = {
        "answerable": len(ranks),
        "hit@1": ranks.count(1),
        "hit@5": sum(rank is not None and rank <= 5 for rank in ranks),
        "right": verdicts["right and short"] + verdicts["right"],
        "right and short": verdicts["right and short"],
        "wrong": verdicts["wrong"],
        "wrongly refused": verdicts["wrongly refused"],
        "unanswerable": len(cases) - len(ranks),
        "refused": verdicts["rightly refused"],
    }
    return "  ".join(f"{name} {count}" for name, count in figures.items())


async def report(asked: QuestionSet, knowledge: KnowledgeBase, show: bool, points: bool) -> None:
    """Print the figures of a set, its cases where wanted, and the curve."""
    cases = await answers(asked, knowledge)
    for case in cases if show else ():
        print(f"## {case.question.question}\n[{case.verdict}; rank {case.rank}]\n{case.answer}\n")
    print(f"{asked.name}: {summary(cases)}", flush=True)
    if points:
        answerable = sum(case.question.answerable for case in cases)
        print("| refuse_below | unanswerable refused | answerable refused |\n|---|---|---|")
        for threshold, right, wrong in await curve(cases, knowledge, THRESHOLDS):
            print(
                f"| {threshold} | {right} of {len(cases) - answerable} | {wrong} of {answerable} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("collections", nargs="*", metavar="collection")
    parser.add_argument("--documents", type=Path, help="a folder, with --questions")
    parser.add_argument("--questions", type=Path, help="questions on it, a TSV")
    parser.add_argument("--show", action="store_true", help="print each case")
    parser.add_argument("--curve", action="store_true", help="print what other thresholds refuse")
    options = parser.parse_args()
    if bool(options.documents) != bool(options.questions):
        parser.error("--documents and --questions go together.")
    try:
        sets = [read_collection(name) for name in options.collections]
    except DocumentsError as error:
        sys.exit(str(error))
    if options.questions:
        sets.append(read_tsv(options.questions, options.documents))
    if not sets:
        parser.error("Name a collection of benchmarks/questions, or --documents and --questions.")
    for asked in sets:
        with opened_index(asked) as knowledge:
            asyncio.run(report(asked, knowledge, options.show, options.curve))


if __name__ == "__main__":
    main()
