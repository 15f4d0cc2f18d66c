"""`agentkit chat`: a conversation in the terminal, or line by line from a pipe."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console

from agentkit.agent.session_store import SessionStore
from agentkit.cli.chat.allowed import Allowed
from agentkit.cli.chat.approvals import Approvals
from agentkit.cli.chat.command import run
from agentkit.cli.chat.commands import COMMANDS
from agentkit.cli.chat.conversation import Chat, Keyboard
from agentkit.cli.chat.pipe import Pipe
from agentkit.cli.chat.quiet import silent_keys
from agentkit.cli.chat.region import reflowing
from agentkit.cli.first_run import project_folder, show_advice
from agentkit.cli.kept import kept_session
from agentkit.cli.render import consoles, described, index_progress, warn
from agentkit.cli.trust import offer_trust
from agentkit.errors import AgentkitError
from agentkit.findings import counted
from agentkit.project.project import Project

_NAME = 25
"""The longest name of a conversation in the status bar."""

_SHOWN = 40


async def chat(
    folder: Path,
    model: str | None,
    base_url: str | None,
    session: str = "",
    resume: bool = False,
    plain: bool = False,
) -> int:
    """Open a project and talk with its agent, in the session of that name, the last one, or a new
    one. `plain` has no colours, and paints nothing twice."""
    out, log = consoles(plain)
    if (found := project_folder(folder, log)) is None:
        return 0
    await offer_trust(found)
    with silent_keys():
        return await _chat(found, model, base_url, session, resume, out, log)


async def _chat(
    found: Path,
    model: str | None,
    base_url: str | None,
    session: str,
    resume: bool,
    out: Console,
    log: Console,
) -> int:
    approvals = Approvals(Allowed(found / ".agentkit" / "approvals.json"))
    project = await _opened(found, model, base_url, approvals, log)
    try:
        warn(project.notices, log)
        store = _store(project, log)
        opened = kept_session(store, session, resume) if store else None
        live = _is_live(out)
        out.soft_wrap = log.soft_wrap = not live
        talk = Chat(
            project,
            out,
            log,
            store=store,
            session=opened,
            allowed=approvals.allowed,
            servers=project.servers,
            live=live,
            reflows=reflowing(os.environ),
        )
        approvals.chat = talk
        await _talked(talk, found)
    finally:
        await project.close()
    return 0


async def _opened(
    folder: Path, model: str | None, base_url: str | None, approvals: Approvals, log: Console
) -> Project:
    """The project, entered."""
    with index_progress(log) as tell:
        project = Project.open(
            folder, model=model, base_url=base_url, approve=approvals.approve, on_progress=tell
        )
        project.elicit = approvals.elicit
        return await project.__aenter__()


async def _talked(talk: Chat, folder: Path) -> None:
    await show_advice(talk.project.agent.model, folder, talk.log)
    for line in await _welcome(talk):
        talk.say(line)
    if talk.live:
        talk.out.print()
    async with _keyboard(talk, folder) as keyboard:
        await talk.run(keyboard, partial(run, COMMANDS))
    if name := talk.session_name:
        where = "" if folder == Path() else f" -C {folder}"
        short = name if len(name) <= _SHOWN else f"{name[: _SHOWN - 1]}…"
        talk.say(f"Kept as {short!r}. To go on: agentkit chat{where} --continue")
    talk.close_session()
    for model in talk.models:
        await model.close()


def _store(project: Project, log: Console) -> SessionStore | None:
    """The folder's sessions, None where they cannot be kept."""
    try:
        return project.sessions
    except AgentkitError as error:
        warn([f"This conversation is not kept: {error}"], log)
        return None


async def _welcome(talk: Chat) -> list[str]:
    """Where the user is, who answers, and how to learn more."""
    knowledge = talk.project.agent.knowledge
    documents = counted(len(await knowledge.documents()) if knowledge else 0, "document")
    model = await described(talk.project.agent.model)
    lines = [f"{talk.project.path.resolve().name}: {documents}. Model: {model}."]
    if before := len(talk.session.messages):
        lines.append(f"Going on with {talk.session_name!r}: {counted(before, 'message')}.")
    return [*lines, "/help lists the commands, Ctrl-D leaves."]


@asynccontextmanager
async def _keyboard(talk: Chat, folder: Path) -> AsyncIterator[Keyboard]:
    """A terminal with editing and history, or a pipe."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield await Pipe.open()
        return
    from agentkit.cli.chat.completion import ChatCompleter
    from agentkit.cli.chat.terminal import Terminal

    completer = ChatCompleter(talk, COMMANDS)
    gathering = asyncio.create_task(completer.gather())
    kept = folder / ".agentkit"
    history = kept / "history" if os.access(kept, os.W_OK) else None
    plain = talk.out.no_color or not talk.out.color_system
    bar = partial(_status, talk) if talk.live else None
    try:
        yield Terminal(completer, talk.interrupts, history, bar, plain=plain)
    finally:
        gathering.cancel()
        await asyncio.gather(gathering, return_exceptions=True)


def _status(talk: Chat) -> str:
    """The figures on one row; where it is too short, the least needed ones are left out."""
    model, name, *measured = talk.figures
    tries = [[model, _cut(name), *measured], [_cut(name), *measured], measured[:1] or [model], [""]]
    lines = [" · ".join(parts) for parts in tries]
    return next(line for line in lines if cell_len(line) < talk.out.width)


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def _is_live(out: Console) -> bool:
    """Whether an answer can be drawn in place: a terminal that moves its cursor."""
    return out.is_terminal and not out.is_dumb_terminal
