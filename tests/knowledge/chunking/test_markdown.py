"""Markdown is cut along its structure, and its structure is what a reader sees."""

import pytest

from agentkit.documents import Chunk, Document
from agentkit.knowledge.chunking.splitter import first_heading, split


def letters(text: str) -> int:
    return len("".join(text.split()))


def _chunks(text: str, limit: int = 100) -> list[Chunk]:
    return split(Document("note.md", text, id="d"), letters, limit)


def _headings(text: str) -> list[str]:
    return [chunk.heading for chunk in _chunks(text)]


def test_a_heading_without_text_goes_with_the_section_below_it() -> None:
    assert _chunks("# A\n\n## B\n\ntext")[0].text == "# A\n\n## B\n\ntext"


def test_a_heading_never_stands_alone_above_a_block_that_fills_a_chunk() -> None:
    first, *rest = _chunks("# Title\n\n" + "A sentence of text. " * 6, limit=96)
    assert first.text.startswith("# Title\n\nA sentence of text.")
    assert rest


def test_underlined_headings_count_and_stand_on_one_line() -> None:
    assert _headings("A long\nheading\n====\n\ntext\n\nB\n---\n\nmore") == [
        "A long heading",
        "A long heading > B",
    ]


@pytest.mark.parametrize("text", ["- # no\n- b", "> # no\n> text", "```\n# no\n```", "    # no"])
def test_a_heading_in_a_list_a_quote_or_code_is_none(text: str) -> None:
    assert _headings(text) == [""]


def test_an_equals_sign_in_a_formula_makes_no_heading() -> None:
    assert _headings("where\n$$\na\n=\nb\n\n- c\n$$\n\n# Next\n\ntext") == ["", "Next"]


def test_two_dollar_signs_that_are_no_formula_hide_no_heading() -> None:
    assert _headings("$$ is money\n\n# Next\n\ntext\n\n$$\n\n# Last\n\nmore") == [
        "",
        "Next",
        "Last",
    ]


def test_front_matter_is_a_chunk_of_its_own() -> None:
    assert _chunks("---\ntitle: T\n---\n# A\n\ntext")[0].text == "---\ntitle: T\n---"


def test_what_renders_to_nothing_is_kept() -> None:
    text = "text [a] and[^1]\n\n[a]: http://example.org\n[^1]: a note\n\n<!-- aside -->"
    assert _chunks(text)[0].text == text


def test_a_heading_of_any_length_is_a_short_path() -> None:
    assert len(_headings("# " + "long " * 1000 + "\n\ntext")[0]) == 200


def test_the_first_heading_is_found_below_front_matter() -> None:
    assert first_heading("---\na: 1\n---\ntext\n\n## Real > one\n\nmore") == "Real"


def test_a_table_is_cut_between_rows_and_never_within() -> None:
    rows = [f"| {n}. One. Two. | {'x' * 30} |" for n in range(6)]
    text = "\n".join(["| a | b |", "|---|---|", *rows])
    chunks = _chunks(text, limit=100)
    assert [line for c in chunks for line in c.text.splitlines()] == text.splitlines()
    assert len(chunks) > 2
    assert rows[0] in chunks[0].text
    assert [c.text for c in _chunks(text, limit=10)][1:] == rows[1:]


def test_a_list_is_cut_between_items_and_then_between_the_items_within() -> None:
    items = [f"- item {n}. It goes on.\n  - inner {n}\n  - more {n}" for n in range(3)]
    assert [c.text for c in _chunks("\n".join(items), limit=40)] == items
    inner = [c.text for c in _chunks(items[0], limit=20)]
    assert inner == ["- item 0. It goes on.", "- inner 0\n  - more 0"]


def test_code_is_cut_at_empty_lines_first() -> None:
    stanzas = ["```python\na = 1\nb = 2", "c = 3\nd = 4\ne = 5", "f = 6\ng = 7\n```"]
    assert [c.text for c in _chunks("\n\n".join(stanzas), limit=17)] == stanzas
    assert len(_chunks("```\na = 1\nb = 2\n```", limit=9)) == 2


def test_a_formula_stays_whole_in_a_paragraph_that_is_cut() -> None:
    formula = "$$\na = b.\nc = d.\n$$"
    chunks = _chunks(f"One sentence.\n{formula}\nAnother sentence.", limit=16)
    assert formula in [c.text for c in chunks]
