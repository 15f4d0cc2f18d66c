"""The last lines of a terminal, painted again in place: only those that changed are written, all in
one write, so that nothing flickers. What has left the screen at its top stays as it was."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.segment import Segment, Segments

_UP = "\x1b[{}F"
_CLEAR_LINE = "\x1b[2K"
_CLEAR_BELOW = "\x1b[J"


class Region:
    """Lines that end where the cursor stands. Nobody else may write while it is drawn."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown: list[str] = []
        self._width = 0

    def draw(self, lines: Sequence[str]) -> None:
        """Show these lines in the place of those before; each must fit the width."""
        width, height = self._console.size
        start = _shared(self._shown, lines) if width == self._width else 0
        start = max(start, len(self._shown) - (height - 1))
        start = min(start, len(lines), len(self._shown))
        up = min(len(self._shown) - start, height - 1)
        text = "".join(f"{_CLEAR_LINE}{line}\n" for line in lines[start:])
        if up or text:
            moved = _UP.format(up) if up else ""
            self._console.file.write(f"{moved}{text}{_CLEAR_BELOW if up else ''}")
            self._console.file.flush()
        self._shown, self._width = list(lines), width

    def settle(self) -> None:
        """What is shown stays; the next lines come below."""
        self._shown = []


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
