"""Read lines from a terminal: editing, history, completion, a status bar, and folded pastes.

Without a bar nothing is drawn below the line, and completions are printed as a list, for screen
readers.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, Output
from prompt_toolkit.output.defaults import create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.styles import Style
from prompt_toolkit.utils import is_dumb_terminal

from agentkit.backends.auto import local_models
from agentkit.cli.chat.commands.agent import SETTINGS
from agentkit.cli.chat.commands.table import Commands
from agentkit.cli.chat.conversation import QUOTES, Chat, Interrupts, Keyboard
from agentkit.cli.i18n import _
from agentkit.settings.keys import known_providers
from agentkit.text.hidden import JOINERS, visible

_PROMPT = "› "
_SPOKEN_PROMPT = "> "
"""The prompt for screen readers, which have a short name for this sign."""
_LONG_PASTE = 2000
_MANY_LINES = 10
_PASTE = re.compile(r"\[paste (\d+): \d+ lines\]")
_BAR = {"bottom-toolbar": "noreverse", "bottom-toolbar.text": "dim"}
_STYLE = Style.from_dict({**_BAR, "prompt": "bold"})
_PLAIN_STYLE = Style.from_dict(_BAR)
_MOST_COMPLETIONS = 50
_MOST_FILES = 2000


class _Interrupted(Exception):
    """Ctrl-C on a dumb terminal, where key bindings do not work."""


class Terminal(Keyboard):
    """A keyboard with editing and history. `bar` gives the status line, None shows none."""

    def __init__(
        self,
        completer: Completer,
        interrupts: Interrupts,
        history: Path | None,
        bar: Callable[[], str] | None,
        *,
        is_plain: bool,
    ) -> None:
        stored: History = FileHistory(str(history)) if history else InMemoryHistory()
        depth = ColorDepth.DEPTH_1_BIT if is_plain else None
        style = _PLAIN_STYLE if is_plain else _STYLE
        output = None if bar else _linear_output()
        self._interrupts = interrupts
        self._bar = bar
        self._bar_text = ""
        self._pastes: list[str] = []
        self._session: PromptSession[str] = PromptSession(
            history=stored,
            completer=completer,
            complete_while_typing=bar is not None,
            complete_style=CompleteStyle.COLUMN if bar else CompleteStyle.READLINE_LIKE,
            multiline=True,
            key_bindings=self._key_bindings(),
            bottom_toolbar=self._toolbar if bar else None,
            prompt_continuation="  ",
            reserve_space_for_menu=4 if bar else 0,
            enable_open_in_editor=True,
            color_depth=depth,
            style=style,
            interrupt_exception=_Interrupted,
            output=output,
        )
        self._session.default_buffer.on_text_changed += lambda _buffer: interrupts.reset()
        self._questions: PromptSession[str] = PromptSession(
            color_depth=depth, style=style, interrupt_exception=EOFError, output=output
        )

    async def read_line(self, default: str = "") -> str:
        """The user's next line, with its pastes expanded."""
        if self._bar:
            self._bar_text = self._bar()
        elif self._interrupts.is_armed:
            print(_once_more())
        while True:
            try:
                text = await self._prompt(default)
            except _Interrupted:
                if self._interrupts.press():
                    raise EOFError from None
                print(_once_more())
                continue
            self._interrupts.reset()
            return _PASTE.sub(self._expand, text)

    async def _prompt(self, default: str) -> str:
        """A line as it was typed. Raises EOFError where the user leaves."""
        prompt = _PROMPT if self._bar else _SPOKEN_PROMPT
        reading = asyncio.ensure_future(
            self._session.prompt_async(prompt, default=default, handle_sigint=False)
        )
        with self._interrupts.cancelling(reading, self._announce):
            try:
                return await reading
            except asyncio.CancelledError:
                if not reading.cancelled():
                    raise
                raise EOFError from None

    async def ask(self, question: str, default: str = "") -> str:
        """The answer to a question."""
        has_lines = "\n" in default
        if has_lines:
            question += _("(Alt-Enter when done)") + "\n"
        return await self._questions.prompt_async(
            question, default=default, multiline=has_lines, handle_sigint=False
        )

    def _expand(self, match: re.Match[str]) -> str:
        number = int(match[1])
        return self._pastes[number - 1] if 0 < number <= len(self._pastes) else match[0]

    def _toolbar(self) -> FormattedText:
        text = _once_more() if self._interrupts.is_armed else self._bar_text
        return FormattedText([("class:bottom-toolbar.text", text)])

    def _key_bindings(self) -> KeyBindings:
        keys = KeyBindings()
        keys.add(Keys.Enter)(_on_enter)
        keys.add(Keys.Escape, Keys.Enter)(lambda event: event.current_buffer.insert_text("\n"))
        keys.add(Keys.ControlC)(self._on_interrupt)
        keys.add(Keys.BracketedPaste)(self._on_paste)
        return keys

    def _on_interrupt(self, event: KeyPressEvent) -> None:
        """Empty the line; on an empty one the second Ctrl-C leaves."""
        if event.current_buffer.text:
            event.current_buffer.reset()
        elif self._interrupts.press():
            event.app.exit(exception=EOFError)
        else:
            self._announce()

    def _announce(self) -> None:
        """Show what the next Ctrl-C does."""
        if self._bar is None:
            run_in_terminal(lambda: print(_once_more()))
        else:
            self._session.app.invalidate()

    def _on_paste(self, event: KeyPressEvent) -> None:
        """Store a long paste, and insert a placeholder for it."""
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.count("\n") + 1
        if len(text) > _LONG_PASTE or lines > _MANY_LINES:
            self._pastes.append(text)
            text = f"[paste {len(self._pastes)}: {lines} lines]"
        event.current_buffer.insert_text(text)


def _once_more() -> str:
    return _("Ctrl-C once more leaves")


def _on_enter(event: KeyPressEvent) -> None:
    """Send the message; within three quotes begin a new line."""
    buffer = event.current_buffer
    text = buffer.text.strip()
    is_open = text.startswith(QUOTES) and not (
        text.endswith(QUOTES) and len(text) >= 2 * len(QUOTES)
    )
    if is_open:
        buffer.insert_text("\n")
    else:
        buffer.validate_and_handle()


def _linear_output() -> Output | None:
    """An output that sends no queries to the terminal; None for one that moves no cursor."""
    if is_dumb_terminal():
        return None
    output = create_output(sys.stdout)
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False
    return output


class ChatCompleter(Completer):
    """Completes commands and their arguments, and documents and files after @. Names that take time
    to find are read beforehand."""

    def __init__(self, chat: Chat, commands: Commands) -> None:
        self._chat = chat
        self._commands = commands
        self.sources: list[str] = []
        self.models: list[str] = []
        self.prompts: list[str] = []
        self.loading: asyncio.Future[None] | None = None

    async def load(self) -> None:
        """Read the names of documents, models, resources and prompts."""
        project = self._chat.project
        if knowledge := project.agent.knowledge:
            self.sources = [info.source for info in await knowledge.documents()]
        self.models = [f"{name}:" for name in known_providers(project.settings.providers)]
        self.models += ["auto", "extractive", *await local_models()]
        if servers := self._chat.project.servers:
            self.sources += [f"{r.server}:{r.uri}" for r in await servers.resources()]
            self.prompts = [f"{p.server}:{p.name}" for p in await servers.prompts()]

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterator[Completion]:
        text = document.text_before_cursor
        word = text.rpartition(" ")[2].rpartition("\n")[2]
        if text.startswith("/"):
            yield from self._complete_command(text)
        elif word.startswith("@"):
            self._reload()
            yield from _quote(_match(word[1:], [*self.sources, *_files(word[1:])]))

    def _reload(self) -> None:
        """Read the names again where documents were added; they are known at the next key."""
        if self._chat.documents_changed:
            self._chat.documents_changed = False
            self.loading = asyncio.ensure_future(self.load())

    def _complete_command(self, text: str) -> Iterator[Completion]:
        name, space, argument = text[1:].partition(" ")
        if not space:
            about = {name: command.about for name, command in self._commands.items()}
            yield from _match(name, self._commands, about)
        elif names := self._arguments().get(name):
            yield from _match(argument, names(argument))

    def _arguments(self) -> Mapping[str, Callable[[str], Iterable[str]]]:
        """What may follow a command."""
        return {
            "help": lambda _text: self._commands,
            "model": lambda _text: self.models,
            "prompts": lambda _text: self.prompts,
            "tools": lambda _text: self._tools(),
            "approve": lambda _text: self._tools(),
            "resume": lambda _text: self._sessions(),
            "open": lambda _text: [
                *self._chat.session.sources.numbers(),
                *self._chat.search_hits,
                *self.sources,
            ],
            "add": _files,
            "export": _files,
            "set": _settings,
            "think": lambda _text: ("on", "off"),
            "sources": lambda _text: ("all",),
        }

    def _tools(self) -> list[str]:
        return [tool.name for tool in self._chat.project.agent.offered_tools]

    def _sessions(self) -> list[str]:
        store = self._chat.store
        return [info.name or info.id for info in store.recent(_MOST_COMPLETIONS)] if store else []


def _match(
    text: str, names: Iterable[str], about: Mapping[str, str] | None = None
) -> Iterator[Completion]:
    """The names that begin with a text, then those that contain it."""
    known = [name for name in dict.fromkeys(names) if visible(name, JOINERS) == name]
    first = [name for name in known if name.startswith(text)]
    others = [name for name in known if text and text in name[1:] and name not in first]
    for name in [*first, *others][:_MOST_COMPLETIONS]:
        meta = about.get(name, "") if about else ""
        yield Completion(name, -len(text), display_meta=meta)


def _quote(completions: Iterator[Completion]) -> Iterator[Completion]:
    """Put names with blanks between quotes, as an attachment needs them."""
    for each in completions:
        text = f'"{each.text}"' if " " in each.text else each.text
        yield Completion(text, each.start_position, display=each.text)


def _settings(text: str) -> list[str]:
    """The settings of /set; for one that is named, values for it."""
    name, space, _value = text.partition(" ")
    if space:
        return [f"{name} {value}" for value in SETTINGS[name].offered] if name in SETTINGS else []
    return list(SETTINGS)


def _files(text: str) -> list[str]:
    """The files and folders whose path begins with a text."""
    folder, _slash, last = text.rpartition("/")
    base = f"{folder}/" if folder or text.startswith("/") else ""
    found = []
    try:
        with os.scandir(Path(base or ".").expanduser()) as entries:
            for entry, _count in zip(entries, range(_MOST_FILES), strict=False):
                if entry.name.startswith(last or "") and entry.name[0] != ".":
                    found.append(f"{base}{entry.name}{'/' * entry.is_dir()}")
    except OSError:
        return []
    return sorted(found)
