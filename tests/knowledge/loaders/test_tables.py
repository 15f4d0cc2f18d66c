"""Tables whose rows are understood one by one."""

import pytest

from agentkit.knowledge.loaders.tables import Span, table

YEARS = [
    ["", "2023", "", "2024", ""],
    ["Plant", "Q1", "Q2", "Q1", "Q2"],
    ["Ulm", "1", "2", "3", "4"],
]


def test_a_value_merged_over_rows_stands_in_each() -> None:
    rows = [["Region", "Product"], ["North", "Pump"], ["", "Valve"]]
    assert table(rows, [Span(1, 0, rows=2)]).rows[2] == ["North", "Valve"]


def test_a_head_of_two_rows_is_joined() -> None:
    whole = table(YEARS, [Span(0, 1, columns=2), Span(0, 3, columns=2)])
    assert whole.rows == [
        ["Plant", "2023 Q1", "2023 Q2", "2024 Q1", "2024 Q2"],
        ["Ulm", "1", "2", "3", "4"],
    ]


def test_a_head_of_three_rows_is_joined() -> None:
    rows = [
        ["Sales", "", "", "Region"],
        ["2023", "", "2024", ""],
        ["Q1", "Q2", "Q1", ""],
        list("123x"),
    ]
    spans = [Span(0, 0, columns=3), Span(0, 3, rows=3), Span(1, 0, columns=2)]
    assert table(rows, spans).rows[0] == [
        "Sales 2023 Q1",
        "Sales 2023 Q2",
        "Sales 2024 Q1",
        "Region",
    ]


def test_numbers_below_a_merged_head_are_no_second_head() -> None:
    rows = [["Plant", "Output", ""], ["Ulm", "1 200", "1 350"], ["Bonn", "90", "80"]]
    assert len(table(rows, [Span(0, 1, columns=2)]).rows) == 3


@pytest.mark.parametrize("spans", [[Span(0, 0, columns=3)], []])
def test_a_title_above_the_head_is_taken_out(spans: list[Span]) -> None:
    rows = [["Report 2024", "", ""], ["Region", "Product", "Units"], ["North", "Pump", "1"]]
    assert table(rows, spans) == (["Report 2024"], rows[1:])


def test_a_span_of_a_million_cells_does_not_make_the_table_large() -> None:
    rows = [["x" * 1000, *["y"] * 49] for _ in range(1000)]
    grown = table(rows, [Span(0, 0, 1000, 50)]).rows
    assert sum(len(cell) for row in grown for cell in row) < 6_000_000
