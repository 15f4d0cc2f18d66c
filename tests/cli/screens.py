"""Screens kept as text in tests/cli/screens, to be read by people: a change shows as a difference.

Where one is meant, write them anew and look at what changed (CONTRIBUTING.md has the command). A
coloured screen has its looks in braces before the text that has them, such as {bold,red}.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import pyte
import pytest
from pyte.screens import Char
from rich.console import Console

from agentkit.cli.console import SafeConsole

Test = TypeVar("Test", bound=Callable[..., object])
SCREENS = Path(__file__).parent / "screens"
WIDTHS = (80, 50)
LOOKS = ("plain", "colour")
_ROWS = 300
_CHANGING = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"), "2026-01-01 12:00"),
    (re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}"), "20260101-120000-abcdef"),
    (re.compile(r"(?<=\) )\d+\.\d|\b\d+\.\d+(?= s\b)"), "0.0"),
    (re.compile(r"\b\d+(?= tokens/s)"), "99"),
    (re.compile(r"(?<=· )\d+k?(?= tokens)|\b\d+(?= in, \d+ out tokens)"), "999"),
    (re.compile(r'(?<=levance=")\d\.\d\d'), "0.50"),
    (re.compile(r"(?<=  )(\{[^}]*\})?[01]\.\d\d$", re.MULTILINE), r"\g<1>0.50"),
)
"""What differs from run to run, and what stands there instead."""


def in_every_look(test: Test) -> Test:
    """Run a test with `columns` and `look`, at each width, plain and coloured."""
    for name, values in (("look", LOOKS), ("columns", WIDTHS)):
        test = pytest.mark.parametrize(name, values)(test)
    return test


def console(columns: int, look: str = "colour") -> Console:
    """A terminal that keeps what is written to it, for `render_console`."""
    return SafeConsole(
        file=io.StringIO(), force_terminal=True, width=columns, height=_ROWS, highlight=False,
        emoji=False, color_system="standard", no_color=look == "plain", legacy_windows=False,
    )  # fmt: skip


def render_console(console: Console, look: str) -> str:
    """What a terminal shows after all that was written."""
    screen = pyte.Screen(console.width, _ROWS)
    pyte.Stream(screen).feed(written_to(console).replace("\n", "\r\n"))
    return render_screen(screen, look)


def written_to(console: Console) -> str:
    """What was written to a console that keeps it."""
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def render_screen(screen: pyte.Screen, look: str) -> str:
    """A screen as text."""
    if look == "plain":
        rows = screen.display
    else:
        rows = [_row(screen.buffer[y], screen.columns) for y in range(screen.lines)]
    return "\n".join(row.rstrip() for row in rows).rstrip()


def check(name: str, screens: Mapping[str, str]) -> None:
    """Screens by their titles are as they were when they were last looked at."""
    reported = "\n".join(f"=== {title}\n{steady(screen)}\n" for title, screen in screens.items())
    file = SCREENS / f"{name}.txt"
    if is_writing():
        file.write_text(reported, encoding="utf-8")
    assert reported == file.read_text(encoding="utf-8")


def read_golden(name: str) -> dict[str, str]:
    """Screens by their titles, as they were when they were last looked at."""
    written = (SCREENS / f"{name}.txt").read_text(encoding="utf-8")
    parts = [part.partition("\n") for part in written.split("=== ")[1:]]
    return {title: screen.rstrip("\n") for title, _, screen in parts}


def is_writing() -> bool:
    """Whether the screens are to be rewritten."""
    return bool(os.environ.get("AGENTKIT_WRITE_SCREENS"))


def steady(text: str) -> str:
    """A screen without what changes from run to run."""
    for changing, instead in _CHANGING:
        text = changing.sub(instead, text)
    return text


def _row(cells: Mapping[int, Char], columns: int) -> str:
    found, before = [], ""
    for x in range(columns):
        cell = cells[x]
        marks = {"bold": cell.bold, "underline": cell.underscore, "italic": cell.italics,
                 "reverse": cell.reverse, cell.fg: cell.fg != "default",
                 f"on {cell.bg}": cell.bg != "default"}  # fmt: skip
        now = ",".join(mark for mark, is_set in marks.items() if is_set)
        if now != before and cell.data.strip():
            found.append(f"{{{now}}}")
            before = now
        found.append(cell.data)
    return "".join(found)
