"""The last lines of a terminal, painted again in place: only those that changed are written, all in
one write, so that nothing flickers.

While the terminal changes its size nothing is painted; then all of it is painted anew, from its
top. Where that top is depends on whether the terminal breaks rows again that became too long, and
it cannot be known where something was painted for a size that the terminal no longer had, for we
are told late (by tmux, through ssh): then it is painted on a new page, and what was there is left
above. What has left the screen at its top stays as it was.
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
"""Terminals that cut rows off, by the first word of TERM."""
_LATE = 0.3
"""Seconds after which we surely know the size that a terminal has taken."""


class Region:
    """Lines that end where the cursor stands. Nobody else may write while it is drawn."""

    def __init__(
        self,
        console: Console,
        *,
        reflows: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._reflows = reflows
        self._clock = clock
        self._shown: list[str] = []
        self._reach = 0
        """How many of the last lines are surely on the screen."""
        self._width = 0
        self._size = console.size
        self._changed = self._wrote = -_LATE
        self._is_doubtful = False

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines in the place of those before; each must fit the width."""
        self.is_changing()
        width, height = self._console.size
        self._reach = min(self._reach, height - 1)
        up, start = self._back(lines, width, height - 1)
        text = "".join(_ended(line, width) for line in lines[start:])
        if self._is_doubtful:
            self._write("\n" * (height - 1) + _HOME + _CLEAR_BELOW + text)
        elif up or text:
            moved = _UP.format(up) if up else ""
            self._write(f"{moved}{text}{_CLEAR_BELOW if up else ''}")
        reach = len(lines) - (len(self._shown) - self._reach if start else 0)
        self._reach = max(0, min(reach, height - 1))
        self._shown, self._width, self._is_doubtful = list(lines), width, False

    def is_changing(self) -> bool:
        """Whether the terminal may be about to take yet another size."""
        now, size = self._clock(), self._console.size
        if self._shown and size != self._size:
            self._changed = now
            self._is_doubtful = self._is_doubtful or now - self._wrote < _LATE
        self._size = size
        return now - self._changed < _LATE

    def settle(self) -> None:
        """What is shown stays; the next lines come below."""
        self._shown, self._reach = [], 0

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()
        self._wrote = self._clock()

    def _back(self, lines: Sequence[str], width: int, most: int) -> tuple[int, int]:
        """How many rows to go up, at most so many, and with which line to begin there."""
        shown = self._shown
        if self._is_doubtful:
            return 0, 0
        if shown and width != self._width:
            return min(self._rows(width), most), 0
        start = max(_shared(shown, lines), len(shown) - self._reach)
        start = min(start, len(lines), len(shown))
        return min(len(shown) - start, self._reach), start

    def _rows(self, width: int) -> int:
        """How many rows those lines take that were drawn for another width, and can be reached."""
        drawn = self._shown[len(self._shown) - self._reach :]
        return sum(_broken(line, width) if self._reflows else 1 for line in drawn)


def reflowing(environment: Mapping[str, str]) -> bool:
    """Whether the terminal breaks rows again when it becomes narrower; most do."""
    if "TMUX" in environment:
        return True
    kind = environment.get("TERM", "").partition("-")[0]
    return "XTERM_VERSION" not in environment and kind not in _CUTTING


def lines_of(console: Console, renderable: RenderableType) -> list[str]:
    """What a renderable looks like, line by line, without the blanks that fill lines up."""
    options = console.options.update(height=None)
    found = console.render_lines(renderable, options, pad=False)
    return [_written(console, _stripped(line)) for line in found]


def _written(console: Console, line: Sequence[Segment]) -> str:
    with console.capture() as captured:
        console.print(Segments(line), end="", soft_wrap=True)
    return captured.get()


def _stripped(line: Sequence[Segment]) -> list[Segment]:
    """A line without the blanks at its end, where they have no colour."""
    kept = list(line)
    while kept and not kept[-1].text.strip() and not (kept[-1].style and kept[-1].style.bgcolor):
        kept.pop()
    if kept and not (kept[-1].style and kept[-1].style.bgcolor):
        kept[-1] = Segment(kept[-1].text.rstrip(), kept[-1].style)
    return kept


def _shared(before: Sequence[str], now: Sequence[str]) -> int:
    """How many lines both begin with."""
    pairs = zip(before, now, strict=False)
    return next(
        (at for at, (one, other) in enumerate(pairs) if one != other), min(len(before), len(now))
    )


def _ended(line: str, width: int) -> str:
    """A line that leaves nothing behind it. One as wide as the terminal covers all there was, and
    clearing would take its last character."""
    is_full = cell_len(_STYLED.sub("", line)) >= width
    return f"{line}\n" if is_full else f"{line}{_CLEAR_REST}\n"


def _broken(line: str, width: int) -> int:
    """How many rows a line becomes; a wide character is never cut in two."""
    rows = used = 0
    for character in _STYLED.sub("", line):
        size = cell_len(character)
        if rows == 0 or used + size > width:
            rows, used = rows + 1, 0
        used += size
    return max(rows, 1)
