"""A conversation with a project's agent: lines in, commands run, answers shown and kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

from rich.console import Console
from rich.text import Text

from agentkit.agent.session import Session
from agentkit.agent.session_store import SessionStore, StoredSession
from agentkit.answers import Answer
from agentkit.backends.base import Model
from agentkit.cli.chat.allowed import Allowed
from agentkit.cli.chat.attachments import Attached, attach
from agentkit.cli.chat.interrupts import Interrupts
from agentkit.cli.chat.linear import Linear
from agentkit.cli.chat.meter import Meter
from agentkit.cli.chat.prose import Known
from agentkit.cli.chat.record import Record, noted
from agentkit.cli.chat.view import View
from agentkit.cli.language import labelled, translated
from agentkit.cli.render import harmless, marked, show_ending
from agentkit.documents import Chunk
from agentkit.errors import AgentkitError
from agentkit.events import Event
from agentkit.mcp.client import McpServers
from agentkit.messages import Content, Message
from agentkit.project.project import Project

QUOTES = '"""'
_LEAVING = ("exit", "quit")

RunCommand = Callable[["Chat", str], Coroutine[Any, Any, None]]
"""Runs a line that begins with "/"."""


class Keyboard(Protocol):
    """Where lines come from: a terminal or a pipe. Both raise EOFError at the end."""

    async def line(self, default: str = "") -> str:
        """What the user says next."""
        ...

    async def ask(self, question: str, default: str = "") -> str:
        """The answer to a question of ours."""
        ...


class Nobody:
    """A Keyboard with nobody at it."""

    async def line(self, default: str = "") -> str:
        raise EOFError

    async def ask(self, question: str, default: str = "") -> str:
        raise EOFError


class Leave(Exception):
    """The user wants to go."""


class Chat:
    """What the commands see and change. `live` says that answers are drawn in place, as
    in a terminal; `reflows` that it breaks rows again that became too long for it."""

    def __init__(
        self,
        project: Project,
        out: Console,
        log: Console,
        *,
        store: SessionStore | None = None,
        session: Session | None = None,
        allowed: Allowed | None = None,
        servers: McpServers | None = None,
        live: bool = False,
        reflows: bool = True,
    ) -> None:
        self.project = project
        self.keyboard: Keyboard = Nobody()
        self.out = out
        self.log = log
        self.store = store
        self.servers = servers
        self.live = live
        self.reflows = reflows
        self.session = session or Session()
        self.allowed = allowed or Allowed(project.path / ".agentkit" / "approvals.json")
        self.record = Record()
        self.meter = Meter()
        self.interrupts = Interrupts()
        self.thinks = False
        self.prefill = ""
        self.has_changed = False
        """Whether documents were added that nobody has looked at yet."""
        self.found: dict[str, Chunk] = {}
        self.view: View | Linear | None = None
        self.models: list[Model] = []
        self._task: asyncio.Future[Answer | None] | None = None

    @property
    def last(self) -> Answer | None:
        """The last answer, whole."""
        return self.record.answer

    @property
    def session_name(self) -> str:
        """What the session is called, "" where nothing is said yet."""
        if self.store is None or not self.session.messages:
            return ""
        return self.store.find(self.session.id).name

    @property
    def figures(self) -> list[str]:
        """How things stand: model, session, then what the meter says."""
        model = self.project.agent.model.name
        name = self.session_name or translated("new conversation")
        return [model, name, *self.meter.parts]

    async def run(self, keyboard: Keyboard, command: RunCommand) -> None:
        """Read and answer until the user leaves; `command` runs a line that begins with "/"."""
        self.keyboard = keyboard
        if self.session.pending:
            await self.resume_calls()
        while not self.interrupts.has_left:
            with suppress(KeyboardInterrupt):
                try:
                    await self._one(command)
                except (EOFError, Leave):
                    return

    async def answer(self, prompt: Content | Message) -> None:
        """Answer one prompt; Ctrl-C stops it and keeps what was said, an error ends only it."""
        if self.session.pending:
            await self.resume_calls()
        await self._follow(self.project.agent.stream(prompt, self.session))

    async def resume_calls(self) -> None:
        """A run was paused for the user's word: ask for it, and go on."""
        self.say("A call of this conversation waits for your word.")
        await self._follow(self.project.agent.resume(self.session, {}))

    def stop(self) -> None:
        """End the run that goes on."""
        if self._task:
            self._task.cancel()

    def adopt(self, session: Session) -> None:
        """Go on in another session; the one before is kept."""
        self.close_session()
        self.session, self.record, self.found = session, Record(), {}
        self.meter.forget()

    def close_session(self) -> None:
        """Let others open it."""
        if isinstance(self.session, StoredSession):
            self.session.close()

    def say(self, message: str, text: str = "") -> None:
        """A quiet word beside the conversation; a text behind it is not ours and stays so."""
        said = labelled(message, text) if text else translated(message)
        self.log.print(Text(harmless(said), "dim"))

    def warn(self, text: str) -> None:
        """A word that must not be missed."""
        self.log.print(marked("error:", "red", harmless(text)))

    async def _one(self, command: RunCommand) -> None:
        default, self.prefill = self.prefill, ""
        line = await self._whole(await self.keyboard.line(default))
        if line.lower() in _LEAVING:
            raise Leave
        if line.startswith("/"):
            await self._stoppable(command(self, line))
        elif line:
            await self.answer(await self._attached(line))
        if line and self.live:
            self.out.print()

    async def _stoppable(self, work: Coroutine[Any, Any, None]) -> None:
        """A command, which Ctrl-C ends."""
        task = asyncio.ensure_future(work)
        with self.interrupts.cancelling(task):
            try:
                await task
            except AgentkitError as error:
                self.warn(str(error))
            except asyncio.CancelledError:
                if not task.cancelled():
                    raise
                self.log.print(Text(translated("Stopped."), "yellow"))

    async def _whole(self, line: str) -> str:
        """A message between three quotes may have many lines."""
        line = line.strip()
        if not line.startswith(QUOTES):
            return line
        while not (len(line) >= 2 * len(QUOTES) and line.endswith(QUOTES)):
            line += "\n" + (await self.keyboard.line()).rstrip("\n")
        return line.removeprefix(QUOTES).removesuffix(QUOTES).strip()

    async def _attached(self, line: str) -> Message:
        attached: Attached = await attach(line, self.project, self.session.sources, self.servers)
        for note in attached.notes:
            self.say(note)
        return Message("user", attached.content, passages=tuple(attached.passages))

    async def _follow(self, events: AsyncGenerator[Event, None]) -> None:
        self.record = Record()
        self._task = asyncio.ensure_future(self._shown(noted(events, self.record)))
        with self.interrupts.cancelling(self._task):
            try:
                answer = await self._task
                if answer is not None:
                    show_ending(answer, self.out, self.log)
            except asyncio.CancelledError:
                if not self._task.cancelled():
                    raise
                self.log.print(Text(translated("Stopped; what was said is kept."), "yellow"))
            except AgentkitError as error:
                said = str(error)
                ended = said if said.endswith((".", "?", "!", "。")) else f"{said}."
                self.warn(f"{ended} /retry asks again.")
            finally:
                self._task = None
        await self.meter.note(self.record, self.project.agent, self.session)

    async def _shown(self, events: AsyncGenerator[Event, None]) -> Answer | None:
        try:
            if not self.live:
                self.view = Linear(self.out, self.log, thinks=self.thinks)
                return await self.view.show(events)
            self.view = View(self.out, thinks=self.thinks, reflows=self.reflows)
            sources = self.session.sources
            known = Known(lambda number: sources.find(number) is not None, sources.texts)
            return await self.view.show(events, known)
        finally:
            self.view = None
