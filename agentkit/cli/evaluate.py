"""`agentkit eval`: the golden questions asked, and the result drawn, written and judged."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

from rich.console import Console

from agentkit import __version__
from agentkit.cli.errors import MISSED
from agentkit.cli.eval_output import report_as_json
from agentkit.cli.eval_tables import show_changes, show_figures, show_legs, show_misses
from agentkit.cli.language import translated
from agentkit.cli.output import as_json
from agentkit.cli.render import consoles, index_progress, warn
from agentkit.errors import ConfigError, KnowledgeError
from agentkit.evaluation.metrics import Ranks
from agentkit.evaluation.page import page
from agentkit.evaluation.questions import Kind, Question, load_questions
from agentkit.evaluation.report import (
    DEMO_BOUNDS,
    Report,
    check_bounds,
    compare,
    figures,
    load_earlier,
    parse_bounds,
    retriever_figures,
)
from agentkit.evaluation.runner import Ask, Outcome, evaluate, retriever_ranks
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.project.project import Project, demo_path


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user asked for. `model` is None where none shall be asked."""

    questions: Path
    folder: Path
    model: str | None = None
    base_url: str | None = None
    legs: bool = False
    misses: bool = False
    json: str = ""
    html: Path | None = None
    compare: Path | None = None
    fail_under: tuple[str, ...] = ()
    depth: int = 10
    limit: int | None = None
    kinds: tuple[str, ...] = ()
    jobs: int = 1


async def run_eval(wanted: Wanted) -> int:
    """Ask the questions. Returns MISSED where a figure is below what --fail-under asks for."""
    out, log = consoles()
    golden = _chosen(wanted)
    given = parse_bounds(wanted.fail_under)
    check_bounds(given, golden, wanted.model is not None, wanted.depth)
    _check_targets(wanted)
    earlier = load_earlier(wanted.compare) if wanted.compare else None
    outcomes, rankings, settings = await _asked(wanted, golden, log)
    own = DEMO_BOUNDS if _is_demo(wanted.questions) else {}
    report = Report(
        settings=settings,
        depth=wanted.depth,
        outcomes=outcomes,
        figures=figures(outcomes, wanted.depth, {**own, **given}),
        rankings=rankings,
        retrievers=retriever_figures(golden, rankings, wanted.depth),
        changes=compare(earlier, outcomes, wanted.depth) if earlier else (),
    )
    _write(report, wanted)
    if wanted.json != "-":
        _draw(report, wanted, out)
    return _verdict(report, given, log)


def _chosen(wanted: Wanted) -> list[Question]:
    """The questions of the file that are wanted."""
    unknown = [kind for kind in wanted.kinds if kind not in get_args(Kind)]
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is no kind. Choose of: {', '.join(get_args(Kind))}.")
    every = load_questions(wanted.questions)
    found = [q for q in every if not wanted.kinds or q.kind in wanted.kinds][: wanted.limit]
    if not found:
        raise ConfigError(f"{wanted.questions} holds no question of kind {wanted.kinds[0]}.")
    return found


def _check_targets(wanted: Wanted) -> None:
    """Refuse, before anything is asked, what could not be written, and to write over questions."""
    named = [Path(wanted.json)] if wanted.json not in ("", "-") else []
    for path in [*named, *([wanted.html] if wanted.html else [])]:
        if path.suffix == ".jsonl" or path.resolve() == wanted.questions.resolve():
            raise ConfigError(f"{path} looks like questions and is not written over. Name another.")
        if not path.parent.is_dir():
            raise ConfigError(f"{path.parent} is no folder. Make it, or name another for {path}.")


async def _asked(
    wanted: Wanted, golden: Sequence[Question], log: Console
) -> tuple[list[Outcome], dict[str, list[Ranks]], dict[str, Any]]:
    """Outcomes, rankings of the legs (where they are wanted) and the settings of the run."""
    async with AsyncExitStack() as stack:
        project, knowledge, ask = await _opened(wanted, stack, log)
        outcomes = await evaluate(
            golden,
            knowledge.search,
            ask,
            depth=wanted.depth,
            jobs=wanted.jobs,
            on_progress=_counter(translated("questions"), len(golden), log),
        )
        failed = [outcome.error for outcome in outcomes if outcome.error]
        if failed:
            warn([f"{len(failed)} questions were not answered, the first for: {failed[0]}"], log)
        rankings = await _legs(wanted, golden, outcomes, project, log) if wanted.legs else {}
        name = project.agent.model.name if ask else ""
        return outcomes, rankings, await _settings(wanted, project, knowledge, name)


async def _opened(
    wanted: Wanted, stack: AsyncExitStack, log: Console
) -> tuple[Project, KnowledgeBase, Ask | None]:
    """The project with its index; the agent only where a model shall be asked."""
    with index_progress(log) as tell:
        project = Project.open(
            wanted.folder, model=wanted.model, base_url=wanted.base_url, on_progress=tell
        )
        stack.push_async_callback(project.close)
        if wanted.model is None:
            knowledge = await project.ready_knowledge()
        else:
            knowledge = (await project.__aenter__()).agent.knowledge
    if knowledge is None:
        raise KnowledgeError(project.notices.pop())
    warn(project.notices, log)
    return project, knowledge, None if wanted.model is None else project.agent.run


async def _legs(
    wanted: Wanted,
    golden: Sequence[Question],
    outcomes: Sequence[Outcome],
    project: Project,
    log: Console,
) -> dict[str, list[Ranks]]:
    """The rankings of each leg. Beside a reranker the index is opened once more without it."""
    searched = [outcome.ranks for outcome in outcomes]
    tell = _counter(translated("legs"), len(golden), log)
    if not project.settings.knowledge.rerank:
        found = await retriever_ranks(golden, project.knowledge.search, wanted.depth, tell)
        return {**found, "hybrid": searched}
    bare = KnowledgeBase.open(project.index_path, project.knowledge.embedder)
    try:
        found = await retriever_ranks(golden, bare.search, wanted.depth, tell)
        hybrid = await evaluate(golden, bare.search, depth=wanted.depth)
    finally:
        bare.close()
    return {**found, "hybrid": [outcome.ranks for outcome in hybrid], "rerank": searched}


async def _settings(
    wanted: Wanted, project: Project, knowledge: KnowledgeBase, model: str
) -> dict[str, Any]:
    """What the figures depend on."""
    known = project.settings.knowledge
    return {
        "model": model or "none, only retrieval",
        "embedder": knowledge.embedder.name,
        "rerank": known.rerank,
        "results": known.results,
        "chunk_tokens": known.chunk_tokens,
        "documents": len(await knowledge.documents()),
        "passages": knowledge.chunk_count,
        "questions": wanted.questions.name,
        "kinds": ", ".join(wanted.kinds),
        "limit": wanted.limit or "",
        "k": wanted.depth,
        "agentkit": __version__,
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(report: Report, wanted: Wanted) -> None:
    if wanted.json == "-":
        print(as_json(report_as_json(report)))
    elif wanted.json:
        _write_text(Path(wanted.json), as_json(report_as_json(report)) + "\n")
    if wanted.html:
        _write_text(wanted.html, page(report))


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}. Name another.") from error


def _draw(report: Report, wanted: Wanted, out: Console) -> None:
    show_figures(report, out)
    if report.retrievers:
        show_legs(report, out)
    if report.changes:
        show_changes(report.changes, out)
    if wanted.misses:
        show_misses(report, out)


def _verdict(report: Report, given: Mapping[str, float], log: Console) -> int:
    missed = [figure for figure in report.missed if figure.key in given]
    for figure in missed:
        line = f"missed: {figure.key} is {figure.share:.1%}, asked for is {figure.requirement}"
        log.print(f"[red]{translated(line)}[/red]")
    unmeasured = [key for key in given if key not in {figure.key for figure in report.figures}]
    for key in unmeasured:
        log.print(f"[red]{translated(f'missed: {key} could not be measured')}[/red]")
    return MISSED if missed or unmeasured else 0


def _is_demo(questions: Path) -> bool:
    """Whether these are the demo's own questions, for which something is asked."""
    shipped = demo_path() / "questions.jsonl"
    return shipped.is_file() and shipped.read_bytes() == questions.read_bytes()


def _counter(what: str, count: int, log: Console) -> Callable[[int], None]:
    """A running count on a terminal; silent when piped."""

    def tell(done: int) -> None:
        if log.is_terminal:
            end = "\n" if done == count else "\r"
            log.print(f"[dim]{what}: {translated(f'{done} of {count}')}[/dim]", end=end)

    return tell
