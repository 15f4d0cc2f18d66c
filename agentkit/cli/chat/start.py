"""`agentkit chat`: a conversation in the terminal, or line by line from a pipe."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.text import Text

from agentkit.agent.session import Session
from agentkit.agent.sessions import LAST, SessionStore
from agentkit.cli.chat.allowed import Allowed
from agentkit.cli.chat.approvals import Approvals
from agentkit.cli.chat.command import run
from agentkit.cli.chat.commands import COMMANDS
from agentkit.cli.chat.conversation import Chat, Keyboard
from agentkit.cli.chat.pipe import Pipe
from agentkit.cli.chat.region import reflowing
from agentkit.cli.first_run import project_folder, show_advice
from agentkit.cli.render import consoles, described, index_progress, warn
from agentkit.errors import AgentkitError
from agentkit.project.project import Project


async def chat(
    folder: Path, model: str | None, base_url: str | None, session: str = "", resume: bool = False
) -> int:
    """Open a project and talk with its agent, in the session of that name, the last one, or a new
    one."""
    out, log = consoles()
    if (found := project_folder(folder, log)) is None:
        return 0
    folder = found
    allowed = Allowed(folder / ".agentkit" / "approvals.json")
    approvals = Approvals(allowed)
    with index_progress(log) as tell:
        project = Project.open(
            folder, model=model, base_url=base_url, approve=approvals.approve, on_progress=tell
        )
        project.elicit = approvals.elicit
        await project.__aenter__()
    try:
        warn(project.notices, log)
        store = _store(project, log)
        opened = _session(store, session, resume)
        live = _is_live(out)
        out.soft_wrap = log.soft_wrap = not live
        talk = Chat(
            project,
            out,
            log,
            store=store,
            session=opened,
            allowed=allowed,
            servers=project.servers,
            live=live,
            reflows=reflowing(os.environ),
        )
        approvals.chat = talk
        await _talked(talk, folder)
    finally:
        await project.close()
    return 0


async def _talked(talk: Chat, folder: Path) -> None:
    await show_advice(talk.project.agent.model, folder, talk.log)
    talk.log.print(Text(f"{await _welcome(talk)} /help lists the commands.", "dim"))
    async with _keyboard(talk, folder) as keyboard:
        await talk.run(keyboard, partial(run, COMMANDS))
    if name := talk.session_name:
        talk.say(f"kept as {name[:40]!r}; to go on: agentkit chat --continue")
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


def _session(store: SessionStore | None, name: str, resume: bool) -> Session | None:
    """The session to be in. Raises ConfigError."""
    if store is None:
        return None
    if name and name not in {found for info in store.recent() for found in (info.id, info.name)}:
        return store.create(name)
    return store.open(name or LAST) if name or resume else store.create()


async def _welcome(talk: Chat) -> str:
    knowledge = talk.project.agent.knowledge
    documents = len(await knowledge.documents()) if knowledge else 0
    model = await described(talk.project.agent.model)
    said = f"{talk.project.path.resolve().name}: {documents} documents. Model: {model}."
    before = len(talk.session.messages)
    return f"{said} {before} messages from before." if before else said


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
    try:
        plain = talk.out.no_color or not talk.out.color_system
        yield Terminal(completer, partial(_status, talk), history, plain=plain)
    finally:
        gathering.cancel()
        await asyncio.gather(gathering, return_exceptions=True)


def _status(talk: Chat) -> str:
    """Model, session, tokens, speed and cost, in one line."""
    name = talk.session_name or "new conversation"
    parts = [talk.project.agent.model.name, f"{name[:24]}…" if len(name) > 25 else name]
    return " · ".join([*parts, *filter(None, [str(talk.meter)])])


def _is_live(out: Console) -> bool:
    """Whether an answer can be drawn in place: a terminal that moves its cursor."""
    return out.is_terminal and not out.is_dumb_terminal
