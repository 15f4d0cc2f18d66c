"""A terminal's screen as people see it, which answers questions and takes new sizes as others do.

One that reflows breaks each row that has become too long in two, as most terminals do; one that
does not cuts it off, as xterm does. Rows that were broken stay so when the screen becomes wider.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pyte
from pyte.screens import Char, StaticDefaultDict

Row = Mapping[int, Char]


class Emulator(pyte.HistoryScreen):
    """`answer` takes what it says when it is asked where its cursor is."""

    answer: Callable[[str], object] = staticmethod(lambda text: None)

    def __init__(self, columns: int, rows: int, *, reflows: bool = True) -> None:
        super().__init__(columns, rows, history=20_000)
        self.reflows = reflows

    def write_process_input(self, data: str) -> None:
        self.answer(data)

    def resize(self, lines: int | None = None, columns: int | None = None) -> None:
        """Take a new size. What is above the cursor stays; it leaves at the top where it must."""
        lines, columns = lines or self.lines, columns or self.columns
        before = [self.buffer[y] for y in range(self.cursor.y)]
        above = [part for row in before for part in self._parts(row, columns)]
        rest = [dict(self.buffer[y]) for y in range(self.cursor.y, self.lines)]
        gone = max(0, len(above) + 1 - lines)
        self.history.top.extend(above[:gone])
        rows = [*above[gone:], *rest][:lines]
        self.buffer.clear()
        for y, row in enumerate(rows):
            self.buffer[y] = self._line({x: cell for x, cell in row.items() if x < columns})
        self.cursor.y, self.cursor.x = len(above) - gone, min(self.cursor.x, columns - 1)
        self.lines, self.columns = lines, columns
        self.set_margins()

    @property
    def text(self) -> str:
        """What the screen shows; a wide character stands there once."""
        return "\n".join(line.rstrip() for line in self.display).rstrip()

    @property
    def whole(self) -> str:
        """What the screen shows, and all that has left it at the top."""
        above = ["".join(row[x].data for x in sorted(row)).rstrip() for row in self.history.top]
        return "\n".join([*above, self.text])

    def _parts(self, row: Row, columns: int) -> Iterator[StaticDefaultDict[int, Char]]:
        """A row as rows of the new width."""
        end = max((x + 1 for x, cell in row.items() if cell.data.strip()), default=0)
        if not self.reflows:
            yield self._line({x: row[x] for x in range(min(end, columns)) if x in row})
            return
        start = 0
        while start == 0 or start < end:
            stop = start + columns
            if stop in row and row[stop].data == "":
                stop -= 1
            cells = {x - start: row[x] for x in range(start, min(stop, end + 1)) if x in row}
            yield self._line(cells)
            start = stop

    def _line(self, cells: Row) -> StaticDefaultDict[int, Char]:
        line: StaticDefaultDict[int, Char] = StaticDefaultDict(self.default_char)
        line.update(cells)
        return line
