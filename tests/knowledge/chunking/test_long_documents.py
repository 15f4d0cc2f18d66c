"""A long document is split piece by piece: what is kept for it does not grow with its length, and
its chunks are those of a short one."""

import tracemalloc
from collections.abc import Callable, Sequence

import pytest

from agentkit.documents import Document, Format, Part, Parts
from agentkit.knowledge.chunking.splitter import chunks_of, first_heading, split

Make = Callable[[int], Document]


def _rows(length: int) -> Document:
    row = "1,2\n"
    starts = range(0, length, len(row))
    parts = Parts(Part("row", str(n), at, at + 3) for n, at in enumerate(starts, 1))
    return Document("a", row * len(starts), format="rows", parts=parts)


def _repeated(piece: str, format_: Format = "markdown", head: str = "", end: str = "") -> Make:
    """`piece` again and again, with a number in place of %d."""

    def make(length: int) -> Document:
        numbered = "".join(piece.replace("%d", str(n)) for n in range(length // len(piece)))
        return Document("a", head + numbered + end, format=format_)

    return make


KINDS: dict[str, Make] = {
    "rows": _rows,
    "headings": _repeated("# Part %d\n\n"),
    "headings and text": _repeated("## Part %d\n\nText of part %d.\n\n"),
    "paragraphs": _repeated("a\n\n"),
    "lines of a paragraph": _repeated("a line of %d\n"),
    "carriage returns": _repeated("a line of %d\r\r"),
    "items": _repeated("- item %d\n"),
    "nested items": _repeated("- item\n  - inner %d\n"),
    "quoted lines": _repeated("> quoted %d\n"),
    "rows of a table": _repeated("| %d | value |\n", head="| id | name |\n|---|---|\n"),
    "lines of code": _repeated("x = %d\n\n", head="```python\n", end="```\n"),
    "fences": _repeated("```\nx %d\n~~~\n$$\n"),
    "formulas": _repeated("$$\n# x %d\n\n- y\n$$\n\n"),
    "tags": _repeated("<b>x%d</b> <i>y</i>\n\n"),
    "comments": _repeated("<!-- c\n\n# %d -->\n\n"),
    "words of one line": _repeated("word %d ", "text"),
    "sentences of one line": _repeated("A sentence of %d. "),
    "one word": _repeated("a.", "text"),
    "CJK without an end": _repeated("汉字没有结尾", "text"),
    "paragraphs of text": _repeated("a\n\n", "text"),
    "functions": _repeated("def f%d(a):\n    return a\n\n", "code"),
}


def _code(document: Document) -> Document:
    metadata = {"language": "python"} if document.format == "code" else {}
    return Document(
        "a", document.text, format=document.format, parts=document.parts, metadata=metadata
    )


@pytest.mark.parametrize("kind", KINDS)
def test_every_character_of_a_long_document_is_in_one_chunk(kind: str) -> None:
    document = _code(KINDS[kind](120_000))
    reached, seen = 0, ""
    for chunk in split(document, lambda text: len(text) // 4, 320):
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert chunk.start >= reached
        assert not document.text[reached : chunk.start].strip()
        reached, seen = chunk.end, chunk.text
    assert seen
    assert not document.text[reached:].strip()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "functions"])
def test_the_first_chunk_is_there_before_the_rest_is_counted(kind: str) -> None:
    counted = 0

    def count(texts: Sequence[str]) -> list[int]:
        nonlocal counted
        counted += sum(map(len, texts))
        return [len(text) // 4 for text in texts]

    document = KINDS[kind](2_000_000)
    next(chunks_of(document, lambda text: count([text])[0], 320, count))
    assert counted < 1_200_000


MEASURED = ("rows", "headings and text", "lines of a paragraph", "rows of a table", "lines of code",
            "sentences of one line", "CJK without an end", "functions")  # fmt: skip
"""One of each way of splitting: tracing makes it ten times as slow."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", MEASURED)
def test_the_memory_that_splitting_takes_does_not_grow_with_the_document(kind: str) -> None:
    short, long = (_code(KINDS[kind](length)) for length in (450_000, 900_000))
    assert _peak(long) < 1.5 * _peak(short) + 4 * len(long.text)


def _peak(document: Document) -> int:
    tracemalloc.start()
    try:
        for _ in chunks_of(document, lambda text: len(text) // 4, 320):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_equal_rows_are_counted_once() -> None:
    counted: list[str] = []

    def count(texts: Sequence[str]) -> list[int]:
        counted.extend(texts)
        return [3 for _ in texts]

    split(_rows(400_000), lambda _: 3, 320, count)
    assert len(counted) < 100


def test_long_code_and_tables_keep_their_structure_to_the_end() -> None:
    code = "```\n" + "# no heading\n\n" * 20_000 + "```\n\nAfter it."
    table = "| id | name |\n|---|---|\n" + "| 1 | value |\n" * 20_000 + "\n# Last\n\nEnd."
    for chunk in split(Document("a", f"# Top\n\n{code}"), lambda text: len(text) // 4, 320):
        assert chunk.heading == "Top"
    *rows, last = split(Document("a", table), lambda text: len(text) // 4, 320)
    assert {chunk.context for chunk in rows[1:]} == {"| id | name |"}
    assert (last.heading, last.context) == ("Last", "")


@pytest.mark.parametrize(("lines", "title"), [(1, "Late"), (100_000, "")])
def test_the_title_is_looked_for_near_the_start(lines: int, title: str) -> None:
    assert first_heading("a line\n\n" * lines + "# Late\n\ntext") == title
