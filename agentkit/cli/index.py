"""`agentkit index` and `agentkit search`: the knowledge base from the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.text import Text

from agentkit.cli.output import as_json, hits_as_json
from agentkit.cli.render import consoles, index_progress, warn
from agentkit.errors import KnowledgeError
from agentkit.knowledge.indexer import IndexReport
from agentkit.project.project import Project


async def index(folder: Path, rebuild: bool) -> int:
    """Bring the index up to date and say what changed."""
    out, log = consoles()
    with index_progress(log) as tell:
        project = Project.open(folder, on_progress=tell)
        if rebuild:
            shutil.rmtree(project.index_path, ignore_errors=True)
        try:
            report = await project.index()
            documents = len(await project.knowledge.documents())
        finally:
            await project.close()
    warn([*project.notices, *report.warnings], log)
    if not documents:
        knowledge = folder / "knowledge"
        raise KnowledgeError(f"{knowledge} holds no document that can be read (.md or .txt).")
    out.print(_summary(report, documents))
    return 0


async def search(query: str, folder: Path, k: int, json: bool) -> int:
    """Print the best passages, best first."""
    out, log = consoles()
    with index_progress(log) as tell:
        project = Project.open(folder, on_progress=tell)
        try:
            knowledge = await project.ready_knowledge()
            if knowledge is None:
                raise KnowledgeError(project.notices.pop())
            hits = await knowledge.search(query, k)
        finally:
            await project.close()
    warn(project.notices, log)
    if json:
        print(as_json(hits_as_json(hits)))
        return 0
    for number, hit in enumerate(hits, start=1):
        chunk = hit.chunk
        place = f"{number}. {chunk.place} (characters {chunk.start}-{chunk.end})  {hit.score:.2f}"
        out.print(Text(place, style="bold"))
        out.print(Text(chunk.text.strip() + "\n"))
    return 0


def _summary(report: IndexReport, documents: int) -> str:
    parts = [
        f"{len(report.added)} added",
        f"{len(report.changed)} changed",
        f"{len(report.unchanged)} unchanged",
        f"{len(report.removed)} removed",
    ]
    return f"{documents} documents: {', '.join(parts)}; {report.embedded} passages embedded."
