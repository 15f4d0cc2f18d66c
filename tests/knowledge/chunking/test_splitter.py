"""Chunks: exact offsets, nothing lost, nothing broken, structure kept."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.documents import Chunk, Document, Part, page_of, part_of
from agentkit.knowledge.chunking.blocks import Places
from agentkit.knowledge.chunking.markup import is_markup_only
from agentkit.knowledge.chunking.packing import separable
from agentkit.knowledge.chunking.splitter import front_matter, split

NOTE = """---
title: 笔记
---

# 大模型

## 量化

量化把参数存成更少的字节。INT8 是 8 位。

| 位数 | 显存 |
|---|---|
| 4 | 4.2 |
| 8 | 8.4 |

```python
# not a heading
x = 1
```

### 例子

7B 模型要 16.8 GB。
"""


def letters(text: str) -> int:
    """Characters that are no white space: a size that adds up exactly."""
    return len("".join(text.split()))


def shows_nothing(text: str) -> bool:
    return not text.strip() or is_markup_only(
        text[front.end if (front := front_matter(text)) else 0 :]
    )


def _chunks(text: str, limit: int = 100, **fields: Any) -> list[Chunk]:
    return split(Document("note", text, id="d", **fields), letters, limit)


def test_a_chunk_carries_the_path_of_its_headings() -> None:
    assert [c.heading for c in _chunks(NOTE)] == ["大模型 > 量化", "大模型 > 量化 > 例子"]


def test_plain_text_has_no_headings() -> None:
    assert [c.heading for c in _chunks("# not Markdown\n\ntext", format="text")] == [""]


def test_the_same_text_at_the_same_place_has_the_same_id() -> None:
    first, second = _chunks(NOTE), _chunks(NOTE.replace("16.8", "16.9"))
    assert first[0].id == second[0].id
    assert first[1].id != second[1].id


def test_texts_counted_many_at_once_give_the_same_chunks() -> None:
    calls = []

    def count_many(texts: Sequence[str]) -> list[int]:
        calls.append(len(texts))
        return [letters(text) for text in texts]

    document = Document("note", NOTE * 5, id="d")
    assert split(document, letters, 20, count_many) == split(document, letters, 20)
    assert len(calls) < 8 < max(calls)


def test_a_chunk_says_which_pages_it_stands_on() -> None:
    text = "One on the first page.\n\nTwo on the second page.\n\nThree on the third page."
    starts = [text.index(word) for word in ("One", "Two", "Three")]
    ends = [*starts[1:], len(text)]
    parts = tuple(
        Part("page", str(n), a, b) for n, (a, b) in enumerate(zip(starts, ends, strict=True), 1)
    )
    one, two = _chunks(text, limit=40, format="text", parts=parts)
    assert (one.page, one.part) == (1, "pages 1-2")
    assert (two.page, two.part) == (3, "page 3")


def test_a_cut_at_the_end_of_a_page_is_preferred() -> None:
    lines = ["a" * 10] * 8
    text = "\n\n".join(lines)
    second = 12 * 3
    pages = (Part("page", "1", 0, second), Part("page", "2", second, len(text)))
    assert _chunks(text, limit=45, format="text")[0].end > second
    assert _chunks(text, limit=45, format="text", parts=pages)[0].text == text[:second].strip()


def test_text_without_line_feeds_has_paragraphs_too() -> None:
    chunks = _chunks("one\r\rtwo\r\n\r\nthree", limit=5, format="text")
    assert [c.text for c in chunks] == ["one", "two", "three"]


def test_a_letter_and_its_accent_or_an_emoji_sequence_is_never_cut() -> None:
    family, accented, flag = "👨\u200d👩\u200d👧", "e\u0301\u0323", "🇫🇷"
    for unit in (family, accented, flag, "👍🏽", "\ud83d\ude00", "1\ufe0f\u20e3"):
        pieces = [c.text for c in _chunks(unit * 40, limit=11, format="text")]
        assert len(pieces) > 5
        assert all(piece.replace(unit, "") == "" for piece in pieces)


def test_a_long_sentence_is_cut_after_a_comma_near_its_middle() -> None:
    chunks = _chunks("一二三四五六七八九十，" * 4, limit=25, format="text")
    assert {c.text[-1] for c in chunks} == {"，"}


_STRUCTURE = (
    "# 标题,## B,- item,  - nested,1. one,$$,```,---,===,> quote,| a | b |,|---|---|,[a]: http://x,"
    "[^1]: note,<div>,句子。再一句！,A line. Another one!,def f():,class A:,    x = 1,// why,}"
)
_ODD = [
    *("👨\u200d👩\u200d👧 e\u0301", "\u202eright\u200f to left", "\x00\x00", "🇫🇷🇩🇪🇮🇹", "!\u0301"),
    *("\ud83d", "\ude00", "\ud83d\ude00", "\x0b\x0c\x85\u2028", "\u1112\u1161", "\ufeff---", "  "),
]
_KINDS = st.sampled_from(["page", "slide", "row", "record", "cell", "line", "message", "chapter"])
_LANGUAGES = st.sampled_from(["python", "javascript", "c", "sql", "no such language", ""])


@st.composite
def documents(draw: Any) -> Document:
    """A document of any format, with parts anywhere."""
    lines = draw(
        st.lists(
            st.sampled_from(_STRUCTURE.split(","))
            | st.sampled_from(_ODD)
            | st.text(st.characters(), max_size=40),
            max_size=20,
        )
    )
    text = draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"])).join(lines)
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    sheets = draw(st.sampled_from(["", "Prices, "]))
    kind = draw(_KINDS)
    prefix = "" if kind in ("page", "slide") else sheets
    parts = tuple(Part(kind, f"{prefix}{n}", a, b) for n, (a, b) in enumerate(pairwise(places), 1))
    columns = draw(st.sampled_from([None, ["a", "b"], {"Prices": ["a"] * 200}, 3]))
    metadata = {"columns": columns, "language": draw(_LANGUAGES)}
    format_ = draw(st.sampled_from(["markdown", "text", "rows", "code"]))
    return Document("any", text, id="d", format=format_, parts=parts, metadata=metadata)


@settings(max_examples=250, deadline=None)
@given(documents(), st.integers(4, 60))
def test_chunks_reproduce_the_text_and_cover_all_of_it_once(document: Any, limit: Any) -> None:
    text, reached = document.text, 0
    for chunk in split(document, letters, limit):
        assert text[chunk.start : chunk.end] == chunk.text == chunk.text.strip() != ""
        assert reached <= chunk.start
        assert shows_nothing(text[reached : chunk.start])
        reached = chunk.end
    assert shows_nothing(text[reached:])


@settings(max_examples=100, deadline=None)
@given(documents(), st.integers(4, 60))
def test_only_what_cannot_be_cut_is_above_the_limit(document: Any, limit: Any) -> None:
    rows = [document.text[p.start : p.end].strip() for p in document.parts]
    for chunk in split(document, letters, limit):
        if letters(chunk.text) > limit:
            is_row = document.format == "rows" and chunk.text in rows
            is_line = "\n" not in chunk.text.strip()  # A row needs no pipes of its own.
            has_head = "| a | b |" in chunk.text or "|---" in chunk.text
            is_table_row = has_head or ("|---" in document.text and is_line)
            places = range(1, len(chunk.text))
            one_character = not any(separable(chunk.text, at) for at in places)
            assert is_row or is_table_row or one_character


@settings(max_examples=100, deadline=None)
@given(documents(), st.integers(4, 60))
def test_no_cut_falls_within_a_visible_character(document: Any, limit: Any) -> None:
    rows = {place for p in document.parts for place in (p.start, p.end)}
    given_ = rows if document.format == "rows" else set()
    for chunk, following in pairwise(split(document, letters, limit)):
        touches = chunk.end == following.start and chunk.end not in given_
        assert not touches or separable(document.text, chunk.end)


@settings(max_examples=100, deadline=None)
@given(documents(), st.integers(4, 60))
def test_page_and_part_are_those_that_a_scan_of_all_parts_finds(document: Any, limit: Any) -> None:
    for chunk in split(document, letters, limit):
        assert chunk.page == page_of(document.parts, chunk.start, chunk.end)
        if document.parts or document.format != "code":
            assert chunk.part == part_of(document.parts, chunk.start, chunk.end)


def test_a_part_is_found_without_looking_at_the_others() -> None:
    seen = []

    class Watched(int):
        def __lt__(self, other: int) -> bool:
            seen.append(self)
            return int(self) < other

        def __gt__(self, other: int) -> bool:
            seen.append(self)
            return int(self) > other

    parts = tuple(Part("row", str(n), Watched(n * 2), Watched(n * 2 + 2)) for n in range(5000))
    places = Places(Document("t.csv", "a\n" * 5000, format="rows", parts=parts))
    seen.clear()
    assert places.part(6000, 6004) == "rows 3000-3001"
    assert len(seen) < 100
