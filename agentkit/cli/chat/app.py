"""`agentkit chat`: a conversation in a terminal, or line by line from a pipe."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console

from agentkit.agent.session import Session
from agentkit.agent.session_store import SessionStore
from agentkit.cli.chat.approval import AllowedTools, ChatApproval
from agentkit.cli.chat.commands.table import COMMANDS, run_command
from agentkit.cli.chat.conversation import Chat, Keyboard
from agentkit.cli.commands.init import project_folder
from agentkit.cli.commands.setup import offer_trust
from agentkit.cli.console import open_consoles, print_notes
from agentkit.cli.i18n import _, counted
from agentkit.cli.project import describe_model, open_project, open_session, show_model_advice
from agentkit.cli.region import reflows
from agentkit.cli.text import shorten
from agentkit.errors import AgentkitError
from agentkit.findings import for_folder
from agentkit.project.project import Project

_BAR_NAME, _NOTE_NAME = 25, 40
"""The longest name of a conversation in the status bar and in a note."""
_LONGEST_LINE = 16_000_000


async def start_chat(
    folder: Path, model: str | None, base_url: str | None, session: str, resume: bool, plain: bool
) -> int:
    """Open a project and chat with its agent, in the named session, the last one, or a new one."""
    out, log = open_consoles(plain)
    project = project_folder(folder, log)
    if project is None:
        return 0
    offer_trust(project)
    with _no_echo():
        return await _chat(project, model, base_url, session, resume, out, log)


async def _chat(
    folder: Path,
    model: str | None,
    base_url: str | None,
    session: str,
    resume: bool,
    out: Console,
    log: Console,
) -> int:
    """Chat until the user leaves. Returns the exit code."""
    approval = ChatApproval(AllowedTools(folder / ".agentkit" / "approvals.json"))
    async with open_project(
        folder,
        log,
        model=model,
        base_url=base_url,
        approve=approval.approve,
        elicit=approval.elicit,
    ) as project:
        store = _open_store(project, log)
        is_live = out.is_terminal and not out.is_dumb_terminal
        out.soft_wrap = log.soft_wrap = not is_live
        chat = Chat(
            project,
            out,
            log,
            approval.allowed,
            store=store,
            session=open_session(store, session, resume) if store else Session(),
            is_live=is_live,
            reflows=reflows(os.environ),
        )
        approval.chat = chat
        await show_model_advice(project.agent.model, folder, log)
        await _print_welcome(chat)
        async with _open_keyboard(chat, folder) as keyboard:
            with _leaving_on_signals(chat) as received:
                await chat.run(keyboard, partial(run_command, COMMANDS))
        if chat.session_name:
            _print_goodbye(chat, folder)
        chat.close_session()
        for opened in chat.opened_models:
            await opened.close()
    return 128 + received[0] if received else 0


def _open_store(project: Project, log: Console) -> SessionStore | None:
    """The folder's sessions, None where they cannot be stored."""
    try:
        return project.sessions
    except AgentkitError as error:
        print_notes([_("This conversation is not stored: {error}").format(error=error)], log)
        return None


async def _print_welcome(chat: Chat) -> None:
    """Print the project, the model, the resumed conversation, and how to get help."""
    knowledge = chat.project.agent.knowledge
    count = len(await knowledge.documents()) if knowledge else 0
    text = _("{project}: {documents}. Model: {model}.")
    chat.note(
        text.format(
            project=chat.project.path.resolve().name,
            documents=counted("{count} document", "{count} documents", count),
            model=await describe_model(chat.project.agent.model),
        )
    )
    if before := len(chat.session.messages):
        text = _("Continuing {name!r}: {messages}.")
        messages = counted("{count} message", "{count} messages", before)
        chat.note(text.format(name=chat.session_name, messages=messages))
    chat.note(_("/help lists the commands, Ctrl-D leaves."))
    if chat.is_live:
        chat.out.print()


def _print_goodbye(chat: Chat, folder: Path) -> None:
    text = _("Stored as {name!r}. To continue: {command}")
    command = for_folder("agentkit chat", folder, "-C") + " --continue"
    chat.note(text.format(name=shorten(chat.session_name, _NOTE_NAME), command=command))


@asynccontextmanager
async def _open_keyboard(chat: Chat, folder: Path) -> AsyncIterator[Keyboard]:
    """A terminal with editing and history, or a pipe."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield await Pipe.open()
        return
    from agentkit.cli.chat.terminal import ChatCompleter, Terminal  # prompt_toolkit: 100 ms

    completer = ChatCompleter(chat, COMMANDS)
    loading = asyncio.create_task(completer.load())
    own = folder / ".agentkit"
    history = own / "history" if os.access(own, os.W_OK) else None
    is_plain = chat.out.no_color or not chat.out.color_system
    bar = partial(_format_status, chat) if chat.is_live else None
    try:
        yield Terminal(completer, chat.interrupts, history, bar, is_plain=is_plain)
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)


def _format_status(chat: Chat) -> str:
    """The status on one row; where it is too long, the least needed parts are left out."""
    model, session, *figures = chat.status
    name = shorten(session, _BAR_NAME)
    tries = [[model, name, *figures], [name, *figures], figures[:1] or [model], [""]]
    lines = [" · ".join(parts) for parts in tries]
    return next(line for line in lines if cell_len(line) < chat.out.width)


class Pipe(Keyboard):
    """A keyboard that reads lines from a pipe or a file, one a message."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    @classmethod
    async def open(cls) -> Pipe:
        """Read standard input without a thread, which could not be cancelled. A file, or a device
        that is neither a pipe nor a terminal, is read whole."""
        reader = asyncio.StreamReader(limit=_LONGEST_LINE)
        loop = asyncio.get_running_loop()
        mode = os.fstat(sys.stdin.fileno()).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or sys.stdin.isatty():
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        else:
            reader.feed_data(sys.stdin.buffer.read())
            reader.feed_eof()
        return cls(reader)

    async def read_line(self, default: str = "") -> str:
        line = await self._reader.readline()
        if not line:
            raise EOFError
        return line.decode("utf-8", "replace")

    async def ask(self, question: str, default: str = "") -> str:
        return await self.read_line()


@contextmanager
def _leaving_on_signals(chat: Chat) -> Iterator[list[int]]:
    """Stop the chat on SIGTERM, and on SIGHUP where its terminal is closed, as Ctrl-C twice does:
    what was written is stored, and the terminal echoes again. Yields the signals received."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    received: list[int] = []

    def leave(number: int) -> None:
        received.append(number)
        chat.interrupts.must_quit = True
        task.cancel()

    numbers = [] if sys.platform == "win32" else [signal.SIGTERM, signal.SIGHUP]
    for number in numbers:
        loop.add_signal_handler(number, leave, number)
    try:
        yield received
    except asyncio.CancelledError:
        if not received:
            raise
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


@contextmanager
def _no_echo() -> Iterator[None]:
    """Switch the terminal's own echo off: the prompt shows keys, and others wait for it."""
    try:
        import termios
    except ImportError:
        yield
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    silent = [*before]
    silent[3] = before[3] & ~termios.ECHO
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        with suppress(termios.error):  # The terminal may be closed.
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
