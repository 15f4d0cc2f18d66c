"""`agentkit index` and `agentkit search`: the knowledge base from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from agentkit.cli.language import translated
from agentkit.cli.output import as_json, hits_as_json
from agentkit.cli.render import consoles, index_progress, warn
from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.indexer import IndexReport
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.loaders.files import SUFFIXES
from agentkit.knowledge.search.filters import Filters
from agentkit.project.project import Project

_WEB = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class IndexOptions:
    """What `agentkit index` was asked to do."""

    sources: Sequence[str] = ()
    collection: str = ""
    rebuild: bool = False
    watch: bool = False
    jobs: int = 1
    wait: float = 5.0
    ray: str = ""


async def index(folder: Path, options: IndexOptions) -> int:
    """Bring an index up to date and say what changed."""
    out, log = consoles()
    project = Project.open(folder, wait=options.wait, ray=options.ray)
    try:
        with index_progress(log) as project.on_progress:
            if options.rebuild:
                await project.rebuild(options.collection)
            knowledge = await project.collection(options.collection)
            report = await _indexed(project, knowledge, options)
            documents = len(await knowledge.documents())
        warn([*project.notices, *report.warnings], log)
        if not documents and not options.watch:
            raise KnowledgeError(_nothing(folder, options))
        out.print(translated(_summary(report, documents)))
        if options.watch:
            await _watched(project, knowledge, options, out, log)
    finally:
        await project.close()
    return 0


async def _indexed(
    project: Project, knowledge: KnowledgeBase, options: IndexOptions
) -> IndexReport:
    """Index each source given; without any, the folder's own documents."""
    whole = IndexReport()
    for source in options.sources or [""]:
        is_web = source.startswith(_WEB)
        add = _page if is_web else _folder
        report = await add(project, knowledge, source, options.jobs)
        whole = IndexReport(
            whole.added + report.added,
            whole.changed + report.changed,
            whole.unchanged + report.unchanged,
            whole.removed + report.removed,
            whole.embedded + report.embedded,
            whole.warnings + report.warnings,
        )
    return whole


async def _folder(
    project: Project, knowledge: KnowledgeBase, source: str, jobs: int
) -> IndexReport:
    """Make an index hold what a file or folder holds, "" for knowledge/."""
    place, prefix = _place_of(source, project)
    limit = project.settings.knowledge.max_file_mb
    return await knowledge.add_path(
        place, prefix=prefix, max_file_mb=limit, jobs=jobs, on_progress=project.on_progress
    )


async def _page(project: Project, knowledge: KnowledgeBase, url: str, jobs: int) -> IndexReport:
    """Fetch a page or file once and index it."""
    from agentkit.knowledge.loaders.web import load_url

    settings = project.settings.knowledge
    loaded = await load_url(
        url,
        max_bytes=int(settings.max_file_mb * 1e6),
        allow_private=settings.allow_private_addresses,
    )
    report = await knowledge.add([loaded.document], on_progress=project.on_progress)
    partly = (f"{url}: {warning}" for warning in loaded.warnings)
    return replace(report, warnings=(*report.warnings, *partly))


def _place_of(source: str, project: Project) -> tuple[Path, str]:
    """A folder or file to index, and what its sources begin with: another folder's name."""
    own = project.path / "knowledge"
    if not source:
        if not own.is_dir():
            raise KnowledgeError(f"{project.path} has no folder knowledge/. Name what to index.")
        return own, ""
    given = Path(source).expanduser()
    is_own = given.resolve() == own.resolve()
    return given, "" if is_own or not given.is_dir() else f"{given.resolve().name}/"


async def _watched(
    project: Project, knowledge: KnowledgeBase, options: IndexOptions, out: Console, log: Console
) -> None:
    """Index again after each change, until Ctrl-C."""
    from agentkit.knowledge.index.folder import watch

    sources = options.sources or [""]
    if len(sources) > 1 or sources[0].startswith(_WEB):
        raise KnowledgeError("--watch follows one folder. Name one, or none for knowledge/.")
    path, prefix = _place_of(sources[0], project)
    log.print(Text(translated(f"watching {path}; Ctrl-C ends it"), "dim"))
    limit = project.settings.knowledge.max_file_mb
    reports = watch(knowledge, path, prefix=prefix, max_file_mb=limit, jobs=options.jobs)
    first = True
    async for report in reports:
        if not first:
            warn(list(report.warnings), log)
            out.print(translated(_summary(report, len(await knowledge.documents()))))
        first = False


async def search(
    query: str, folder: Path, k: int, json: bool, filters: Filters, collection: str
) -> int:
    """Print the best passages, best first."""
    out, log = consoles()
    with index_progress(log) as tell:
        project = Project.open(folder, on_progress=tell)
        try:
            knowledge = await _searched(project, collection)
            hits = await knowledge.search(query, k, filters=filters)
        finally:
            await project.close()
    warn(project.notices, log)
    if json:
        print(as_json(hits_as_json(hits)))
        return 0
    if not hits:
        log.print(Text(translated("nothing was found"), "dim"))
    for number, hit in enumerate(hits, start=1):
        chunk = hit.chunk
        characters = translated(f"characters {chunk.start}-{chunk.end}")
        place = f"{number}. {chunk.place} ({characters})  {hit.score:.2f}"
        out.print(Text(place, style="bold"))
        out.print(Text(chunk.text.strip() + "\n"))
    return 0


async def _searched(project: Project, collection: str) -> KnowledgeBase:
    """A collection as it is; the folder's own documents brought up to date."""
    if collection:
        return await project.collection(collection, create=False)
    knowledge = await project.ready_knowledge()
    if knowledge is None:
        raise KnowledgeError(project.notices.pop())
    return knowledge


def _nothing(folder: Path, options: IndexOptions) -> str:
    where = ", ".join(options.sources) or folder / "knowledge"
    return f"{where} holds no document that can be read ({', '.join(SUFFIXES[:6])}, ...)."


def _summary(report: IndexReport, documents: int) -> str:
    return (
        f"{documents} documents: {len(report.added)} added, {len(report.changed)} changed, "
        f"{len(report.unchanged)} unchanged, {len(report.removed)} removed; "
        f"{report.embedded} passages embedded."
    )
