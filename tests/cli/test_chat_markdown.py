"""Markdown that grows in a terminal."""

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from agentkit.cli.markdown import MarkdownStream
from agentkit.cli.text import strip_controls
from agentkit.documents import Chunk
from agentkit.knowledge.citations.passages import Sources

TEXT = """# 标题

第一段，**粗体**而且很长，长到必须换行，因为一行只有四十个字符宽，所以它会被分成几行。

- one
- two [1]

| a | b |
| - | - |
| 1 | 2 |

```python
x = [1]
```

[1]: https://example.org is no definition here, and <i>tags</i> stay.
"""


def _console(columns: int = 40, rows: int = 10, **more: Any) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=columns, height=rows,
                   color_system=None, legacy_windows=False, **more)  # fmt: skip


def _whole(text: str, console: Console) -> list[str]:
    prose = MarkdownStream(console)
    prose.feed(text)
    return prose.lines()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, len(TEXT)), max_size=12))
def test_in_whatever_pieces_it_comes_the_end_looks_the_same(cuts: Any) -> None:
    console = _console()
    prose, at = MarkdownStream(console), 0
    for cut in [*sorted(cuts), len(TEXT)]:
        prose.feed(TEXT[at:cut])
        prose.lines()
        at = cut
    assert prose.lines() == _whole(TEXT, console)


def test_no_line_is_wider_than_the_terminal_nor_begins_with_a_closing_mark() -> None:
    lines = _whole(TEXT, _console())
    assert max(map(cell_len, lines)) <= 40
    assert not [line for line in lines if line[:1] in set("，。")]


def test_what_looks_like_a_definition_or_a_tag_is_not_lost() -> None:
    shown = "\n".join(_whole(TEXT, _console()))
    assert "[1]: https://example.org" in shown
    assert "<i>tags</i>" in shown


def test_only_numbers_of_passages_are_marked_and_none_in_code() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=40, color_system="standard")
    sources = Sources()
    sources.mark(Chunk("c", "d", "a.md", "A", "", "It is so.", 0, 9))
    prose = MarkdownStream(console, sources)
    prose.feed("So it is [1], not [7], and `x[1]`.")
    shown = "\n".join(prose.lines())
    assert shown.count("\x1b[1;36m[1]") == 1
    assert "[7]" in shown


def test_a_text_cannot_command_the_terminal() -> None:
    assert strip_controls("a\x1b[2Jb\x07\r\u202ec\x9b1m") == "a[2Jbc1m"


@pytest.mark.parametrize("width", [2, 3, 7])
def test_a_very_narrow_terminal_shows_it_all(width: int) -> None:
    shown = "".join(_whole("甲乙丙 abcdefgh", _console(width))).replace(" ", "")
    assert shown == "甲乙丙abcdefgh"
