"""Print to the terminal: consoles, rows, progress, JSON and questions.

Control characters of anything from outside (documents, models, servers) are removed on the way to
the screen, here and nowhere else.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import IO, TYPE_CHECKING, Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.control import Control
from rich.padding import Padding
from rich.segment import ControlType, Segment
from rich.table import Table
from rich.text import Text

from agentkit.cli.i18n import _, counted
from agentkit.cli.text import shorten, strip_controls
from agentkit.errors import ConfigError
from agentkit.text.hidden import TERMINAL_UNSAFE, escape_hidden, escape_json

if TYPE_CHECKING:
    from agentkit.knowledge.index.report import Progress as IndexProgress

INDENT = 4
_LINE_SECONDS = 5.0
_PIPE_WIDTH = 2000
"""Columns of a table that is not printed to a terminal."""


class SafeConsole(Console):
    """A console whose output cannot drive the terminal: only its own styles and controls reach it.
    `soft_wrap` is set where lines stay whole: in pipes and for screen readers."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control or not TERMINAL_UNSAFE.search(segment.text):
                yield segment
            else:
                yield Segment(strip_controls(segment.text), segment.style)


def open_consoles(plain: bool = False) -> tuple[Console, Console]:
    """Standard output for answers, standard error for everything else. Plain ones have no colours
    and redraw nothing, as screen readers need (AGENTKIT_SCREEN_READER=1)."""
    plain = plain or os.environ.get("AGENTKIT_SCREEN_READER", "0") not in ("", "0")
    return _open_console(sys.stdout, plain), _open_console(sys.stderr, plain)


def _open_console(file: TextIO, plain: bool) -> Console:
    if plain:
        return plain_console(file)
    return SafeConsole(file=file, highlight=False, soft_wrap=not file.isatty(), emoji=False)


def plain_console(file: Any) -> Console:
    """A console without colours, whose lines stay whole."""
    return SafeConsole(
        file=file,
        color_system=None,
        force_terminal=False,
        highlight=False,
        soft_wrap=True,
        emoji=False,
    )


def format_arguments(arguments: Any) -> str:
    """The exact arguments of a call as JSON; what a terminal would hide or obey is escaped."""
    if isinstance(arguments, str):
        text = arguments
    else:
        text = json.dumps(dict(arguments), ensure_ascii=False, indent=2, default=str)
    return escape_hidden(text)


def print_json(value: Any, file: IO[str] | None = None) -> None:
    """Print a value as JSON, to standard output by default."""
    print(escape_json(json.dumps(value, ensure_ascii=False, indent=2)), file=file)


def print_notes(lines: Iterable[str], log: Console) -> None:
    """Print notices, a line each."""
    for line in lines:
        print_labelled(_("note:"), "yellow", line, log)


def print_labelled(label: str, style: str, message: str, log: Console) -> None:
    """Print a message on one line behind a coloured label."""
    gap = "" if label.endswith("：") else " "
    log.print(Text.assemble((label, style), gap + " ".join(message.split())))


def print_line(line: Text, console: Console) -> None:
    """Print one row, cut at the width of a terminal; whole in a pipe."""
    if console.soft_wrap:
        console.print(line)
    else:
        console.print(line, no_wrap=True, overflow="ellipsis")


def print_indented(text: Text, console: Console) -> None:
    """Print a text with all of its rows indented; on one line in a pipe."""
    if console.soft_wrap:
        console.print(Text(" " * INDENT).append_text(text))
    else:
        console.print(Padding(text, (0, 0, 0, min(INDENT, console.width // 4)), expand=False))


def print_rows(
    rows: Sequence[Sequence[Text]], console: Console, *, width: int = 0, cut: bool = False
) -> None:
    """Print rows of columns, the first at least `width` wide, the last wrapped beside the others
    or `cut`; in a pipe each row is one line."""
    if console.soft_wrap:
        for first, *rest in rows:
            first.pad_right(max(0, width - first.cell_len))
            line = Text("  ").join([first, *rest])
            indent = f"\n{' ' * (width + 2)}"
            console.print(Text(indent).join(line.split("\n")) if "\n" in line.plain else line)
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    if cut and rows:
        widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)][:-1]
        room = console.width - sum(widths) - 2 * len(widths)
        for row in rows:
            row[-1].truncate(max(room, console.width // 2), overflow="ellipsis")
    table.add_column(min_width=width, no_wrap=True, overflow="ellipsis")
    for _column in rows[0][1:-1] if rows else ():
        table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=cut, overflow="ellipsis" if cut else "fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def print_table(table: Table, console: Console) -> None:
    """Print a table fitted to a terminal, or with whole rows where lines stay whole."""
    if console.soft_wrap:
        console.width = _PIPE_WIDTH  # The `width` of print() cannot exceed the console's.
    console.print(table, soft_wrap=False)


def confirm(question: str, *, yes: bool = False) -> bool:
    """Ask on standard error; without a terminal only --yes agrees. Raises ConfigError."""
    if yes:
        return True
    if not sys.stdin.isatty():
        raise ConfigError(f"{question} Standard input is not a terminal: pass --yes.")
    print(strip_controls(question), end=" [y/N] ", file=sys.stderr, flush=True)
    return is_yes(sys.stdin.readline())


def is_yes(answer: str) -> bool:
    return answer.strip().casefold() in ("y", "yes")


def redraw_line(text: str, log: Console, *, is_last: bool) -> None:
    """Print a line that the next one overwrites, or the last one; silent in a pipe."""
    if not log.is_terminal:
        return
    line = Text(text, "dim")
    if is_last:
        log.print(line)
    else:
        log.print(line, Control(ControlType.CARRIAGE_RETURN), end="")


@contextmanager
def index_progress(log: Console) -> Iterator[Callable[[IndexProgress], None]]:
    """A progress bar that appears when there is something to embed; where nothing may be redrawn a
    line every few seconds, less often in a long run. An interruption is reported with what was
    kept."""
    last: list[IndexProgress] = []
    with _bar(log) if log.is_terminal else nullcontext(_lines(log)) as draw:

        def show(progress: IndexProgress) -> None:
            last[:] = [progress]
            draw(progress)

        try:
            yield show
        except (KeyboardInterrupt, asyncio.CancelledError):
            if last and last[0].source:
                log.print(Text(_interruption(last[0])))
            raise


@contextmanager
def _bar(log: Console) -> Iterator[Callable[[IndexProgress], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn(_("indexing")),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[details]}", markup=False),
    )
    with Progress(*columns, console=log, transient=True) as bar:
        task = bar.add_task("", total=None, visible=False, details="")
        yield lambda progress: bar.update(
            task,
            total=progress.total,
            completed=progress.done,
            visible=bool(progress.source),
            details=_format_progress(progress),
        )


def _lines(log: Console) -> Callable[[IndexProgress], None]:
    due = _LINE_SECONDS

    def show(progress: IndexProgress) -> None:
        nonlocal due
        if progress.source and progress.seconds >= due:
            due = progress.seconds + max(_LINE_SECONDS, progress.seconds / 10)
            done = f"{progress.done}/{progress.total}"
            log.print(Text(" ".join([_("indexing"), done, _format_progress(progress)])))

    return show


def _interruption(progress: IndexProgress) -> str:
    if progress.of_passages:
        return _(
            "Interrupted: {chunks} of {total} passages have new vectors, which are kept; searches "
            "use the old ones. Run the command again to continue."
        ).format(total=progress.total, chunks=progress.chunks)
    return _(
        "Interrupted: {done} of {total} documents are indexed and {chunks} new passages are kept. "
        "Index again to continue."
    ).format(done=progress.done, total=progress.total, chunks=progress.chunks)


def _format_progress(progress: IndexProgress) -> str:
    """Passages, passages a second, the time left and the current file."""
    parts = [counted("{count} passage", "{count} passages", progress.chunks)]
    if progress.chunks:
        parts.append(f"{progress.rate:.1f}/s")
    if progress.seconds_left is not None:
        minutes, seconds = divmod(round(progress.seconds_left), 60)
        parts.append(_("about {time} left").format(time=f"{minutes}:{seconds:02}"))
    return _(", ").join([*parts, shorten(progress.source)])
