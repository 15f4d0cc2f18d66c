"""Rows of tables: whole, under the names of their columns, one sheet at a time."""

from typing import Any

from agentkit.documents import Chunk, Document, Part
from agentkit.knowledge.chunking.splitter import split


def _document(rows: Any, columns: Any = None) -> Document:
    """Rows given as (name, text)."""
    text, parts = "", []
    for name, row in rows:
        parts.append(Part("row", name, len(text), len(text) + len(row)))
        text += row + "\n"
    metadata = {} if columns is None else {"columns": columns}
    return Document("t", text, id="d", format="rows", parts=tuple(parts), metadata=metadata)


def _chunks(document: Document, limit: int) -> list[Chunk]:
    return split(document, len, limit)


def test_a_row_is_whole_whatever_its_size() -> None:
    rows = [("2", "short"), ("3", "long. Very long! " * 30), ("4", "end")]
    assert [c.text for c in _chunks(_document(rows), 10)] == [row.strip() for _, row in rows]


def test_neighbouring_rows_are_packed_up_to_the_limit() -> None:
    chunks = _chunks(_document([(str(n), "x" * 10) for n in range(2, 12)]), 40)
    assert [c.part for c in chunks] == ["rows 2-5", "rows 6-9", "rows 10-11"]


def test_the_columns_are_the_heading() -> None:
    assert _chunks(_document([("2", "1,2")], ["name", "price"]), 10)[0].heading == (
        "Columns: name, price"
    )


def test_many_columns_make_no_endless_heading() -> None:
    heading = _chunks(_document([("2", "1")], [f"column {n}" for n in range(500)]), 10)[0].heading
    assert len(heading) == 300


def test_a_chunk_never_spans_two_sheets() -> None:
    rows = [("Prices, 2", "a"), ("Prices, 3", "b"), ("Q1, Q2, 2", "c")]
    chunks = _chunks(_document(rows, {"Prices": ["name"], "Q1, Q2": ["sum"]}), 100)
    assert [(c.heading, c.text) for c in chunks] == [
        ("Prices > Columns: name", "a\nb"),
        ("Q1, Q2 > Columns: sum", "c"),
    ]
    assert chunks[0].part == "Prices, rows 2-3"


def test_what_stands_between_rows_is_kept() -> None:
    document = Document("t", "name\na\n\n-- end", format="rows", parts=(Part("row", "2", 5, 6),))
    assert _chunks(document, 100)[0].text == "name\na\n\n-- end"
