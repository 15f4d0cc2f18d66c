"""The result of an evaluation as JSON, for programs and for --compare."""

from __future__ import annotations

from typing import Any

from agentkit.cli.output import answer_as_json
from agentkit.evaluation.report import Figure, Report
from agentkit.evaluation.runner import Outcome


def report_as_json(report: Report) -> dict[str, Any]:
    """The whole result."""
    legs = {
        leg: [_figure_as_json(figure) for figure in own] for leg, own in report.retrievers.items()
    }
    return {
        "format": 1,
        "settings": report.settings,
        "totals": [_figure_as_json(figure) for figure in report.figures],
        "legs": legs,
        "questions": [_outcome_as_json(outcome, report.depth) for outcome in report.outcomes],
    }


def _figure_as_json(figure: Figure) -> dict[str, Any]:
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


def _outcome_as_json(outcome: Outcome, depth: int) -> dict[str, Any]:
    question = outcome.question
    return {
        "id": question.id,
        "language": question.language,
        "kind": question.kind,
        "question": question.question,
        "ranks": list(outcome.ranks),
        "scores": outcome.scores(depth),
        "hits": [{"place": hit.chunk.place, "score": hit.score} for hit in outcome.hits],
        "answer": answer_as_json(outcome.answer) if outcome.answer else None,
        "error": outcome.error,
    }
