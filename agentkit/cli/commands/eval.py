"""`agentkit eval`: ask golden questions, report the figures, and generate questions."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from rich.console import Console
from rich.text import Text
from typer import Argument, Option
from typer.core import TyperGroup

from agentkit import __version__
from agentkit.cli.command import BaseUrl, Folder, Model, command
from agentkit.cli.commands.init import project_folder
from agentkit.cli.console import (
    index_progress,
    open_consoles,
    print_json,
    print_notes,
    redraw_line,
)
from agentkit.cli.errors import MISSED
from agentkit.cli.i18n import _
from agentkit.errors import ConfigError, KnowledgeError, ModelError, file_error
from agentkit.findings import for_folder, join_names, quantity

if TYPE_CHECKING:
    from agentkit.documents import Chunk
    from agentkit.evaluation.generate import GeneratedQuestions
    from agentkit.evaluation.metrics import Ranks
    from agentkit.evaluation.questions import Question
    from agentkit.evaluation.report import Report
    from agentkit.evaluation.runner import Outcome
    from agentkit.knowledge.knowledge_base import KnowledgeBase
    from agentkit.project.project import Project

_RUN = "run"
_EXAMPLES = 3


class _RunByDefault(TyperGroup):
    """A group whose command `run` need not be written."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        rest = args[2:] if args[:1] in (["-C"], ["--folder"]) else args
        is_named = rest and (rest[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if is_named else [_RUN, *args])


app = typer.Typer(
    name="eval",
    cls=_RunByDefault,
    help=_(
        "Ask golden questions and report retrieval and answers.\n\n`run` need not be written; its "
        "options: agentkit eval run --help."
    ),
)


@command(
    app,
    _RUN,
    _("Ask the golden questions and print what was found, answered and refused."),
    "agentkit eval",
    "agentkit eval -m ollama:qwen3:8b --html report.html",
)
async def run(
    questions: Annotated[
        Path | None, Argument(help=_("Default: questions.jsonl in the folder."))
    ] = None,
    folder: Folder = Path(),
    model: Annotated[str, Option("--model", "-m")] = "extractive",
    base_url: BaseUrl = None,
    only_retrieval: Annotated[bool, Option(help=_("Only search; ask no model."))] = False,
    compare_retrievers: Annotated[
        bool, Option("--legs", help=_("Compare dense, keyword, hybrid and reranked retrieval."))
    ] = False,
    misses: Annotated[bool, Option(help=_("List the questions that failed."))] = False,
    json: Annotated[
        str, Option("--json", metavar="FILE", help=_("Write the whole result; - prints it."))
    ] = "",
    html: Annotated[
        Path | None, Option("--html", help=_("Write a page with plots."), metavar="FILE")
    ] = None,
    compare: Annotated[
        Path | None, Option(help=_("An earlier --json FILE to compare."), metavar="FILE")
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        Option(
            help=_("Such as recall@5=0.9; repeatable. Exits with 12 if missed."),
            metavar="NAME=SHARE",
        ),
    ] = None,
    k: Annotated[int, Option("-k", "--k", min=1, max=50, help=_("Passages of one search."))] = 10,
    limit: Annotated[int | None, Option(min=1, help=_("Only the first so many."))] = None,
    kind: Annotated[list[str] | None, Option(help=_("Only this kind; repeatable."))] = None,
    jobs: Annotated[int, Option(min=1, max=64, help=_("Questions asked at once."))] = 1,
) -> int:
    from agentkit.cli.commands.eval_report import print_report, report_record
    from agentkit.evaluation.page import page
    from agentkit.evaluation.report import (
        DEMO_BOUNDS,
        Report,
        check_bounds,
        figures,
        load_earlier,
        parse_bounds,
        retriever_figures,
    )
    from agentkit.evaluation.report import (
        compare as compare_runs,
    )
    from agentkit.evaluation.runner import evaluate

    out, log = open_consoles()
    project_folder(folder, log, ask=False)
    questions = questions or folder / "questions.jsonl"
    golden = _load_questions(questions, kind or [], limit)
    bounds = parse_bounds(fail_under or [])
    check_bounds(bounds, golden, not only_retrieval, k)
    _check_targets(questions, json, html)
    earlier = load_earlier(compare) if compare else None
    async with AsyncExitStack() as stack:
        asked = None if only_retrieval else model
        project, knowledge = await _open(stack, folder, asked, base_url, log)
        indexed = [document.source for document in await knowledge.documents()]
        _check_sources(questions, folder, golden, indexed, log)
        outcomes = await evaluate(
            golden,
            knowledge.search,
            None if only_retrieval else project.agent.run,
            depth=k,
            jobs=jobs,
            on_progress=_counter("questions", len(golden), log),
        )
        failed = [outcome.error for outcome in outcomes if outcome.error]
        if failed:
            note = f"{quantity(len(failed), 'question')} failed; the first error: {failed[0]}"
            print_notes([note], log)
        rankings = (
            await _rank_retrievers(golden, outcomes, k, project, log) if compare_retrievers else {}
        )
        settings = await _settings(project, knowledge) | {
            "model": "none (only retrieval)" if only_retrieval else project.agent.model.name,
            "questions": questions.name,
            "kinds": ", ".join(kind or ()),
            "limit": limit or "",
            "k": k,
        }
    demo_bounds = DEMO_BOUNDS if _is_demo(questions) else {}
    report = Report(
        settings=settings,
        depth=k,
        outcomes=outcomes,
        figures=figures(outcomes, k, {**demo_bounds, **bounds}),
        rankings=rankings,
        retrievers=retriever_figures(golden, rankings, k),
        changes=compare_runs(earlier, outcomes, k) if earlier else (),
    )
    if json == "-":
        print_json(report_record(report))
    else:
        if json:
            import json as json_module

            text = json_module.dumps(report_record(report), ensure_ascii=False, indent=2)
            _write(Path(json), text + "\n")
        print_report(report, out, misses=misses)
    if html:
        _write(html, page(report))
    return _verdict(report, bounds, log)


@command(
    app,
    "generate",
    _("Let a model write questions about the documents, for a person to check."),
    "agentkit eval generate -m ollama:qwen3:8b",
)
async def generate(
    count: Annotated[int, Option("-n", "--count", min=1, max=1000)] = 20,
    out: Annotated[
        Path | None, Option(help=_("Default: questions.jsonl in the folder."), metavar="FILE")
    ] = None,
    folder: Folder = Path(),
    model: Model = None,
    base_url: BaseUrl = None,
    seed: Annotated[int, Option(help=_("Another seed takes other passages."))] = 0,
) -> None:
    from agentkit.cli.project import describe_model, open_project
    from agentkit.evaluation.generate import generate as generate_questions
    from agentkit.evaluation.generate import sample_passages
    from agentkit.project.scaffold import is_sample_questions

    path = out or folder / "questions.jsonl"
    console, log = open_consoles()
    project_folder(folder, log, ask=False)
    replaced = is_sample_questions(path)
    if path.exists() and not replaced:
        raise ConfigError(f"{path} exists. Name another file with --out.")
    async with open_project(folder, log, model=model, base_url=base_url) as project:
        knowledge = project.agent.knowledge
        if knowledge is None:
            raise KnowledgeError(f"{folder} has no folder knowledge/ to ask about.")
        name = await describe_model(project.agent.model)
        tokens = project.settings.knowledge.chunk_tokens
        passages = sample_passages(await _passages(knowledge, tokens), seed)
        if not passages:
            raise KnowledgeError(f"{folder / 'knowledge'} has no passage long enough to ask about.")
        log.print(Text(f"{name} is asked about at most {quantity(len(passages), 'passage')}."))

        def show(kept: int, asked: int) -> None:
            text = f"{kept} of {quantity(count, 'question')}, {quantity(asked, 'passage')}"
            redraw_line(text, log, is_last=kept == count)

        made = await generate_questions(
            project.agent.model, passages, count, seed=seed, on_progress=show
        )
    if not made.questions:
        reasons = _format_dropped(made)
        raise ModelError(f"{name} wrote no usable question ({reasons}). Try a larger model.")
    lines = [question.model_dump_json(exclude_defaults=True) + "\n" for question in made.questions]
    _write(path, "".join(lines), mode="w" if replaced else "x")
    _print_generated(made, path, count, console)


def _load_questions(path: Path, kinds: Sequence[str], limit: int | None) -> list[Question]:
    from agentkit.evaluation.questions import Kind, load_questions

    known = get_args(Kind)
    if unknown := [kind for kind in kinds if kind not in known]:
        names = ", ".join(known)
        raise ConfigError(f"{unknown[0]!r} is not a kind of question. Choose one of: {names}.")
    found = [q for q in load_questions(path) if not kinds or q.kind in kinds][:limit]
    if not found:
        raise ConfigError(f"{path} has no question of kind {kinds[0]}.")
    return found


def _check_sources(
    path: Path, folder: Path, golden: Sequence[Question], indexed: Sequence[str], log: Console
) -> None:
    """Print which expected documents are not indexed: no search can find them. Raises ConfigError
    where that is all of them."""
    expected = {place.source for q in golden for group in q.expected for place in group}
    if not (missing := sorted(expected.difference(indexed))):
        return
    named = f"{path} asks about documents that are not indexed: {join_names(missing)}"
    if len(missing) == len(expected):
        raise ConfigError(
            f"{named}. Write questions about yours, one per line, or let a model write them: "
            + for_folder("agentkit eval generate -m MODEL", folder, "-C")
        )
    print_notes([named], log)


def _check_targets(questions: Path, json: str, html: Path | None) -> None:
    """Refuse, before anything is asked, files that cannot be written or that hold questions."""
    named = [Path(json)] if json not in ("", "-") else []
    for path in [*named, *([html] if html else [])]:
        if path.suffix == ".jsonl" or path.resolve() == questions.resolve():
            raise ConfigError(f"{path} looks like questions and is not overwritten. Name another.")
        if not path.parent.is_dir():
            raise ConfigError(f"{path.parent} is not a directory. Name another for {path}.")


async def _open(
    stack: AsyncExitStack, folder: Path, model: str | None, base_url: str | None, log: Console
) -> tuple[Project, KnowledgeBase]:
    """The project with its index; its agent only where there is a model."""
    from agentkit.project.project import Project

    with index_progress(log) as show:
        project = Project.open(folder, model=model, base_url=base_url, on_progress=show)
        stack.push_async_callback(project.close)
        if model is None:
            knowledge = await project.ready_knowledge()
        else:
            knowledge = (await project.__aenter__()).agent.knowledge
    if knowledge is None:
        raise KnowledgeError(project.notices.pop())
    print_notes(project.notices, log)
    return project, knowledge


async def _rank_retrievers(
    golden: Sequence[Question],
    outcomes: Sequence[Outcome],
    depth: int,
    project: Project,
    log: Console,
) -> dict[str, list[Ranks]]:
    """The rankings of each retriever. With a reranker the index is also searched without it."""
    from agentkit.evaluation.runner import evaluate, retriever_ranks
    from agentkit.knowledge.knowledge_base import KnowledgeBase

    ranks = [outcome.ranks for outcome in outcomes]
    show = _counter("retrievers", len(golden), log)
    if not project.settings.knowledge.rerank:
        found = await retriever_ranks(golden, project.knowledge.search, depth, show)
        return {**found, "hybrid": ranks}
    bare = KnowledgeBase.open(project.index_path, project.knowledge.embedder)
    try:
        found = await retriever_ranks(golden, bare.search, depth, show)
        hybrid = await evaluate(golden, bare.search, depth=depth)
    finally:
        bare.close()
    return {**found, "hybrid": [outcome.ranks for outcome in hybrid], "rerank": ranks}


async def _settings(project: Project, knowledge: KnowledgeBase) -> dict[str, Any]:
    """What the figures depend on."""
    settings = project.settings.knowledge
    return {
        "embedder": knowledge.embedder.name,
        "rerank": settings.rerank,
        "results": settings.results,
        "chunk_tokens": settings.chunk_tokens,
        "documents": len(await knowledge.documents()),
        "passages": knowledge.chunk_count,
        "agentkit": __version__,
        "python": platform.python_version(),
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _verdict(report: Report, bounds: Mapping[str, float], log: Console) -> int:
    """Print the figures below --fail-under, and return the exit code."""
    missed = [figure for figure in report.missed if figure.key in bounds]
    measured = {figure.key for figure in report.figures}
    lines = [f"missed: {f.key} is {f.share:.1%}, required is {f.requirement}" for f in missed]
    lines += [f"missed: {key} was not measured" for key in bounds if key not in measured]
    for line in lines:
        log.print(Text(line, "red"))
    return MISSED if lines else 0


def _is_demo(questions: Path) -> bool:
    """Whether these are the demo's own questions, which have bounds."""
    from agentkit.project.demo import demo_path

    shipped = demo_path() / "questions.jsonl"
    return shipped.is_file() and shipped.read_bytes() == questions.read_bytes()


def _counter(label: str, count: int, log: Console) -> Any:
    return lambda done: redraw_line(f"{label}: {done} of {count}", log, is_last=done == count)


def _write(path: Path, text: str, mode: str = "w") -> None:
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(file_error(path, error, "written")) from error


async def _passages(knowledge: KnowledgeBase, tokens: int) -> list[list[Chunk]]:
    """The passages of each document, as the index cuts them."""
    from agentkit.knowledge.chunking.splitter import split

    documents = [await knowledge.document(info.source) for info in await knowledge.documents()]
    count = knowledge.embedder.count_tokens
    return [split(document, count, tokens) for document in documents]


def _print_generated(made: GeneratedQuestions, path: Path, count: int, out: Console) -> None:
    dropped = f"; dropped: {_format_dropped(made)}" if made.dropped else ""
    number, tried = len(made.questions), quantity(made.tried, "passage")
    out.print(Text(f"{path}: {quantity(number, 'question')} from {tried}{dropped}."))
    if number < count:
        out.print(Text(f"{number} of {count} requested: a larger model drops fewer."))
    for question in made.questions[:_EXAMPLES]:
        out.print(Text(f"  {question.question}"))
    out.print(Text(f"Check them, then run: agentkit eval {path}"))


def _format_dropped(made: GeneratedQuestions) -> str:
    reasons = [f"{count} {reason}" for reason, count in made.dropped.most_common()]
    return ", ".join(reasons) or "none"
