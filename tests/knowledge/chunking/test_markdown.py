"""Markdown is cut along its structure, and its structure is what a reader sees."""

import pytest

from agentkit.documents import Chunk, Document
from agentkit.knowledge.chunking.markup import index_text
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


def test_front_matter_is_no_chunk() -> None:
    assert [c.text for c in _chunks("---\ntitle: T\n---\n# A\n\ntext")] == ["# A\n\ntext"]


@pytest.mark.parametrize("text", ["---\nno mapping\n---\n\ntext", "---\n\nA rule.\n\n---\n\ntext"])
def test_two_rules_around_text_are_no_front_matter(text: str) -> None:
    assert "".join("".join(c.text.split()) for c in _chunks(text)) == "".join(text.split())


@pytest.mark.parametrize(
    "block",
    [
        "(label)=",
        ":::",
        "{#anchor}",
        "[![build](https://img.example/b.svg)](https://ci.example)",
        '<Badge type="tip" text="new" />',
        "<script setup>\nimport A from 'a'\n\nconst b = 1\n</script>",
        "<style>\n.a { color: red }\n</style>",
        "<br/>",
        "<Home />",
        "QmFzZTY0" * 20,
    ],
)
def test_a_block_that_shows_nothing_is_no_passage(block: str) -> None:
    assert [c.text for c in _chunks(f"{block}\n\n# A\n\ntext\n\n{block}")] == ["# A\n\ntext"]


@pytest.mark.parametrize("text", ["🙂", "***", "C++", "```html\n<script setup>\n</script>\n```"])
def test_what_a_reader_sees_is_a_passage(text: str) -> None:
    assert [c.text for c in _chunks(text)] == [text]


@pytest.mark.parametrize(
    ("heading", "shown"),
    [
        ("## 代理 {#proxy}", "代理"),
        ("## build.target <NonInheritBadge /> {#build-target}", "build.target"),
        ("## [AsyncIO](https://docs.example/asyncio.html)", "AsyncIO"),
    ],
)
def test_a_heading_is_what_a_reader_sees(heading: str, shown: str) -> None:
    assert _headings(f"{heading}\n\ntext") == [shown]


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


def test_a_chunk_that_continues_a_table_has_its_header_as_context() -> None:
    rows = [f"| Part {n} | {n * 3} |" for n in range(9)]
    table = "\n".join(["| Name | Weight kg |", "|---|---|", *rows])
    first, *rest = _chunks(f"# Parts\n\n{table}\n\nText below.", limit=60)
    assert first.context == ""
    assert {c.context for c in rest[:-1]} == {"| Name | Weight kg |"}
    assert rest[-1].text.endswith("Text below.")
    assert _chunks("text\n\n# B\n\nmore")[1].context == ""


@pytest.mark.parametrize(
    ("written", "searched"),
    [
        ("See {ref}`the guide <guide-label>` first.", "See the guide first."),
        ("See {doc}`setup`.", "See setup."),
        ("::: tip 注意\n内容\n:::", "注意\n内容"),
        (":::{note}\ntext\n:::", "text"),
        ("[the docs](https://x.example/a?b=c) say", "the docs say"),
        ("![a chart](img/chart.png)", "a chart"),
        ("https://play.example/#" + "eNp9kk1r" * 20, "https://play.example/"),
        ("https://x.example/short", "https://x.example/short"),
        ("key " + "QmFzZTY0" * 20 + " end", "key  end"),
        ("f(x)[1] = a[i](j)", "f(x)[1] = ai"),
        ("a_long_identifier_name()", "a_long_identifier_name()"),
    ],
)
def test_markup_is_not_searched_while_the_text_stays_exact(written: str, searched: str) -> None:
    (chunk,) = _chunks(written, limit=1000)
    assert chunk.text == written
    assert index_text(chunk) == searched


@pytest.mark.parametrize(
    ("text", "embedded", "is_short"),
    [
        (
            "\n".join(f"| {n} | {n * n} | {n / 8} |" for n in range(60)),
            "Sales\n| 0 | 0 | 0.0 |",
            True,
        ),
        ("\n\n".join(f"# h{n}" for n in range(60)), "Sales\nh", True),
        ("- 12 kWh, 4 °C\n" * 60, "Sales\nkWh C", True),
        ("| 2023 | 1,204 |\n" * 12, "Sales\n| 2023 | 1,204 |", False),
        ("On 2 May it rained for 3 hours. " * 12, "Sales\nOn 2 May it rained for 3 hours.", False),
        ("的" * 400, "Sales\n" + "的" * 50, False),
    ],
    ids=["numbers", "numbered names", "units", "a short table", "repeated prose", "no words"],
)
def test_a_long_passage_of_numbers_is_embedded_by_its_words(
    text: str, embedded: str, is_short: bool
) -> None:
    chunk = Chunk("c", "d", "sales.csv", "sales", "Sales", text, 0, len(text))
    assert index_text(chunk).startswith(embedded)
    assert (len(index_text(chunk)) < 100) == is_short
