"""The result of an evaluation as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentkit.evaluation.compare import Change
from agentkit.evaluation.figures import Figure
from agentkit.evaluation.report import Report, faults_of

_WIDTH_OF_A_PIPE = 140
_WIDE = 110
"""Columns of a terminal from which on each figure is explained too."""
_NAMED = 8
_GROUPED = ("all@5", "facts")


def show_figures(report: Report, out: Console) -> None:
    """Every figure over all questions; of the groups the chief ones."""
    title = f"golden questions, model {report.settings['model']}"
    table = _table(title, "reached", "share", "95 % interval", "asked for")
    explains = not out.is_terminal or out.width >= _WIDE
    if explains:
        table.add_column("", no_wrap=True, overflow="ellipsis")
    sizes = {figure.name: figure.count for figure in report.figures if not figure.group}
    for figure in report.figures:
        if not figure.group or (figure.name in _GROUPED and figure.count < sizes[figure.name]):
            row = _figure_row(figure)
            table.add_row(*(row if explains else row[:-1]))
    _draw(table, out)


def show_legs(report: Report, out: Console) -> None:
    """The retrieval figures of the legs beside each other."""
    table = _table("legs side by side", *report.legs)
    for own in zip(*report.legs.values(), strict=True):
        shown = [f"{figure.share:.1%} ({_range(figure.interval)})" for figure in own]
        table.add_row(own[0].key, *shown)
    _draw(table, out)


def show_changes(changes: Sequence[Change], out: Console) -> None:
    """What changed since the earlier run, and which questions moved."""
    table = _table("beside the earlier run", "earlier", "now", "difference", "95 % interval", "of")
    for change in changes:
        low, high = change.interval
        table.add_row(
            change.name,
            f"{change.earlier:.1%}",
            f"{change.now:.1%}",
            Text(f"{change.difference:+.1%}", style="bold" if change.is_certain else ""),
            f"{low:+.1%} to {high:+.1%}",
            str(change.count),
        )
    _draw(table, out)
    for change in changes:
        for word, ids in (("better", change.better), ("worse", change.worse)):
            if ids:
                out.print(Text(f"{change.name}: {len(ids)} {word}: {_some(ids)}"))


def show_misses(report: Report, out: Console) -> None:
    """The questions that failed, a line each."""
    for outcome in report.outcomes:
        question, faults = outcome.question, faults_of(outcome, report.depth)
        if faults:
            line = f"{question.id} ({question.kind}): {', '.join(faults)}: {question.question}"
            out.print(Text(line))


def _figure_row(figure: Figure) -> list[str | Text]:
    asked = Text(figure.asked)
    if figure.met is not None:
        asked.append(*((", met", "green") if figure.met else (", missed", "red")))
    return [
        Text(figure.key),
        f"{figure.reached:.4g} of {figure.count}",
        f"{figure.share:.1%}",
        _range(figure.interval),
        asked,
        Text("" if figure.group or figure.label == figure.name else figure.label, style="dim"),
    ]


def _range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.1%} to {bounds[1]:.1%}"


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("figure", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _draw(table: Table, out: Console) -> None:
    """Fitted to a terminal; a pipe gets lines that are not folded."""
    if not out.is_terminal:
        out.width = _WIDTH_OF_A_PIPE
    out.print(table, soft_wrap=False)
    out.print()
