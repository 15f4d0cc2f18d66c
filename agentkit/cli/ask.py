"""`agentkit ask`: one question, one answer. The answer goes to standard output, notes to error."""

from __future__ import annotations

from pathlib import Path

from rich.markup import escape

from agentkit.answers import Answer
from agentkit.cli.errors import LIMIT
from agentkit.cli.output import answer_as_json, as_json
from agentkit.cli.render import consoles, described, index_progress, show, warn
from agentkit.project.project import Project


async def ask(
    question: str, folder: Path, model: str | None, base_url: str | None, json: bool
) -> int:
    """Answer, print, and return the exit code."""
    out, log = consoles()
    with index_progress(log) as tell:
        project = Project.open(folder, model=model, base_url=base_url, on_progress=tell)
        await project.__aenter__()
    try:
        warn(project.notices, log)
        if project.settings.model == "auto":
            log.print(f"[dim]model: {escape(await described(project.agent.model))}[/dim]")
        if json:
            answer = await project.agent.run(question)
            print(as_json(answer_as_json(answer)))
        else:
            answer = await show(project.agent.stream(question), out, log)
    finally:
        await project.close()
    return exit_code(answer)


def exit_code(answer: Answer) -> int:
    return LIMIT if answer.stop_reason == "limit" else 0
