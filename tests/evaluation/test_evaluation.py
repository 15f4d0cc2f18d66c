"""The golden questions are whole."""

from collections import Counter

from agentkit import demo_path
from agentkit.evaluation.questions import load_questions

QUESTIONS = load_questions(demo_path() / "questions.jsonl")


def test_there_are_enough_golden_questions_of_every_kind() -> None:
    assert len(QUESTIONS) >= 80
    assert Counter(q.language for q in QUESTIONS)["en"] >= 20
    assert Counter(q.kind for q in QUESTIONS)["unanswerable"] >= 10
    assert {q.kind for q in QUESTIONS} == {
        "fact", "list", "formula", "comparison", "sum", "unanswerable",
    }  # fmt: skip
    assert sum(q.paraphrased for q in QUESTIONS) >= len(QUESTIONS) / 2


def test_every_expected_heading_stands_in_its_note() -> None:
    for question in QUESTIONS:
        for place in (place for places in question.expected for place in places):
            text = (demo_path() / "knowledge" / place.source).read_text(encoding="utf-8")
            headings = [line.lstrip("#").strip() for line in text.splitlines() if line[:1] == "#"]
            assert place.heading in headings, question.id
