"""`agentkit eval`: the golden questions as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agentkit.cli.output import answer_as_json, as_json
from agentkit.cli.render import consoles, index_progress, warn
from agentkit.evaluation.questions import load_questions
from agentkit.evaluation.runner import Figure, Outcome, evaluate, figures
from agentkit.project.project import Project


async def run_eval(
    questions: Path,
    folder: Path,
    model: str,
    base_url: str | None,
    only_retrieval: bool,
    json: bool,
    show_misses: bool,
) -> int:
    """Ask every question of the file, and print what was reached beside what is asked for."""
    out, log = consoles()
    golden = load_questions(questions)
    with index_progress(log) as tell:
        project = Project.open(folder, model=model, base_url=base_url, on_progress=tell)
        await project.__aenter__()
    try:
        warn(project.notices, log)
        agent = project.agent
        outcomes = await evaluate(
            golden,
            project.knowledge.search,
            None if only_retrieval else agent.run,
            _counter(len(golden), log),
        )
    finally:
        await project.close()
    if json:
        print(as_json([_outcome_as_json(outcome) for outcome in outcomes]))
        return 0
    name = "none, only retrieval" if only_retrieval else agent.model.name
    _show_table(figures(outcomes), name, out)
    if show_misses:
        _show_misses(outcomes, out)
    return 0


def _counter(count: int, log: Console) -> Callable[[int], None]:
    """A running count on a terminal; silent when piped."""

    def tell(done: int) -> None:
        if log.is_terminal:
            log.print(f"[dim]{done}/{count}[/dim]", end="\r")

    return tell


def _show_table(rows: Sequence[Figure], model: str, out: Console) -> None:
    table = Table(title=f"golden questions, model {model}", title_justify="left")
    table.add_column("figure")
    for name in ("reached", "of", "share", "asked for"):
        table.add_column(name, justify="right")
    for row in rows:
        share = f"{row.share:.1%}" if row.count else "-"
        table.add_row(row.name, str(row.reached), str(row.count), share, row.target)
    out.print(table)


def _show_misses(outcomes: Sequence[Outcome], out: Console) -> None:
    for outcome in outcomes:
        question = outcome.question
        faults = [
            word
            for word, missed in (
                ("not first", question.answerable and not outcome.first),
                ("not among 5", question.answerable and not outcome.within),
                ("facts missing", question.answerable and outcome.answer and not outcome.facts),
                ("refused", question.answerable and outcome.refused),
                ("not refused", not question.answerable and outcome.answer and not outcome.refused),
            )
            if missed
        ]
        if faults:
            out.print(f"{question.id} ({question.kind}): {', '.join(faults)}: {question.question}")


def _outcome_as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "id": outcome.question.id,
        "question": outcome.question.question,
        "first": outcome.first,
        "within_5": outcome.within,
        "facts": outcome.facts,
        "refused": outcome.refused,
        "answer": answer_as_json(outcome.answer) if outcome.answer else None,
    }
