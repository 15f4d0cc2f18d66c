"""Lines that are painted again in place, on terminals that break rows again and that cut them."""

import io
from typing import Any

import pyte
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from agentkit.cli.markdown import MarkdownStream
from agentkit.cli.region import Region, reflows
from tests.cli.emulator import Emulator
from tests.cli.screens import written_to

TEXT = """一段很长的中文文字，用来检查换行的位置是否正确，以及宽字符是否会被分成两半。

- an item that is long enough to be broken into rows on any of the screens that are tried here
- **two** [1]

```python
print("some code that is wider than the narrow screens are")
```

The last paragraph, which is still growing when the terminal changes
"""
BEFORE = [f"before {number}" for number in range(4)]


class Drawn:
    """A region in an emulated terminal, below lines that others wrote."""

    def __init__(self, columns: int, rows: int, *, reflows: Any = True) -> None:
        self.console = Console(file=io.StringIO(), force_terminal=True, width=columns, height=rows,
                               color_system=None, legacy_windows=False)  # fmt: skip
        self.screen = Emulator(columns, rows, reflows=reflows)
        self.stream = pyte.Stream(self.screen)
        self.now = 0.0
        self.region = Region(self.console, reflows=reflows, clock=lambda: self.now)
        self.prose = MarkdownStream(self.console)

    def write(self, lines: Any) -> None:
        self.console.file.write("".join(f"{line}\n" for line in lines))
        self.feed()

    def draw(self, lines: Any) -> str:
        self.region.draw(lines)
        return self.feed()

    def grow(self, text: str = "") -> None:
        self.prose.feed(text)
        self.draw(self.prose.lines())

    def resize(self, columns: Any, rows: Any) -> None:
        """The size changes in a pause."""
        self.now += 1.0
        self.screen.resize(rows, columns)
        self.console.width, self.console.height = columns, rows

    def feed(self) -> str:
        """Let the terminal have what was written, and return it."""
        written = written_to(self.console)
        self.stream.feed(written.replace("\n", "\r\n"))
        self.console.file.seek(0)
        self.console.file.truncate()
        return written

    @property
    def rows(self) -> list[str]:
        return self.screen.whole.splitlines()


def test_only_lines_that_changed_are_written_again() -> None:
    drawn = Drawn(20, 5)
    drawn.draw(["one", "two", "three"])
    assert "one" not in drawn.draw(["one", "two", "3", "four"])
    assert drawn.rows == ["one", "two", "3", "four"]


def test_what_has_left_the_screen_is_neither_lost_nor_doubled() -> None:
    drawn = Drawn(20, 5)
    for count in range(1, 13):
        drawn.draw([f"line {at}" for at in range(count)])
    assert drawn.rows == [f"line {at}" for at in range(12)]


def test_a_line_as_wide_as_the_terminal_keeps_its_last_character() -> None:
    drawn = Drawn(6, 5)
    drawn.draw(["abcdef", "甲乙丙"])
    drawn.draw(["abcdeF", "甲乙"])
    assert drawn.rows == ["abcdeF", "甲乙"]


@pytest.mark.parametrize("reflows", [True, False])
@pytest.mark.parametrize("sizes", [[(40, 40)], [(90, 40)], [(31, 40), (64, 40)], [(60, 30)]])
def test_a_terminal_that_changes_in_mid_answer_shows_the_answer_once(
    sizes: list[tuple[int, int]], reflows: bool
) -> None:
    drawn = Drawn(60, 40, reflows=reflows)
    drawn.write(BEFORE)
    drawn.grow(TEXT)
    for columns, rows in sizes:
        drawn.resize(columns, rows)
        drawn.grow(" and grows")
    assert drawn.rows == [*BEFORE, *drawn.prose.lines()]


@settings(max_examples=40, deadline=None)
@given(
    st.booleans(),
    st.lists(st.tuples(st.integers(4, 90), st.integers(3, 30)), min_size=1, max_size=6),
    st.integers(10, len(TEXT)),
)
def test_whatever_sizes_it_takes_the_end_of_the_answer_is_whole_on_the_screen(
    reflows: Any, sizes: Any, first: Any
) -> None:
    drawn = Drawn(60, 24, reflows=reflows)
    drawn.write(BEFORE)
    drawn.grow(TEXT[:first])
    for columns, rows in sizes:
        drawn.resize(columns, rows)
        drawn.grow()
    drawn.grow(TEXT[first:])
    least = min(rows for _, rows in sizes)
    wanted = drawn.prose.lines()[1 - least :]
    assert drawn.rows[-len(wanted) :] == wanted


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 90), st.integers(3, 30))
def test_after_a_change_of_width_the_whole_answer_stands_there_in_one_piece(
    columns: Any, rows: Any
) -> None:
    drawn = Drawn(60, 10)
    drawn.write(BEFORE)
    drawn.grow(TEXT)
    drawn.resize(columns, rows)
    drawn.grow(" and grows")
    wanted = drawn.prose.lines()
    if columns != 60:
        assert drawn.rows[-len(wanted) :] == wanted


@settings(max_examples=40, deadline=None)
@given(st.booleans(), st.integers(4, 90), st.integers(3, 30), st.integers(0, 3))
def test_what_was_painted_for_a_size_that_is_gone_is_left_above_and_the_answer_painted_below(
    reflows: Any, columns: Any, rows: Any, late: Any
) -> None:
    drawn = Drawn(60, 24, reflows=reflows)
    drawn.write(BEFORE)
    drawn.grow(TEXT)
    drawn.screen.resize(rows, columns)
    for _ in range(late):
        drawn.grow(" and grows, before the program learns of it")
    drawn.console.width, drawn.console.height = columns, rows
    drawn.grow(" and grows")
    wanted = drawn.prose.lines()
    assert drawn.screen.text.splitlines()[: len(wanted)] == wanted[1 - rows :]
    if columns > 8:
        assert [row for row in drawn.rows if row in BEFORE] == BEFORE


def test_the_terminal_is_changing_until_its_size_has_stood_for_a_while() -> None:
    drawn = Drawn(60, 24)
    drawn.grow(TEXT)
    assert not drawn.region.is_changing()
    drawn.resize(50, 24)
    assert drawn.region.is_changing()
    drawn.now += 0.2
    assert drawn.region.is_changing()
    drawn.now += 0.2
    assert not drawn.region.is_changing()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "XTERM_VERSION": "XTerm(379)"}, False),
        ({"TERM": "linux"}, False),
        ({"TERM": "screen-256color"}, False),
        ({"TERM": "screen-256color", "TMUX": "/tmp/tmux"}, True),
    ],
)
def test_terminals_that_cut_rows_off_are_known_by_their_environment(
    environment: dict[str, str], expected: bool
) -> None:
    assert reflows(environment) is expected
