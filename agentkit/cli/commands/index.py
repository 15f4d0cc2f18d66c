"""`agentkit index` and `agentkit search`: update and search the knowledge base."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text
from typer import Argument, Option

from agentkit.cli.command import Folder, InCollection, Json, Source, command
from agentkit.cli.commands.init import project_folder
from agentkit.cli.console import index_progress, open_consoles, print_json, print_notes
from agentkit.cli.i18n import _
from agentkit.errors import KnowledgeError
from agentkit.findings import for_folder, quantity

if TYPE_CHECKING:
    from agentkit.knowledge.index.report import IndexReport
    from agentkit.knowledge.knowledge_base import KnowledgeBase
    from agentkit.project.project import Project

app = typer.Typer()


@command(
    app,
    "index",
    _("Update an index: new, changed, renamed and deleted documents."),
    "agentkit index",
    "agentkit index ~/papers https://example.org/page",
    "agentkit index --watch",
    "agentkit index --json",
)
async def index(
    sources: Annotated[
        list[str] | None, Argument(help=_("Files, folders or URLs; default: knowledge/."))
    ] = None,
    folder: Folder = Path(),
    collection: InCollection = "",
    rebuild: Annotated[bool, Option("--rebuild", help=_("Embed all passages again."))] = False,
    watch: Annotated[bool, Option("--watch", help=_("Keep running and follow changes."))] = False,
    jobs: Annotated[int, Option(min=1, max=64, help=_("Processes that read files."))] = 1,
    wait: Annotated[float, Option(min=0, help=_("Seconds to wait for another writer."))] = 5.0,
    ray: Annotated[str, Option(help=_("The Ray cluster that embeds: an address, or local."))] = "",
    json: Json = False,
) -> None:
    from agentkit.knowledge.index.report import describe_empty
    from agentkit.project.project import Project

    out, log = open_consoles()
    own = folder if sources else project_folder(folder, log)
    if own is None:
        return
    project = Project.open(own, wait=wait, ray=ray)
    try:
        with index_progress(log) as project.on_progress:
            if rebuild:
                await project.rebuild(collection)
            knowledge = await project.collection(collection)
            report = await _index_sources(project, knowledge, sources or [""], jobs)
            documents, unread = len(await knowledge.documents()), await knowledge.unread()
        print_notes([*project.notices, *report.notes], log)
        if not documents and not watch:
            paths = [Path(each).expanduser() for each in sources or () if not _is_web(each)]
            raise KnowledgeError(describe_empty([*paths, own / "knowledge"][0], unread.values()))
        if unread:
            log.print(Text(_describe_unread(unread.values(), report, own, collection), "dim"))
        await _print_report(report, knowledge, out, json)
        _refuse_unread(sources or (), unread)
        if watch:
            async for report in _watch(project, knowledge, sources or [""], jobs, log):
                await _print_report(report, knowledge, out, json)
    finally:
        await project.close()


@command(
    app,
    "search",
    _("Print the passages that best match a query."),
    "agentkit search 'attention' -k 10",
    "agentkit search 'revenue' --source 'reports/**' --after 2025-01-01 --json",
)
async def search(
    query: Annotated[str, Argument(help=_("What to look for."))],
    folder: Folder = Path(),
    k: Annotated[int, Option("-k", min=1, max=50, help=_("How many passages."))] = 5,
    source: Source = None,
    title: Annotated[str, Option(help=_("Only documents whose title has this."))] = "",
    tag: Annotated[list[str] | None, Option(help=_("Only documents with this tag."))] = None,
    after: Annotated[datetime | None, Option(help=_("Dated then or later."))] = None,
    before: Annotated[datetime | None, Option(help=_("Dated then or earlier."))] = None,
    collection: InCollection = "",
    json: Json = False,
) -> None:
    from agentkit.cli.json_output import hits_record
    from agentkit.cli.render import search_note
    from agentkit.knowledge.search.filters import Filters
    from agentkit.project.project import Project

    filters = Filters(
        tuple(source or ()),
        title,
        tuple(tag or ()),
        after.date() if after else None,
        before.date() if before else None,
    )
    out, log = open_consoles()
    own = folder if collection else project_folder(folder, log)
    if own is None:
        return
    with index_progress(log) as show:
        project = Project.open(own, on_progress=show)
        try:
            knowledge = await _open_knowledge(project, collection)
            hits = await knowledge.search(query, k, filters=filters)
        finally:
            await project.close()
    print_notes(project.notices, log)
    if json:
        print_json(hits_record(hits))
        return
    if note := search_note(hits):
        log.print(Text(note, "dim"))
    for number, hit in enumerate(hits, start=1):
        chunk = hit.chunk
        place = f"{number}. {chunk.place} (characters {chunk.start}-{chunk.end})  {hit.score:.2f}"
        out.print(Text(place, style="bold"))
        out.print(Text(chunk.text.strip() + "\n"))


async def add_source(
    project: Project, knowledge: KnowledgeBase, source: str, jobs: int = 1
) -> IndexReport:
    """Index a file, a folder or the page of a URL; "" is knowledge/."""
    settings = project.settings.knowledge
    if not _is_web(source):
        path, prefix = _place(source, project)
        return await knowledge.add_path(
            path,
            prefix=prefix,
            max_file_mb=settings.max_file_mb,
            jobs=jobs,
            on_progress=project.on_progress,
        )

    from agentkit.knowledge.loaders.web import load_url

    loaded = await load_url(
        source,
        max_bytes=int(settings.max_file_mb * 1e6),
        allow_private=settings.allow_private_addresses,
    )
    report = await knowledge.add([loaded.document], on_progress=project.on_progress)
    warnings = (f"{source}: {warning}" for warning in loaded.warnings)
    return replace(report, warnings=(*report.warnings, *warnings))


async def _index_sources(
    project: Project, knowledge: KnowledgeBase, sources: Sequence[str], jobs: int
) -> IndexReport:
    from agentkit.knowledge.index.report import IndexReport

    total = IndexReport()
    for source in sources:
        report = await add_source(project, knowledge, source, jobs)
        total = IndexReport(
            total.added + report.added,
            total.changed + report.changed,
            total.unchanged + report.unchanged,
            total.removed + report.removed,
            total.embedded + report.embedded,
            total.warnings + report.warnings,
        )
    return total


def _describe_unread(
    unread: Collection[str], report: IndexReport, folder: Path, collection: str
) -> str:
    """How many files were not read, how to list them, and the reasons unless they were all given
    just now."""
    from agentkit.knowledge.index.report import reasons_of

    command = " ".join(["agentkit kb show", *([collection] if collection else []), "--unread"])
    text = f"{quantity(len(unread), 'file')} not read: {for_folder(command, folder, '-C')}"
    return text if set(unread) <= set(report.warnings) else f"{text} ({reasons_of(unread)})"


def _is_web(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _refuse_unread(sources: Sequence[str], unread: Mapping[str, str]) -> None:
    """Raise KnowledgeError for a file that was named and cannot be read."""
    for source in sources:
        if not _is_web(source) and (reason := unread.get(Path(source).name)):
            raise KnowledgeError(reason)


def _place(source: str, project: Project) -> tuple[Path, str]:
    """A file or folder to index, and the prefix of its sources: the name of another folder."""
    own = project.path / "knowledge"
    if not source:
        if not own.is_dir():
            raise KnowledgeError(
                f"{project.path} has no folder knowledge/. Create it and put documents there, or "
                "name what to index."
            )
        return own, ""
    path = Path(source).expanduser()
    is_own = path.resolve() == own.resolve()
    return path, "" if is_own or not path.is_dir() else f"{path.resolve().name}/"


async def _watch(
    project: Project, knowledge: KnowledgeBase, sources: Sequence[str], jobs: int, log: Console
) -> AsyncIterator[IndexReport]:
    """Index again after each change, until Ctrl-C."""
    from agentkit.knowledge.index.folder import watch

    if len(sources) > 1 or _is_web(sources[0]):
        raise KnowledgeError("--watch follows one folder. Name one, or none for knowledge/.")
    path, prefix = _place(sources[0], project)
    log.print(Text(f"watching {path}; Ctrl-C stops", "dim"))
    limit = project.settings.knowledge.max_file_mb
    is_first = True
    async for report in watch(knowledge, path, prefix=prefix, max_file_mb=limit, jobs=jobs):
        if not is_first:
            print_notes(report.notes, log)
            yield report
        is_first = False


async def _open_knowledge(project: Project, collection: str) -> KnowledgeBase:
    """A collection as it is; the folder's own documents brought up to date."""
    if collection:
        return await project.collection(collection, create=False)
    knowledge = await project.ready_knowledge()
    if knowledge is None:
        raise KnowledgeError(project.notices.pop())
    return knowledge


async def _print_report(
    report: IndexReport, knowledge: KnowledgeBase, out: Console, json: bool
) -> None:
    documents = len(await knowledge.documents())
    if json:
        record = asdict(report) | {"documents": documents, "unread": await knowledge.unread()}
        print_json(record)
        return
    total, embedded = quantity(documents, "document"), quantity(report.embedded, "passage")
    out.print(
        f"{total}: {len(report.added)} added, {len(report.changed)} changed, "
        f"{len(report.unchanged)} unchanged, {len(report.removed)} removed; "
        f"{embedded} embedded."
    )
