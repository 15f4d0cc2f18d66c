"""The question sets on documentation are complete and judge a text by its facts."""

from pathlib import Path

import pytest

from benchmarks.documents import (
    DocumentQuestion,
    collections,
    locate,
    misplaced,
    questions,
    visible_text,
)

MEASURING = ("debian_en", "debian_zh")


@pytest.mark.parametrize("collection", collections())
def test_each_answerable_question_has_its_facts_in_its_quote(collection: str) -> None:
    asked = questions(collection)
    assert len({one.id for one in asked}) == len({one.question for one in asked}) == len(asked)
    for one in asked:
        assert one.answerable == bool(one.facts and one.source and one.quote), one.id
        assert one.is_answered_by(one.quote), one.id
        assert not one.answerable or not one.is_answered_by(one.question), one.id


@pytest.mark.parametrize("collection", MEASURING)
def test_a_measuring_set_has_enough_questions(collection: str) -> None:
    answerable = [one.answerable for one in questions(collection)]
    assert answerable.count(True) >= 40
    assert answerable.count(False) >= 12


def test_one_spelling_of_each_fact_answers() -> None:
    question = DocumentQuestion(
        "1", "en", "number", "how long?", (("10 min", "ten minutes"), ("a",))
    )
    assert question.is_answered_by("It takes a while, about Ten\n minutes.")
    assert not question.is_answered_by("ten minutes")


def test_visible_text_drops_markup_and_collapses_white_space(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<style>p {}</style><p>a <b>b</b>c\n d</p><td>e</td><td>&lt;f&gt;</td>")
    assert visible_text(page) == "a bc d e <f>"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("x the `a` list:\n\n1. one\n2. two y", "the `a` list:\n\n1. one\n2. two"),
        ("| the | a list | one two | end", "the | a list | one two"),
        ("the a list: one 2 two", None),
    ],
)
def test_a_quote_is_located_in_text_with_other_marks(text: str, part: str | None) -> None:
    place = locate("the a list: one two", text)
    assert part == (text[slice(*place)] if place else None)


def test_a_quote_that_is_not_in_its_file_is_reported(tmp_path: Path) -> None:
    asked = [one for one in questions("debian_en") if one.answerable]
    for one in asked:
        (tmp_path / one.source).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / one.source).write_text("nothing")
    assert misplaced("debian_en", tmp_path) == [one.id for one in asked]
