"""`agentkit chat`: a conversation in the terminal, or line by line from a pipe."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from agentkit.agent.approval import ALLOWED, DENIED, Verdict
from agentkit.agent.session import Session
from agentkit.answers import Answer
from agentkit.cli.render import (
    consoles,
    described,
    index_progress,
    show,
    show_citations,
    shown_call,
    warn,
)
from agentkit.errors import AgentkitError
from agentkit.messages import ToolCall
from agentkit.project.project import Project
from agentkit.tools.tool import Tool

COMMANDS = {
    "/help": "show this list",
    "/sources": "show the citations of the last answer again",
    "/tools": "list the tools that the model may call",
    "/clear": "forget the conversation and begin anew",
    "/quit": "leave (Ctrl-D does too)",
}

_LONGEST_LINE = 16_000_000

ReadLine = Callable[[str], Awaitable[str]]


class Chat:
    """One conversation with a project's agent."""

    def __init__(self, project: Project, read: ReadLine, out: Console, log: Console) -> None:
        self._project = project
        self._read = read
        self._out = out
        self._log = log
        self._session = Session()
        self._last: Answer | None = None

    async def run(self) -> None:
        """Read and answer until the user leaves."""
        while True:
            try:
                line = (await self._read("› ")).strip()
            except EOFError:
                return
            except KeyboardInterrupt:
                continue
            if line.split()[:1] == ["/quit"]:
                return
            if line.startswith("/"):
                self._command(line)
            elif line:
                await self._answer(line)

    async def _answer(self, prompt: str) -> None:
        """Answer one prompt; Ctrl-C stops it and keeps what was said, an error ends only it."""
        task = asyncio.ensure_future(
            show(self._project.agent.stream(prompt, self._session), self._out, self._log)
        )
        with _interrupts(task):
            try:
                self._last = await task
            except asyncio.CancelledError:
                if not task.cancelled():
                    raise
                self._log.print("\n[yellow]stopped[/yellow]")
            except AgentkitError as error:
                self._log.print(f"[red]error:[/red] {escape(str(error))}")

    def _command(self, line: str) -> None:
        name = line.split()[0]
        match name:
            case "/help":
                for command, meaning in COMMANDS.items():
                    self._out.print(f"  {command:10} {meaning}")
            case "/sources":
                self._show_sources()
            case "/tools":
                for tool in self._project.agent.tools:
                    first = (tool.description.splitlines() or [""])[0]
                    self._out.print(f"  {tool.name}: {first}", markup=False)
            case "/clear":
                self._session, self._last = Session(), None
                self._log.print("[dim]a new conversation[/dim]")
            case _:
                near = get_close_matches(name, COMMANDS, n=1)
                hint = f"did you mean {near[0]}? " if near else ""
                self._log.print(f"{name} is no command: {hint}/help lists all.", markup=False)

    def _show_sources(self) -> None:
        if self._last is None or not self._last.citations:
            self._log.print("[dim]nothing is cited yet[/dim]")
            return
        show_citations(self._last, self._out)


async def chat(folder: Path, model: str | None, base_url: str | None) -> int:
    """Open a project and talk with its agent."""
    out, log = consoles()
    read = await _reader(folder)

    async def approve(tool: Tool, call: ToolCall) -> Verdict:
        answer = await read(f"allow {shown_call(call)}? [y/N] ")
        return ALLOWED if answer.strip().lower() in ("y", "yes") else DENIED

    with index_progress(log) as tell:
        project = Project.open(
            folder, model=model, base_url=base_url, approve=approve, on_progress=tell
        )
        await project.__aenter__()
    try:
        warn(project.notices, log)
        log.print(f"[dim]{escape(await _welcome(project))} /help lists the commands.[/dim]")
        await Chat(project, read, out, log).run()
    finally:
        await project.close()
    return 0


async def _welcome(project: Project) -> str:
    knowledge = project.agent.knowledge
    documents = len(await knowledge.documents()) if knowledge else 0
    model = await described(project.agent.model)
    return f"{project.path.resolve().name}: {documents} documents. Model: {model}."


@contextmanager
def _interrupts(task: asyncio.Future[Answer]) -> Iterator[None]:
    """Let Ctrl-C cancel a task, and nothing else, for as long as it runs."""
    loop = asyncio.get_running_loop()
    before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(task.cancel))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def _reader(folder: Path) -> ReadLine:
    """Lines from a terminal, with editing and history, or from a pipe."""
    if not sys.stdin.isatty():
        return await _piped()
    from prompt_toolkit import PromptSession
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    kept = folder / ".agentkit"
    history = FileHistory(str(kept / "history")) if kept.is_dir() else InMemoryHistory()
    session: PromptSession[str] = PromptSession(history=history)

    async def typed(prompt: str) -> str:
        return str(await session.prompt_async(prompt))

    return typed


async def _piped() -> ReadLine:
    """Lines of a pipe, read without a thread, which could not be stopped; a file is read whole."""
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    loop = asyncio.get_running_loop()
    try:
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    except (OSError, ValueError):
        reader.feed_data(sys.stdin.buffer.read())
        reader.feed_eof()

    async def next_line(prompt: str) -> str:
        line = await reader.readline()
        if not line:
            raise EOFError
        return line.decode("utf-8", "replace")

    return next_line
