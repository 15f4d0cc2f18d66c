"""CSV and TSV: the text as it stands, each row in its place."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.documents import part_of
from agentkit.knowledge.loaders.csv_text import load_csv
from tests.knowledge.loaders.parts import assert_in_order, texts

FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


def test_rows_are_numbered_as_a_spreadsheet_does_and_the_text_stands() -> None:
    text = '名称,价格\r\n苹果,3\r\n"多行\r\n说明",4\r\n\r\n梨,5'
    document = load_csv(text.encode("gb18030"), "价格.csv").document
    assert (document.text, document.title, document.format) == (text, "价格", "rows")
    assert texts(document) == ["名称,价格", "苹果,3", '"多行\r\n说明",4', "梨,5"]
    assert [part.name for part in document.parts] == ["1", "2", "3", "5"]
    assert document.metadata["columns"] == ["名称", "价格"]
    assert part_of(document.parts, 0, len(text)) == "rows 1-5"


@given(st.lists(st.lists(FIELD, min_size=2, max_size=4), min_size=1, max_size=6))
def test_every_row_that_was_written_is_the_text_of_its_part(rows: Any) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL, delimiter="\t").writerows(rows)
    document = load_csv(file.getvalue().encode(), "a.tsv").document
    assert_in_order(document)
    read = [next(csv.reader(io.StringIO(t, newline=""), delimiter="\t")) for t in texts(document)]
    assert read == rows


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    text = "\n".join(delimiter.join(row) for row in (["a", "b, c"], ["1", "2"], ["x; y", "3"]))
    quoted = text.replace("b, c", '"b, c"').replace("x; y", '"x; y"')
    columns = load_csv(quoted.encode(), "a.csv").document.metadata["columns"]
    assert columns == ["a", "b, c"]


def test_a_first_row_of_numbers_is_no_header_but_years_may_be() -> None:
    assert "columns" not in load_csv(b"1.5,a\n2,b\n", "a.csv").document.metadata
    assert load_csv(b"name,2023,2024\nx,1,2\n", "a.csv").document.metadata["columns"] == [
        "name",
        "2023",
        "2024",
    ]


@pytest.mark.parametrize(
    "above",
    ["sep=;\n", "# made by a pump\n", "Output of all plants;;\n\n", "Output\n", "sep=;\n# a\nT\n"],
)
def test_lines_above_the_head_are_no_header(above: str) -> None:
    content = f"{above}Plant;Q1;Q2\nUlm;1;2\nBonn;3;4\n".encode()
    assert load_csv(content, "a.csv").document.metadata["columns"] == ["Plant", "Q1", "Q2"]


@pytest.mark.parametrize("rest", ["x\n" * 100_000, "x\ny\n"])
def test_a_quote_that_is_never_closed_costs_its_own_line_only(rest: str) -> None:
    loaded = load_csv(f'a,b\n1,"2\n{rest}'.encode(), "a.csv")
    assert texts(loaded.document)[:3] == ["a,b", '1,"2', "x"]
    assert "line 2" in loaded.warnings[0]
    assert_in_order(loaded.document)


def test_a_file_of_nothing_but_broken_quotes_ends() -> None:
    loaded = load_csv(b'"a"b,\n' * 5000, "a.csv")
    assert len(loaded.document.parts) == 5000
    assert len(loaded.warnings) == 1


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_file_without_rows_has_no_parts(content: bytes) -> None:
    assert load_csv(content, "a.csv").document.parts == ()
