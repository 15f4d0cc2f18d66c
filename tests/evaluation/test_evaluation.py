"""The golden questions are whole, and what counts as found, held and refused is exact."""

from collections import Counter

import pytest

from agentkit import Answer, Chunk, Hit, demo_path
from agentkit.answers import Citation
from agentkit.errors import ConfigError
from agentkit.evaluation.metrics import found_first, found_within, holds_facts, proven, refused
from agentkit.evaluation.questions import Place, Question, load_questions
from agentkit.evaluation.runner import evaluate, figures

QUESTIONS = load_questions(demo_path() / "questions.jsonl")


def _hit(source, heading):
    return Hit(Chunk("id", "d", source, "t", heading, "text", 0, 4), 0.5)


def _question(*expected, kind="fact", facts=()):
    places = tuple(tuple(Place(source=s, heading=h) for s, h in alts) for alts in expected)
    return Question(id="q", language="zh", kind=kind, question="?", expected=places, facts=facts)


def test_there_are_enough_golden_questions_of_every_kind():
    assert len(QUESTIONS) >= 80
    assert Counter(q.language for q in QUESTIONS)["en"] >= 20
    assert Counter(q.kind for q in QUESTIONS)["unanswerable"] >= 10
    assert {q.kind for q in QUESTIONS} == {
        "fact", "list", "formula", "comparison", "sum", "unanswerable",
    }  # fmt: skip
    assert sum(q.paraphrased for q in QUESTIONS) >= len(QUESTIONS) / 2


def test_every_expected_heading_stands_in_its_note():
    for question in QUESTIONS:
        for place in (place for places in question.expected for place in places):
            text = (demo_path() / "knowledge" / place.source).read_text(encoding="utf-8")
            headings = [line.lstrip("#").strip() for line in text.splitlines() if line[:1] == "#"]
            assert place.heading in headings, question.id


def test_a_place_is_found_under_its_heading_and_those_below():
    question = _question([("a.md", "B")])
    assert found_within(question, [_hit("x.md", "B"), _hit("a.md", "A > B > C")], 2)
    assert not found_within(question, [_hit("a.md", "A > BB")], 1)
    assert not found_first(question, [_hit("x.md", "B"), _hit("a.md", "B")])


def test_a_comparison_needs_every_place_and_any_of_its_alternatives():
    question = _question([("a.md", "A"), ("b.md", "B")], [("c.md", "C")])
    assert found_within(question, [_hit("b.md", "B"), _hit("c.md", "C")], 5)
    assert not found_within(question, [_hit("b.md", "B"), _hit("a.md", "A")], 5)


def test_facts_count_in_any_spelling_and_case_and_all_are_needed():
    question = _question(facts=(("16.8", "16.8 GB"), ("Teacher", "教师")))
    assert holds_facts(question, "16.8 and a teacher")
    assert not holds_facts(question, "16.8")


def test_only_a_marked_refusal_is_a_refusal_and_only_true_quotes_prove():
    chunk = Chunk("id", "d", "a.md", "t", "", "quoted text", 0, 11)
    assert refused(Answer("no", stop_reason="refused"))
    assert not refused(Answer("I do not know"))
    assert proven(Answer("x", (Citation("1", chunk, "quoted", True),)))
    assert not proven(Answer("x", (Citation("1", chunk, "other", True),)))
    assert not proven(Answer("x"))


async def test_the_report_counts_what_was_reached_of_what():
    questions = [_question([("a.md", "A")], facts=(("yes",),)), _question(kind="unanswerable")]

    async def search(query, k):
        return [_hit("a.md", "A")]

    async def ask(question):
        return Answer("yes")

    rows = {
        row.name: (row.reached, row.count)
        for row in figures(await evaluate(questions, search, ask))
    }
    assert rows["place first"] == (1, 1)
    assert rows["key facts in the answer: fact"] == (1, 1)
    assert rows["unanswerable and refused"] == (0, 1)


def test_a_broken_question_is_named_by_file_and_line(tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('\n{"id": "1", "language": "zh", "kind": "riddle", "question": "?"}', "utf-8")
    with pytest.raises(ConfigError, match=r"q\.jsonl:2: kind"):
        load_questions(path)
