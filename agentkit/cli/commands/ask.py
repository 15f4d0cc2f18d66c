"""`agentkit ask` and `agentkit chat`. `ask` prints one answer to standard output, and everything
else to standard error, including what tools print."""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text
from typer import Argument, Option

from agentkit.cli.command import (
    BaseUrl,
    Folder,
    Json,
    Model,
    Plain,
    Resume,
    SessionName,
    Source,
    command,
)
from agentkit.cli.commands.init import project_folder
from agentkit.cli.console import open_consoles
from agentkit.cli.errors import DENIED, LIMIT, REFUSED
from agentkit.cli.i18n import _
from agentkit.errors import AgentkitError, ConfigError, KnowledgeError, file_error
from agentkit.findings import for_folder

if TYPE_CHECKING:
    from rich.console import Console

    from agentkit.agent.session import Session
    from agentkit.answers import Answer
    from agentkit.cli.commands.ask_output import CommandLineApproval, TextOutput
    from agentkit.documents import Document
    from agentkit.events import Event
    from agentkit.messages import Message
    from agentkit.project.project import Project

STDIN_NAME = "standard input"
_MOST_STDIN_BYTES = 4_000_000
_MOST_SCHEMA_BYTES = 1_000_000
_STDIN_WAIT = 2.0
"""Seconds after which a notice says that standard input is read."""

app = typer.Typer()


@command(
    app,
    "ask",
    _(
        "Answer one question from the documents, with citations.\n\n"
        "Piped standard input goes with the question, and is cited like a document."
    ),
    "agentkit ask 'KV Cache 为什么能加快推理？'",
    "git diff | agentkit ask --no-retrieve -m ollama:qwen3:8b 'What changes for users?'",
    "agentkit ask 'And in 2024?' --continue",
    "agentkit ask 'Which figures are given?' --source 'reports/**' --json",
    "agentkit ask 'Who signed it?' --schema person.json -m openai:gpt-5-mini",
)
async def ask(
    question: Annotated[
        str, Argument(metavar="QUESTION", help=_("The question; default: standard input."))
    ] = "",
    folder: Folder = Path(),
    model: Model = None,
    base_url: BaseUrl = None,
    json: Json = False,
    jsonl: Annotated[
        bool, Option("--jsonl", help=_("Print events as JSON Lines, as they happen."))
    ] = False,
    plain: Plain = False,
    session: SessionName = "",
    resume: Resume = False,
    schema: Annotated[
        Path | None,
        Option(help=_("A JSON Schema file that the answer must match."), metavar="FILE"),
    ] = None,
    no_retrieve: Annotated[
        bool, Option("--no-retrieve", help=_("Do not search the documents."))
    ] = False,
    k: Annotated[
        int | None,
        Option("--k", "-k", min=1, max=50, metavar="N", help=_("Passages of one search.")),
    ] = None,
    source: Source = None,
    strict: Annotated[
        bool | None,
        Option(
            "--strict/--no-strict",
            help=_("Leave out unsupported sentences; exit code 5 if none is left."),
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        Option(
            "--allow", metavar="TOOL", help=_('Tools that run without approval: "send", "git__*".')
        ),
    ] = None,
) -> int:
    formats = {"json": json, "jsonl": jsonl, "plain": plain}
    chosen = [name for name, is_chosen in formats.items() if is_chosen]
    if len(chosen) > 1:
        raise typer.BadParameter(f"choose one of --{' and --'.join(chosen)}")
    if session and resume:
        raise typer.BadParameter("choose one of --session and --continue")

    from agentkit.cli.commands.ask_output import CommandLineApproval, open_output
    from agentkit.cli.project import open_project, show_model
    from agentkit.project.project import Project

    output = open_output("".join(chosen), *open_consoles())
    try:
        question, attachment = await _read_question(question, output.log)
        if not no_retrieve and not attachment and not Project.exists(folder):
            found = project_folder(folder, output.log, ask=output.is_for_people)
            if found is None:
                return 0
            folder = found
        answer_schema = _read_schema(schema)
        approval = CommandLineApproval(allow or (), output)
        overrides = {
            "knowledge.results": k,
            "knowledge.strict": strict,
            "knowledge.sources": source or None,
        }
        with redirect_stdout(sys.stderr):
            async with open_project(
                folder,
                output.log,
                model=model,
                base_url=base_url,
                overrides=overrides,
                approve=approval.approve,
                needs_documents=not no_retrieve and Project.exists(folder),
                needs_servers=False,
            ) as project:
                await _check_sources(project)
                brief = not output.is_for_people
                await show_model(project.agent.model, folder, output.log, brief=brief)
                with _open_session(project, session, resume) as opened:
                    prompt = _prompt(question, attachment, opened)
                    answer = await _run(project, prompt, opened, answer_schema, approval, output)
                strict = project.settings.knowledge.strict
        approval.print_next_step()
        return exit_code(answer, strict=strict, denied=approval.denied)
    except AgentkitError as error:
        output.print_error(error)
        raise


async def _run(
    project: Project,
    prompt: Message,
    session: Session,
    schema: dict[str, Any] | None,
    approval: CommandLineApproval,
    output: TextOutput,
) -> Answer:
    """Run the agent and print its answer."""
    if schema is None:
        events = _note_denied(project.agent.stream(prompt, session), approval)
        return await output.print_run(events, session)
    answer = await project.agent.run(prompt, session, output=schema)
    output.print_object(answer)
    return answer


def exit_code(answer: Answer, *, strict: bool = False, denied: bool = False) -> int:
    """The exit code that tells a script how a run ended."""
    if answer.stop_reason in ("limit", "length"):
        return LIMIT
    if answer.stop_reason == "refused" and strict:
        return REFUSED
    return DENIED if denied else 0


async def _check_sources(project: Project) -> None:
    """Raise KnowledgeError for --source where no document matches: a typo, most likely."""
    knowledge, filters = project.agent.knowledge, project.agent.retrieval.filters
    if knowledge is None or not (patterns := filters.sources):
        return
    if not await knowledge.documents(filters=filters):
        raise KnowledgeError(
            f"No document matches {', '.join(patterns)}. List the documents: "
            + for_folder("agentkit kb show", project.path, "-C")
        )


@contextmanager
def _open_session(project: Project, name: str, resume: bool) -> Iterator[Session]:
    """The session to answer in, stored where the user asked for that."""
    from agentkit.agent.session import Session
    from agentkit.cli.project import close_session, open_session

    if not (name or resume):
        yield Session()
        return
    session = open_session(project.sessions, name, resume)
    try:
        yield session
    finally:
        close_session(project.sessions, session)


def _prompt(question: str, attachment: Document | None, session: Session) -> Message:
    """The question, with standard input as passages to cite."""
    from agentkit.knowledge.citations.passages import attach
    from agentkit.messages import Message

    passages = attach(attachment, session.sources) if attachment else ()
    return Message("user", question, passages=passages)


async def _note_denied(
    events: AsyncGenerator[Event, None], approval: CommandLineApproval
) -> AsyncGenerator[Event, None]:
    """The events unchanged; also notes a call that the policy denied."""
    from agentkit.events import ToolDenied

    try:
        async for event in events:
            if isinstance(event, ToolDenied):
                approval.denied = True
            yield event
    finally:
        await events.aclose()


async def _read_question(question: str, log: Console) -> tuple[str, Document | None]:
    """The question, and standard input as a document; without a question it is the question."""
    attachment = await _read_stdin(log)
    if not question.strip():
        question, attachment = attachment.text if attachment else "", None
    if not question.strip():
        raise ConfigError('The question is empty. Usage: agentkit ask "…"')
    return question, attachment


async def _read_stdin(log: Console) -> Document | None:
    """What is piped in, None for a terminal, /dev/null or a closed input. Raises ConfigError for
    too much, or for no text."""
    import asyncio

    from agentkit.documents import Document
    from agentkit.knowledge.chunking.splitter import first_heading

    if not _is_piped():
        return None
    reading = asyncio.ensure_future(_read_stdin_bytes())
    done, _pending = await asyncio.wait([reading], timeout=_STDIN_WAIT)
    if not done:
        log.print(Text(_("reading standard input … (</dev/null prevents it)"), "dim"))
    text = _decode_stdin(await reading)
    return Document(STDIN_NAME, text, first_heading(text) or STDIN_NAME) if text.strip() else None


def _is_piped() -> bool:
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISREG(mode)


async def _read_stdin_bytes() -> bytes:
    """Read to the end without a thread, which could not be cancelled."""
    import asyncio

    if stat.S_ISREG(os.fstat(sys.stdin.fileno()).st_mode):
        return sys.stdin.buffer.read(_MOST_STDIN_BYTES + 1)
    reader = asyncio.StreamReader(limit=_MOST_STDIN_BYTES)
    loop = asyncio.get_running_loop()
    transport, _protocol = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    content = bytearray()
    while len(content) <= _MOST_STDIN_BYTES and (more := await reader.read(65536)):
        content += more
    transport.close()
    return bytes(content)


def _decode_stdin(content: bytes) -> str:
    from agentkit.knowledge.loaders.text import decoded

    instead = "Index the file instead: agentkit index FILE."
    if len(content) > _MOST_STDIN_BYTES:
        megabytes = _MOST_STDIN_BYTES // 1_000_000
        raise ConfigError(f"Standard input is longer than {megabytes} MB. {instead}")
    try:
        return decoded(content)
    except KnowledgeError as error:
        raise ConfigError(f"Standard input is {error}. {instead}") from error


def _read_schema(path: Path | None) -> dict[str, Any] | None:
    """The schema of a file. Raises ConfigError."""
    if path is None:
        return None
    try:
        if path.stat().st_size > _MOST_SCHEMA_BYTES:
            raise ConfigError(f"{path} is too large for a JSON Schema: the limit is 1 MB.")
        schema = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(file_error(path, error)) from error
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}.") from error
    if not isinstance(schema, dict):
        raise ConfigError(f"{path} is not a JSON Schema: it must be an object.")
    return schema
