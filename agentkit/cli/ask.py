"""`agentkit ask`: one question, one answer. The answer goes to standard output, and everything
else to standard error, what tools print included."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path

from rich.markup import escape

from agentkit.answers import Answer
from agentkit.cli.errors import LIMIT
from agentkit.cli.output import answer_as_json, as_json
from agentkit.cli.render import consoles, described, finished, index_progress, show, warn
from agentkit.errors import ConfigError
from agentkit.project.project import Project


async def ask(
    question: str, folder: Path, model: str | None, base_url: str | None, json: bool
) -> int:
    """Answer, print, and return the exit code."""
    if not question.strip():
        raise ConfigError('The question is empty. Ask something: agentkit ask "…"')
    out, log = consoles()
    with redirect_stdout(sys.stderr), index_progress(log) as tell:
        project = Project.open(folder, model=model, base_url=base_url, on_progress=tell)
        await project.__aenter__()
    try:
        warn(project.notices, log)
        if project.settings.model == "auto":
            log.print(f"[dim]model: {escape(await described(project.agent.model))}[/dim]")
        with redirect_stdout(sys.stderr):
            events = project.agent.stream(question)
            answer = await (finished(events) if json else show(events, out, log))
    finally:
        await project.close()
    if json:
        print(as_json(answer_as_json(answer)))
    return exit_code(answer)


def exit_code(answer: Answer) -> int:
    return LIMIT if answer.stop_reason == "limit" else 0
