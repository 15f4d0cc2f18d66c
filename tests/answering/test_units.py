"""Answer units: exact slices of a passage that can answer by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.answering.question import Question
from agentkit.answering.units import split_units
from agentkit.documents import Chunk, Passage


def _passage(text: str, heading: str = "") -> Passage:
    return Passage("1", Chunk("c", "d", "a.md", "", heading, text, 0, len(text)))


def _bodies(text: str, kind: str) -> list[str]:
    return [unit.body for unit in split_units(_passage(text)) if unit.kind == kind]


def test_sentences_items_and_rows_are_units() -> None:
    text = "## H\n\n1. 第一步。\n- 点\n\n| a |\n|---|\n| 1 |\n\n后文很长。"
    assert _bodies(text, "item") == ["第一步。", "点"]
    assert _bodies(text, "row") == ["| 1 |"]
    assert _bodies(text, "sentence") == ["后文很长。"]


def test_a_row_is_printed_under_the_header_of_its_table() -> None:
    text = "| a | b |\n|---|---|\n| x | 1 |\n| y | 2 |"
    rows = [unit.text for unit in split_units(_passage(text)) if unit.kind == "row"]
    assert rows == ["| a | b |\n|---|---|\n| x | 1 |", "| a | b |\n|---|---|\n| y | 2 |"]


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("name,price\nsalt,2\nrice,3\n", "name,price\nrice,3"),
        ("name\tprice\r\nsalt\t2\r\nrice\t3\r\n", "name\tprice\nrice\t3"),
        ("name | price\nsalt | 2\nrice | 3", "name | price\nrice | 3"),
        ('name,price\n"sea\nsalt",2\nrice,"3, ""large"""', 'name,price\nrice,"3, ""large"""'),
        ('name,price\n# rock,2\nrice,"about\n3"', 'name,price\nrice,"about\n3"'),
        ('name,price\n5" pipe,2\nrice,3', "name,price\nrice,3"),
        ("salt,2\nrice,3", "rice,3"),
    ],
    ids=["csv", "tsv", "sheet", "quoted", "line in a cell", "inches", "continued"],
)
@pytest.mark.parametrize("columns", ["Prices > Columns: name, price", "Columns: name, pri…"])
def test_a_row_of_a_sheet_is_printed_under_its_header(text: str, row: str, columns: str) -> None:
    chunk = Chunk("c", "d", "a.csv", "", columns, text, 0, len(text), part="Prices, rows 1-3")
    assert row in [u.text for u in split_units(Passage("1", chunk)) if u.kind == "row"]


@pytest.mark.parametrize(
    "text",
    [
        "---\ntags: apple, pie\n---\n",
        "[![build](https://x.io/b.svg)](https://x.io)",
        '<img src="logo.png" width="300px">',
        "iVBORw0KGgoAAAANSUhEUgAAAEAAAABABAMAAABYR2ztAAAAIVBMVEUAAAAAAAADAwMHBwceHh4UFBQNDQ0Z",
        "***",
        "See https://example.org/a/long/path/of/some/page",
    ],
    ids=["front matter", "badge", "image", "base64", "rule", "address"],
)
def test_markup_alone_is_no_unit(text: str) -> None:
    assert not [unit for unit in split_units(_passage(text)) if unit.kind != "sentence"]
    assert all("://" not in unit.body for unit in split_units(_passage(text))) or len(text) < 50


def test_a_code_block_without_its_end_is_no_unit() -> None:
    assert not _bodies("Run this:\n\n```sh\nrun --all", "code")


PIECES = st.sampled_from(
    [
        "# H",
        "A word. Two!",
        "- one\n- two",
        "| a |\n|---|\n| 1 |",
        "```\nx\n```",
        "说明：",
        "\n",
        "1. 步骤",
    ]
)


@given(st.lists(PIECES, max_size=8))
def test_units_are_exact_slices_in_order(pieces: list[str]) -> None:
    passage = _passage("\n\n".join(pieces))
    for unit in split_units(passage):
        assert all(0 <= start < end <= len(passage.chunk.text) for start, end in unit.spans)
        for start, end in unit.spans:
            assert passage.chunk.text[start:end] in unit.text
        assert unit.text.count("```") % 2 == 0


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("感知器是什么", "definition"),
        ("请问显存要多少？", "amount"),
        ("When was it released?", "date"),
        ("who wrote the parser", "person"),
    ],
)
def test_a_question_tells_the_kind_of_answer(question: str, kind: str) -> None:
    assert kind in Question(question).kinds


@pytest.mark.parametrize(
    ("question", "sides"),
    [
        ("BGD 和 SGD 有什么区别", ("BGD", "SGD")),
        ("difference between zip and tar", ("zip", "tar")),
        ("zip vs tar", ("zip", "tar")),
        ("What is a tar file?", None),
    ],
)
def test_a_comparison_has_two_sides(question: str, sides: tuple[str, str] | None) -> None:
    assert Question(question).sides == sides
