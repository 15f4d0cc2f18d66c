"""Redraw the last lines of a terminal in place. Only changed lines are written, in one write, so
that nothing flickers.

While the terminal is being resized nothing is drawn; then all of it is drawn again from its top.
Where that top is depends on whether the terminal rewraps rows that became too long. It is unknown
where something was drawn for a size that the terminal no longer had, since a resize is reported
late (by tmux, through ssh): then it is drawn on a new page, and the old text is left above. What
has scrolled off the screen stays as it was.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.segment import Segment, Segments

_UP = "\x1b[{}F"
_CLEAR_REST = "\x1b[K"
_CLEAR_BELOW = "\x1b[J"
_HOME = "\x1b[H"
_STYLED = re.compile(r"\x1b\[[0-9;:]*m")
_CUTTING = ("linux", "screen", "st")
"""Terminals that truncate rows, by the first word of TERM."""
_LATE = 0.3
"""Seconds after which the size of a terminal is known for certain."""


class Region:
    """Lines that end at the cursor. Nothing else may write while they are drawn."""

    def __init__(
        self, console: Console, *, reflows: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._reflows = reflows
        self._clock = clock
        self._drawn: list[str] = []
        self._reach = 0
        """How many of the last lines are on the screen for certain."""
        self._width = 0
        self._size = console.size
        self._changed = self._wrote = -_LATE
        self._is_uncertain = False

    def draw(self, lines: Sequence[str]) -> None:
        """Replace the lines drawn before; each line must fit the width."""
        self.is_changing()
        width, height = self._console.size
        self._reach = min(self._reach, height - 1)
        up, start = self._start_of_change(lines, width, height - 1)
        text = "".join(_end_line(line, width) for line in lines[start:])
        if self._is_uncertain:
            self._write("\n" * (height - 1) + _HOME + _CLEAR_BELOW + text)
        elif up or text:
            moved = _UP.format(up) if up else ""
            self._write(f"{moved}{text}{_CLEAR_BELOW if up else ''}")
        reach = len(lines) - (len(self._drawn) - self._reach if start else 0)
        self._reach = max(0, min(reach, height - 1))
        self._drawn, self._width, self._is_uncertain = list(lines), width, False

    def is_changing(self) -> bool:
        """Whether the terminal may still be being resized."""
        now, size = self._clock(), self._console.size
        if self._drawn and size != self._size:
            self._changed = now
            self._is_uncertain = self._is_uncertain or now - self._wrote < _LATE
        self._size = size
        return now - self._changed < _LATE

    def settle(self) -> None:
        """Keep what is drawn; the next lines come below."""
        self._drawn, self._reach = [], 0

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()
        self._wrote = self._clock()

    def _start_of_change(self, lines: Sequence[str], width: int, most: int) -> tuple[int, int]:
        """How many rows to go up, at most `most`, and the line to begin with there."""
        drawn = self._drawn
        if self._is_uncertain:
            return 0, 0
        if drawn and width != self._width:
            return min(self._rows(width), most), 0
        start = max(_shared_prefix(drawn, lines), len(drawn) - self._reach)
        start = min(start, len(lines), len(drawn))
        return min(len(drawn) - start, self._reach), start

    def _rows(self, width: int) -> int:
        """How many rows the reachable lines take that were drawn for another width."""
        drawn = self._drawn[len(self._drawn) - self._reach :]
        return sum(_wrapped_rows(line, width) if self._reflows else 1 for line in drawn)


def reflows(environment: Mapping[str, str]) -> bool:
    """Whether the terminal rewraps rows when it becomes narrower; most do."""
    if "TMUX" in environment:
        return True
    kind = environment.get("TERM", "").partition("-")[0]
    return "XTERM_VERSION" not in environment and kind not in _CUTTING


def render_lines(console: Console, renderable: RenderableType) -> list[str]:
    """A renderable as lines with styles, without trailing blanks."""
    options = console.options.update(height=None)
    found = console.render_lines(renderable, options, pad=False)
    return [_encode(console, _strip(line)) for line in found]


def _encode(console: Console, line: Sequence[Segment]) -> str:
    with console.capture() as captured:
        console.print(Segments(line), end="", soft_wrap=True)
    return captured.get()


def _strip(line: Sequence[Segment]) -> list[Segment]:
    """A line without trailing blanks, unless they have a background colour."""
    kept = list(line)
    while kept and not kept[-1].text.strip() and not (kept[-1].style and kept[-1].style.bgcolor):
        kept.pop()
    if kept and not (kept[-1].style and kept[-1].style.bgcolor):
        kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style)
    return kept


def _shared_prefix(before: Sequence[str], now: Sequence[str]) -> int:
    """How many lines both have in common at the start."""
    pairs = zip(before, now, strict=False)
    return next(
        (at for at, (one, other) in enumerate(pairs) if one != other), min(len(before), len(now))
    )


def _end_line(line: str, width: int) -> str:
    """A line that clears what was behind it. Clearing behind one as wide as the terminal would
    erase its last character."""
    is_full = cell_len(_STYLED.sub("", line)) >= width
    return f"{line}\n" if is_full else f"{line}{_CLEAR_REST}\n"


def _wrapped_rows(line: str, width: int) -> int:
    """How many rows a line takes; a wide character is never split."""
    rows = used = 0
    for character in _STYLED.sub("", line):
        size = cell_len(character)
        if rows == 0 or used + size > width:
            rows, used = rows + 1, 0
        used += size
    return max(rows, 1)
