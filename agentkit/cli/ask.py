"""`agentkit ask`: one question, one answer. The answer goes to standard output, and everything
else to standard error, what tools print included."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from agentkit.agent.session import Session
from agentkit.answers import Answer
from agentkit.cli.allowing import Allowing
from agentkit.cli.ask_output import Output, output_of
from agentkit.cli.errors import DENIED, LIMIT, REFUSED
from agentkit.cli.first_run import project_folder, show_model
from agentkit.cli.kept import kept_session
from agentkit.cli.piped import piped
from agentkit.cli.render import consoles, index_progress, warn
from agentkit.cli.schema_file import read_schema
from agentkit.documents import Document
from agentkit.errors import AgentkitError, ConfigError, KnowledgeError
from agentkit.events import Event, ToolDenied
from agentkit.knowledge.citations.passages import attach
from agentkit.knowledge.search.filters import Filters
from agentkit.messages import Message
from agentkit.project.project import Project
from agentkit.project.scaffold import is_project


@dataclass(frozen=True, slots=True)
class AskOptions:
    """How a question is asked. `format` is how the answer is printed, `sources` what it may rest
    on, `allow` the tools that run unasked."""

    model: str | None = None
    base_url: str | None = None
    format: str = ""
    session: str = ""
    resume: bool = False
    schema: Path | None = None
    retrieve: bool = True
    k: int | None = None
    sources: tuple[str, ...] = ()
    strict: bool | None = None
    allow: tuple[str, ...] = ()

    @property
    def overrides(self) -> Mapping[str, Any]:
        """What they say of the folder's settings."""
        return {
            "knowledge.results": self.k,
            "knowledge.strict": self.strict,
            "knowledge.sources": list(self.sources) or None,
        }

    @property
    def keeps(self) -> bool:
        """Whether the conversation is kept."""
        return bool(self.session or self.resume)


async def ask(question: str, folder: Path, options: AskOptions) -> int:
    """Answer, print, and return the exit code."""
    output = output_of(options.format, *consoles())
    log = output.log
    try:
        given = await piped(log)
        if not question.strip():
            question, given = given.text if given else "", None
        if not question.strip():
            raise ConfigError('The question is empty. Ask something: agentkit ask "…"')
        needs_folder = options.retrieve and not given
        found = project_folder(folder, log, output.is_for_people) if needs_folder else folder
        return 0 if found is None else await _asked(question, given, found, options, output, log)
    except AgentkitError as error:
        output.failed(error)
        raise


async def _asked(
    question: str,
    given: Document | None,
    folder: Path,
    options: AskOptions,
    output: Output,
    log: Console,
) -> int:
    schema = read_schema(options.schema)
    allowing = Allowing(options.allow, log)
    project = await _opened(folder, options, allowing, log)
    try:
        await _check_sources(project)
        warn(project.notices, log)
        await show_model(project.agent.model, folder, log, brief=not output.is_for_people)
        allowing.before, allowing.after = output.pause, output.go_on
        with _session(project, options) as session, redirect_stdout(sys.stderr):
            prompt = _prompt(question, given, session)
            if schema is not None:
                answer = await project.agent.run(prompt, session, output=schema)
                output.filled(answer)
            else:
                events = _watched(project.agent.stream(prompt, session), allowing)
                answer = await output.shown(events, session)
    finally:
        await project.close()
    return exit_code(answer, strict=project.settings.knowledge.strict, denied=allowing.denied)


async def _opened(folder: Path, options: AskOptions, allowing: Allowing, log: Console) -> Project:
    """The project, entered."""
    with redirect_stdout(sys.stderr), index_progress(log) as tell:
        project = Project.open(
            folder,
            model=options.model,
            base_url=options.base_url,
            overrides=options.overrides,
            approve=allowing.approve,
            on_progress=tell,
        )
        project.skip_unused_servers = True
        project.skip_index = not options.retrieve or not is_project(folder)
        return await project.__aenter__()


async def _check_sources(project: Project) -> None:
    """A source that no document has is a slip of the pen. Raises KnowledgeError."""
    knowledge, wanted = project.agent.knowledge, project.settings.knowledge.sources
    if knowledge is None or not wanted:
        return
    within = Filters(within=tuple(wanted))
    if not any(within.accept(info.source, "", {}) for info in await knowledge.documents()):
        raise KnowledgeError(
            f"No document is among {', '.join(wanted)}. See them: agentkit kb show."
        )


@contextmanager
def _session(project: Project, options: AskOptions) -> Iterator[Session]:
    """The session to answer in, kept where the user asked for that."""
    if not options.keeps:
        yield Session()
        return
    session = kept_session(project.sessions, options.session, options.resume)
    try:
        yield session
    finally:
        session.close()


def _prompt(question: str, given: Document | None, session: Session) -> Message:
    """The question, with what was piped in as passages to cite."""
    passages = attach(given, session.sources) if given else ()
    return Message("user", question, passages=passages)


async def _watched(
    events: AsyncGenerator[Event, None], allowing: Allowing
) -> AsyncGenerator[Event, None]:
    """The events, and a note of a call that was not allowed."""
    try:
        async for event in events:
            if isinstance(event, ToolDenied):
                allowing.denied = True
            yield event
    finally:
        await events.aclose()


def exit_code(answer: Answer, *, strict: bool = False, denied: bool = False) -> int:
    """How it ended, for scripts."""
    if answer.stop_reason in ("limit", "length"):
        return LIMIT
    if answer.stop_reason == "refused" and strict:
        return REFUSED
    return DENIED if denied else 0
