"""The result of an evaluation: as tables for a terminal, and as JSON for programs and --compare."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentkit.cli.console import print_table
from agentkit.cli.json_output import answer_record
from agentkit.evaluation.report import Figure, Report, ScoreChange, describe_faults
from agentkit.evaluation.runner import Outcome

_NARROW, _WIDE = 72, 110
"""Columns of a terminal below which intervals are left out, and from which on each figure is
explained."""
_NAMED = 8
_GROUPED = ("all@5", "facts")


def print_report(report: Report, out: Console, *, misses: bool = False) -> None:
    """Print all figures as tables; with `misses` also the questions that failed."""
    _print_figures(report, out)
    if report.retrievers:
        _print_retrievers(report, out)
    if report.changes:
        _print_changes(report.changes, out)
    if misses:
        for outcome in report.outcomes:
            question, faults = outcome.question, describe_faults(outcome, report.depth)
            if faults:
                reasons = ", ".join(faults)
                out.print(Text(f"{question.id} ({question.kind}): {reasons}: {question.question}"))


def report_record(report: Report) -> dict[str, Any]:
    """The whole result."""
    retrievers = {
        name: [_figure_record(figure) for figure in own] for name, own in report.retrievers.items()
    }
    return {
        "format": 1,
        "settings": report.settings,
        "totals": [_figure_record(figure) for figure in report.figures],
        "legs": retrievers,
        "questions": [_outcome_record(outcome, report.depth) for outcome in report.outcomes],
    }


def _figure_record(figure: Figure) -> dict[str, Any]:
    low, high = figure.interval
    return {
        "name": figure.key,
        "label": figure.label,
        "reached": round(figure.total, 6),
        "count": figure.count,
        "share": round(figure.share, 6),
        "low": round(low, 6),
        "high": round(high, 6),
        "asked": figure.bound,
        "met": figure.met,
    }


def _outcome_record(outcome: Outcome, depth: int) -> dict[str, Any]:
    question = outcome.question
    return {
        "id": question.id,
        "language": question.language,
        "kind": question.kind,
        "question": question.question,
        "ranks": list(outcome.ranks),
        "scores": outcome.scores(depth),
        "hits": [{"place": hit.chunk.place, "score": hit.score} for hit in outcome.hits],
        "answer": answer_record(outcome.answer) if outcome.answer else None,
        "error": outcome.error,
    }


def _print_figures(report: Report, out: Console) -> None:
    """Every figure over all questions; of the groups only the chief ones."""
    columns = ["reached", "share"]
    if out.soft_wrap or out.width >= _NARROW:
        columns += ["95 % interval", "required"]
    table = _table(f"golden questions, model: {report.settings['model']}", columns)
    if out.soft_wrap or out.width >= _WIDE:
        table.add_column("", no_wrap=True, overflow="ellipsis")
    sizes = {figure.name: figure.count for figure in report.figures if not figure.group}
    for figure in report.figures:
        if not figure.group or (figure.name in _GROUPED and figure.count < sizes[figure.name]):
            table.add_row(*_figure_row(figure)[: len(table.columns)])
    _print_table(table, out)


def _figure_row(figure: Figure) -> list[str | Text]:
    required = Text(figure.requirement)
    if figure.met is not None:
        required.append(*((", met", "green") if figure.met else (", missed", "red")))
    label = "" if figure.group or figure.label == figure.name else figure.label
    return [
        Text(figure.key),
        f"{figure.total:.4g} of {figure.count}",
        f"{figure.share:.1%}",
        _format_range(figure.interval),
        required,
        Text(label, style="dim"),
    ]


def _print_retrievers(report: Report, out: Console) -> None:
    """The retrieval figures of the retrievers side by side."""
    table = _table("retrievers side by side", list(report.retrievers))
    for row in zip(*report.retrievers.values(), strict=True):
        shares = [f"{figure.share:.1%} ({_format_range(figure.interval)})" for figure in row]
        table.add_row(row[0].key, *shares)
    _print_table(table, out)


def _print_changes(changes: Sequence[ScoreChange], out: Console) -> None:
    """What changed since the earlier run, and for which questions."""
    columns = ["earlier", "now", "difference", "95 % interval", "of"]
    table = _table("compared with the earlier run", columns)
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
    _print_table(table, out)
    for change in changes:
        for label, ids in (("better", change.better), ("worse", change.worse)):
            if ids:
                out.print(Text(f"{change.name}: {len(ids)} {label}: {_format_ids(ids)}"))


def _format_range(bounds: tuple[float, float]) -> str:
    return f"{bounds[0]:.1%} to {bounds[1]:.1%}"


def _format_ids(ids: Sequence[str]) -> str:
    names = ", ".join(ids[:_NAMED])
    more = len(ids) - _NAMED
    return f"{names} and {more} more" if more > 0 else names


def _table(title: str, columns: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("figure", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _print_table(table: Table, out: Console) -> None:
    print_table(table, out)
    out.print()
