"""Files of questions: two forms, and faults named by their line."""

import json
from pathlib import Path
from typing import Any

import pytest

from agentkit.errors import ConfigError
from agentkit.evaluation.questions import Place, load_questions
from tests.evaluation.made import chunk


def _file(folder: Path, *lines: Any) -> Path:
    path = folder / "q.jsonl"
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_line_of_the_plain_form_is_a_question_with_its_place_and_fact(tmp_path: Path) -> None:
    plain = {"question": "How tall?", "answer": "8 m", "source": "a.md", "heading": "Size"}
    (found,) = load_questions(_file(tmp_path, "", plain))
    assert (found.id, found.kind, found.language) == ("line-2", "fact", "latin")
    assert found.expected == ((Place(source="a.md", heading="Size"),),)
    assert found.facts == (("8 m",),)


def test_an_answer_of_null_says_that_there_is_none_and_a_missing_one_nothing(
    tmp_path: Path,
) -> None:
    lines = {"question": "谁？", "answer": None}, {"question": "谁?", "source": "a.md", "page": 2}
    nobody, somewhere = load_questions(_file(tmp_path, *lines))
    assert not nobody.answerable
    assert nobody.language == "zh"
    assert somewhere.answerable
    assert somewhere.facts == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "1", "language": "zh", "kind": "riddle", "question": "?"}', "kind"),
        ('{"question": "?", "sauce": "a.md"}', "sauce"),
        ('{"question": " "}', "question"),
        ("{", "invalid JSON"),
        ("[" * 100_000, "invalid JSON"),
        ("7", "must be an object"),
        ({"id": "one", "question": "again?"}, "'one' is already used in line 1"),
    ],
)
def test_a_fault_is_named_by_file_and_line(
    line: str | dict[str, str], message: str, tmp_path: Path
) -> None:
    path = _file(tmp_path, {"id": "one", "question": "?"}, line)
    with pytest.raises(ConfigError, match=rf"q\.jsonl:2: .*{message}"):
        load_questions(path)


def test_an_empty_file_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no questions"):
        load_questions(_file(tmp_path, "\ufeff", ""))


def test_a_line_separator_inside_a_question_does_not_cut_it(tmp_path: Path) -> None:
    path = tmp_path / "q.jsonl"
    path.write_text('{"question": "one\u2028two?"}\n', encoding="utf-8")
    assert load_questions(path)[0].question == "one\u2028two?"


def test_a_place_holds_what_stands_under_its_heading_and_below() -> None:
    place = Place(source="a.md", heading="B")
    assert place.contains(chunk("a.md", "A > B > C"))
    assert not place.contains(chunk("a.md", "A > BB"))
    assert not place.contains(chunk("x.md", "B"))


def test_a_place_on_a_page_holds_passages_that_run_over_it() -> None:
    place = Place(source="a.pdf", page=3)
    assert place.contains(chunk("a.pdf", page=2, part="pages 2-4"))
    assert place.contains(chunk("a.pdf", page=3))
    assert not place.contains(chunk("a.pdf", page=2, part="page 2"))
    assert not place.contains(chunk("a.pdf"))
