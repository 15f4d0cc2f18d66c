"""A label and what is said of it, side by side: the text folds beside its label, not below it."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDEST = 100


def print_row(label: Text, width: int, said: Text, console: Console) -> None:
    """Print a row whose label takes `width` columns. Where nobody looks on, nothing is folded."""
    if not console.is_terminal:
        below = "\n" + " " * (width + 1)
        gap = " " * (width - cell_len(label.plain) + 1)
        console.print(Text(f"{label.plain}{gap}{said.plain}".replace("\n", below)))
        return
    row = Table.grid(padding=(0, 1, 0, 0))
    row.add_column(width=width)
    row.add_column(overflow="fold")
    row.add_row(label, said)
    console.print(row, width=min(console.width, _WIDEST), soft_wrap=False)
