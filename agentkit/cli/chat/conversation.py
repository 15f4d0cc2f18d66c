"""A conversation with a project's agent: read lines, run commands, show and record answers."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.text import Text

from agentkit.agent.agent import Agent
from agentkit.agent.compaction import Window
from agentkit.agent.session import Session
from agentkit.agent.session_store import SessionStore
from agentkit.answers import Answer
from agentkit.backends.base import Model
from agentkit.cli.chat.approval import AllowedTools
from agentkit.cli.chat.attachments import attach
from agentkit.cli.console import print_labelled
from agentkit.cli.i18n import _
from agentkit.cli.project import close_session
from agentkit.cli.render import LinearView, print_ending
from agentkit.cli.view import View
from agentkit.documents import Chunk
from agentkit.errors import AgentkitError
from agentkit.events import (
    Event,
    Finished,
    Nested,
    ReasoningDelta,
    TextDelta,
    ToolDenied,
    ToolFinished,
)
from agentkit.messages import Content, Message, ToolCall
from agentkit.project.project import Project

QUOTES = '"""'
"""Opens and closes a message of several lines."""
_QUIT_WORDS = ("exit", "quit")
_LEAST_SECONDS = 0.05
"""Seconds of writing below which no speed is shown."""

RunCommand = Callable[["Chat", str], Coroutine[Any, Any, None]]
"""Runs a line that begins with "/"."""


class Keyboard:
    """The source of lines: a terminal or a pipe. Raises EOFError at the end, and so does this one
    at once."""

    async def read_line(self, default: str = "") -> str:
        """The user's next line."""
        raise EOFError

    async def ask(self, question: str, default: str = "") -> str:
        """The answer to a question."""
        raise EOFError


class QuitChat(Exception):
    """The user wants to leave."""


class Interrupts:
    """Ctrl-C: once cancels what runs, twice in a row leaves, during an answer or at the prompt."""

    def __init__(self) -> None:
        self.is_armed = False
        """Whether the next Ctrl-C leaves."""
        self.must_quit = False

    def press(self) -> bool:
        """Note a Ctrl-C. Returns whether the user wants to leave."""
        self.must_quit = self.must_quit or self.is_armed
        self.is_armed = True
        return self.must_quit

    def reset(self) -> None:
        """Note that something else was typed."""
        self.is_armed = False

    @contextmanager
    def cancelling(
        self, task: asyncio.Future[Any], first: Callable[[], object] | None = None
    ) -> Iterator[None]:
        """Let Ctrl-C cancel a task for as long as it runs. The first one calls `first` instead,
        where that is given."""
        loop = asyncio.get_running_loop()

        def on_press() -> None:
            if self.press() or first is None:
                task.cancel()
            else:
                first()

        before = signal.signal(signal.SIGINT, lambda *_args: loop.call_soon_threadsafe(on_press))
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A call that has ended."""

    call: ToolCall
    outcome: str
    """ "returned", "failed" or "denied"."""
    result: str
    seconds: float = 0.0
    depth: int = 0


@dataclass
class RunRecord:
    """What one run did, for the commands that show it again."""

    calls: list[CallRecord] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    deltas: list[str] = field(default_factory=list)
    writing_seconds: float = 0.0
    """Seconds in which the model wrote, between one delta and the next."""
    answer: Answer | None = None
    _last_delta: float = 0.0

    def add(self, event: Event) -> None:
        match event:
            case TextDelta(text) | ReasoningDelta(text):
                self._add_delta(text)
                if isinstance(event, ReasoningDelta):
                    self.reasoning.append(text)
                return
            case Finished(answer):
                self.answer = answer
            case _:
                self._add_call(event, 0)
        self._last_delta = 0.0

    def _add_delta(self, text: str) -> None:
        now = time.perf_counter()
        if self._last_delta:
            self.writing_seconds += now - self._last_delta
        self._last_delta = now
        self.deltas.append(text)

    def _add_call(self, event: Event, depth: int) -> None:
        match event:
            case ToolFinished(call, result, seconds, failed):
                outcome = "failed" if failed else "returned"
                self.calls.append(CallRecord(call, outcome, result.prompt_text, seconds, depth))
            case ToolDenied(call, reason):
                self.calls.append(CallRecord(call, "denied", reason, 0.0, depth))
            case Nested(_call, inner):
                self._add_call(inner, depth + 1)


@dataclass
class Meter:
    """Tokens, speed and cost after the last answer; 0 and None where they are unknown."""

    tokens: int = 0
    window: int | None = None
    speed: float = 0.0
    cost: float | None = None
    _model: Model | None = None

    async def update(self, record: RunRecord, agent: Agent, session: Session) -> None:
        """Measure again, after a run. A model that follows no instructions reads no tokens."""
        if not (await agent.model.capabilities()).instructions:
            self.reset()
        else:
            self.tokens = Window(agent.model).prompt(session.view, agent.offered_tools).tokens
            if record.writing_seconds > _LEAST_SECONDS:
                written = agent.model.count_tokens("".join(record.deltas))
                self.speed = written / record.writing_seconds
        if record.answer and record.answer.cost is not None:
            self.cost = (self.cost or 0.0) + record.answer.cost
        if self._model is not agent.model:
            self.window, self._model = await _context_window(agent.model), agent.model

    def reset(self) -> None:
        """Start another conversation; the cost goes on."""
        self.tokens, self.speed = 0, 0.0

    @property
    def parts(self) -> list[str]:
        """What is known, for the status bar."""
        parts = []
        if self.tokens and self.window:
            tokens, window = _format_count(self.tokens), _format_count(self.window)
            parts.append(_("{tokens} of {window} tokens").format(tokens=tokens, window=window))
        elif self.tokens:
            parts.append(f"{_format_count(self.tokens)} tokens")
        if self.speed:
            parts.append(f"{self.speed:.0f} tokens/s")
        if self.cost is not None:
            parts.append(_("cost {cost:.4f}").format(cost=self.cost))
        return parts


@dataclass
class Chat:
    """What the commands of a chat see and change."""

    project: Project
    out: Console
    log: Console
    allowed: AllowedTools
    store: SessionStore | None = None
    session: Session = field(default_factory=Session)
    is_live: bool = False
    """Whether answers are redrawn in place, as in a terminal."""
    reflows: bool = True
    """Whether the terminal wraps rows again that became too long for it."""
    keyboard: Keyboard = field(default_factory=Keyboard)
    record: RunRecord = field(default_factory=RunRecord)
    meter: Meter = field(default_factory=Meter)
    interrupts: Interrupts = field(default_factory=Interrupts)
    shows_reasoning: bool = False
    prefill: str = ""
    """Text that stands at the next prompt."""
    trust_notice: str = ""
    """The last notice of changed tools."""
    documents_changed: bool = False
    """Whether documents were added since completion last read their names."""
    search_hits: dict[str, Chunk] = field(default_factory=dict)
    view: View | LinearView | None = None
    opened_models: list[Model] = field(default_factory=list)
    _task: asyncio.Future[Answer | None] | None = None

    @property
    def last_answer(self) -> Answer | None:
        return self.record.answer

    @property
    def session_name(self) -> str:
        """The session's name, "" where it has no messages yet."""
        if self.store is None or not self.session.messages:
            return ""
        return self.store.find(self.session.id).name

    @property
    def status(self) -> list[str]:
        """Model, session, then what the meter knows."""
        name = self.session_name or _("new conversation")
        return [self.project.agent.model.name, name, *self.meter.parts]

    async def run(self, keyboard: Keyboard, command: RunCommand) -> None:
        """Read and answer until the user leaves; `command` runs a line that begins with "/"."""
        self.keyboard = keyboard
        if self.session.pending:
            await self.resume_calls()
        while not self.interrupts.must_quit:
            with suppress(KeyboardInterrupt):
                try:
                    await self._process_line(command)
                except (EOFError, QuitChat):
                    return

    async def answer(self, prompt: Content | Message) -> None:
        """Answer one prompt; Ctrl-C stops it and keeps the text so far, an error ends only it."""
        if self.session.pending:
            await self.resume_calls()
        notice, self.trust_notice = self.trust_notice, await self.project.refresh_tools()
        if self.trust_notice not in ("", notice):
            self.note(self.trust_notice)
        await self._run_agent(self.project.agent.stream(prompt, self.session))

    async def resume_calls(self) -> None:
        """Ask for the approval for which a run was paused, and resume it."""
        self.note(_("A call in this conversation waits for your approval."))
        await self._run_agent(self.project.agent.stream_resume(self.session, {}))

    def cancel_run(self) -> None:
        if self._task:
            self._task.cancel()

    def switch_session(self, session: Session) -> None:
        """Continue in another session; the one before stays stored."""
        self.close_session()
        self.session, self.record, self.search_hits = session, RunRecord(), {}
        self.meter.reset()

    def close_session(self) -> None:
        """Let other processes open the session; one without messages is deleted."""
        close_session(self.store, self.session)

    def note(self, message: str) -> None:
        """Print a dim line beside the conversation."""
        self.log.print(Text(message, "dim"))

    def error(self, message: str) -> None:
        print_labelled(_("error:"), "red", message, self.log)

    async def _process_line(self, command: RunCommand) -> None:
        default, self.prefill = self.prefill, ""
        line = await self._read_message(default)
        if line.lower() in _QUIT_WORDS:
            raise QuitChat
        if line.startswith("/"):
            await self._run_command(command(self, line))
        elif line:
            message, notes = await attach(line, self.project, self.session.sources)
            for note in notes:
                self.note(note)
            await self.answer(message)
        if line and self.is_live:
            self.out.print()

    async def _read_message(self, default: str) -> str:
        """A line, or the lines between three quotes."""
        line = (await self.keyboard.read_line(default)).strip()
        if not line.startswith(QUOTES):
            return line
        while not (len(line) >= 2 * len(QUOTES) and line.endswith(QUOTES)):
            line += "\n" + (await self.keyboard.read_line()).rstrip("\n")
        return line.removeprefix(QUOTES).removesuffix(QUOTES).strip()

    async def _run_command(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a command, which Ctrl-C cancels."""
        task = asyncio.ensure_future(work)
        with self.interrupts.cancelling(task):
            try:
                await task
            except AgentkitError as error:
                self.error(str(error))
            except asyncio.CancelledError:
                if not task.cancelled():
                    raise
                self.log.print(Text(_("Stopped."), "yellow"))

    async def _run_agent(self, events: AsyncGenerator[Event, None]) -> None:
        self.record = RunRecord()
        self._task = asyncio.ensure_future(self._draw(_recorded(events, self.record)))
        with self.interrupts.cancelling(self._task):
            try:
                answer = await self._task
                if answer is not None:
                    print_ending(answer, self.out, self.log)
            except asyncio.CancelledError:
                if not self._task.cancelled():
                    raise
                self.log.print(Text(_("Stopped; the text so far is kept."), "yellow"))
            except AgentkitError as error:
                self.error(str(error))
                self.note(_("/retry asks again."))
            finally:
                self._task = None
        await self.meter.update(self.record, self.project.agent, self.session)

    async def _draw(self, events: AsyncGenerator[Event, None]) -> Answer | None:
        if self.is_live:
            self.view = View(self.out, shows_reasoning=self.shows_reasoning, reflows=self.reflows)
        else:
            self.view = LinearView(self.out, self.log, shows_reasoning=self.shows_reasoning)
        try:
            return await self.view.show(events, self.session.sources)
        finally:
            self.view = None


async def _recorded(
    events: AsyncGenerator[Event, None], record: RunRecord
) -> AsyncGenerator[Event, None]:
    """The events unchanged, each also added to the record."""
    async with aclosing(events):
        async for event in events:
            record.add(event)
            yield event


async def _context_window(model: Model) -> int | None:
    try:
        return await model.context_window()
    except AgentkitError:
        return None


def _format_count(number: int) -> str:
    return str(number) if number < 10_000 else f"{number / 1000:.0f}k"
