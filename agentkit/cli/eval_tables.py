"""The result of an evaluation as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentkit.cli.language import titled, translated
from agentkit.evaluation.report import Figure, Report, ScoreChange, describe_faults

_WIDTH_OF_A_PIPE = 140
_NARROW, _WIDE = 72, 110
"""Columns of a terminal below which intervals are left to --json and --html, and from which on each
figure is explained too."""
_NAMED = 8
_GROUPED = ("all@5", "facts")


def show_figures(report: Report, out: Console) -> None:
    """Every figure over all questions; of the groups the chief ones."""
    title = translated(f"golden questions, model {report.settings['model']}")
    columns = (translated("reached"), translated("share"), translated("95 % interval"))
    is_narrow = out.is_terminal and out.width < _NARROW
    table = _table(title, *(columns[:2] if is_narrow else (*columns, translated("asked for"))))
    if not out.is_terminal or out.width >= _WIDE:
        table.add_column("", no_wrap=True, overflow="ellipsis")
    sizes = {figure.name: figure.count for figure in report.figures if not figure.group}
    for figure in report.figures:
        if not figure.group or (figure.name in _GROUPED and figure.count < sizes[figure.name]):
            table.add_row(*_figure_row(figure)[: len(table.columns)])
    _draw(table, out)


def show_legs(report: Report, out: Console) -> None:
    """The retrieval figures of the legs beside each other."""
    table = _table(translated("legs side by side"), *report.retrievers)
    for own in zip(*report.retrievers.values(), strict=True):
        shown = [f"{figure.share:.1%} ({_range(figure.interval)})" for figure in own]
        table.add_row(own[0].key, *shown)
    _draw(table, out)


def show_changes(changes: Sequence[ScoreChange], out: Console) -> None:
    """What changed since the earlier run, and which questions moved."""
    columns = (translated("earlier"), translated("now"), translated("difference"))
    title = translated("beside the earlier run")
    table = _table(title, *columns, translated("95 % interval"), translated("of"))
    for change in changes:
        low, high = change.interval
        table.add_row(
            change.name,
            f"{change.earlier:.1%}",
            f"{change.now:.1%}",
            Text(f"{change.difference:+.1%}", style="bold" if change.is_certain else ""),
            translated(f"{low:+.1%} to {high:+.1%}"),
            str(change.count),
        )
    _draw(table, out)
    for change in changes:
        _show_moved(change.name, translated(f"{len(change.better)} better:"), change.better, out)
        _show_moved(change.name, translated(f"{len(change.worse)} worse:"), change.worse, out)


def _show_moved(name: str, label: str, ids: Sequence[str], out: Console) -> None:
    if ids:
        out.print(Text(f"{name}: {label} {_some(ids)}"))


def show_misses(report: Report, out: Console) -> None:
    """The questions that failed, a line each."""
    for outcome in report.outcomes:
        question, faults = outcome.question, describe_faults(outcome, report.depth)
        if faults:
            why = ", ".join(faults)
            out.print(Text(f"{question.id} ({question.kind}): {titled(why)}{question.question}"))


def _figure_row(figure: Figure) -> list[str | Text]:
    asked = Text(figure.requirement)
    if figure.met is not None:
        met, missed = translated("met"), translated("missed")
        asked.append(*((f", {met}", "green") if figure.met else (f", {missed}", "red")))
    return [
        Text(figure.key),
        translated(f"{figure.total:.4g} of {figure.count}"),
        f"{figure.share:.1%}",
        _range(figure.interval),
        asked,
        Text(_explained(figure), style="dim"),
    ]


def _explained(figure: Figure) -> str:
    return "" if figure.group or figure.label == figure.name else translated(figure.label)


def _range(bounds: tuple[float, float]) -> str:
    return translated(f"{bounds[0]:.1%} to {bounds[1]:.1%}")


def _some(ids: Sequence[str]) -> str:
    shown = ", ".join(ids[:_NAMED])
    more = len(ids) - _NAMED
    return translated(f"{shown} and {more} more") if more > 0 else shown


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column(translated("figure"), no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _draw(table: Table, out: Console) -> None:
    """Fitted to a terminal; a pipe gets lines that are not folded."""
    if not out.is_terminal:
        out.width = _WIDTH_OF_A_PIPE
    out.print(table, soft_wrap=False)
    out.print()
