"""Answers without a model are judged by the facts of their question."""

import re
from pathlib import Path

import pytest

from benchmarks.answers import Case, PatternQuestion, read_tsv, summary, verdict
from benchmarks.documents import DocumentsError, document_paths, own_collections, questions

ASKED = PatternQuestion("how long?", re.compile("10 min"))
UNANSWERABLE = PatternQuestion("which colour?", None)
INTRODUCTION = "Quoted from the documents word for word, nothing inferred:\n\n"


@pytest.mark.parametrize(
    ("question", "answer", "is_refused", "expected"),
    [
        (ASKED, f"{INTRODUCTION}It takes 10 min. [1]", False, "right and short"),
        (ASKED, f"{INTRODUCTION}{'word ' * 90}10 min [1]", False, "right"),
        (ASKED, f"{INTRODUCTION}10 min{' word' * 130} [1]", False, "right"),
        (ASKED, f"{INTRODUCTION}It takes a while. [1]", False, "wrong"),
        (ASKED, "The documents do not say that it takes 10 min.", True, "wrongly refused"),
        (UNANSWERABLE, "The documents do not answer this question.", True, "rightly refused"),
        (UNANSWERABLE, f"{INTRODUCTION}Blue. [1]", False, "wrongly answered"),
    ],
)
def test_verdict_on_an_answer(
    question: PatternQuestion, answer: str, is_refused: bool, expected: str
) -> None:
    assert verdict(question, answer, is_refused) == expected


def test_figures_count_answerable_and_unanswerable_questions_apart() -> None:
    cases = [
        Case(ASKED, (), "10 min", is_refused=False),
        Case(ASKED, (), "", is_refused=True),
        Case(UNANSWERABLE, (), "", is_refused=True),
    ]
    assert summary(cases) == (
        "answerable 2  hit@1 0  hit@5 0  right 1  right and short 1  wrong 0  wrongly refused 1"
        "  unanswerable 1  refused 1"
    )


def test_a_tsv_gives_a_pattern_or_a_dash(tmp_path: Path) -> None:
    file = tmp_path / "questions.tsv"
    file.write_text("how long?\t10 min|600 s\ta note\n\nwhich colour?\t-\n")
    first, second = read_tsv(file, tmp_path).questions
    assert first.is_answered_by("in 600 s")
    assert not second.answerable


@pytest.mark.parametrize("collection", own_collections())
def test_questions_on_this_repository_have_facts_that_it_states(collection: str) -> None:
    files = [
        file
        for path in document_paths(collection)
        for file in (path.rglob("*.md") if path.is_dir() else [path])
    ]
    texts = [file.read_text(encoding="utf-8") for file in files]
    asked = questions(collection)
    assert len({one.id for one in asked}) == len({one.question for one in asked}) == len(asked)
    for one in asked:
        assert one.answerable == bool(one.facts), one.id
        assert not one.answerable or any(map(one.is_answered_by, texts)), one.id


def test_unknown_collection_is_named_with_those_that_exist() -> None:
    with pytest.raises(DocumentsError, match=r"'debian_fr'.*debian_en.*own_en"):
        questions("debian_fr")
