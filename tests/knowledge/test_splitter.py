"""Chunks: exact offsets, nothing lost, structure kept."""

from hypothesis import given, settings
from hypothesis import strategies as st

from agentkit.backends.base import estimated_tokens
from agentkit.documents import Document
from agentkit.knowledge.splitter import split

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


def _chunks(text: str, limit: int = 100, kind: str = "markdown"):
    return split(Document("note.md", text, id="d", format=kind), estimated_tokens, limit)


def test_a_chunk_carries_the_path_of_its_headings():
    assert [c.heading for c in _chunks(NOTE)] == ["", "大模型 > 量化", "大模型 > 量化 > 例子"]


def test_a_hash_in_a_code_block_is_no_heading():
    assert all("not a heading" not in c.heading for c in _chunks(NOTE, limit=20))


def test_a_heading_without_text_goes_with_the_section_below_it():
    chunk = _chunks(NOTE)[1]
    assert chunk.text.startswith("# 大模型\n\n## 量化\n\n量化把")


def test_a_table_that_fits_stays_whole():
    table = NOTE[NOTE.index("| 位数") : NOTE.index("\n\n```")]
    assert any(table in c.text for c in _chunks(NOTE, limit=60))


def test_plain_text_has_no_headings():
    assert [c.heading for c in _chunks("# not Markdown\n\ntext", format="text")] == [""]


def test_the_same_text_at_the_same_place_has_the_same_id():
    first, second = _chunks(NOTE), _chunks(NOTE.replace("16.8", "16.9"))
    assert [c.id for c in first][:2] == [c.id for c in second][:2]
    assert first[2].id != second[2].id


_LINES = st.sampled_from(
    ["# 标题", "## B", "- item", "| a | b |", "|---|---|", "$$", "```", "", "  ", "句子。再一句！"]
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_LINES | st.text(st.characters(codec="utf-8"), max_size=40), max_size=25),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["markdown", "text"]),
    st.integers(4, 60),
)
def test_chunks_reproduce_the_text_and_cover_all_of_it(lines, newline, kind, limit):
    text = newline.join(lines)
    reached = 0
    for chunk in _chunks(text, limit, kind):
        assert text[chunk.start : chunk.end] == chunk.text
        assert not text[reached : chunk.start].strip()
        reached = chunk.end
    assert not text[reached:].strip()
