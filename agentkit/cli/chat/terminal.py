"""Lines from a terminal: editing, history, completion, a status bar, and pastes that are folded.

Without a bar nothing stands below the line, and what Tab offers is printed as a list, for those who
listen to the screen.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.completion import Completer
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

from agentkit.cli.chat.conversation import QUOTES
from agentkit.cli.chat.interrupts import Interrupts
from agentkit.cli.language import translated

_PROMPT = "› "
_HEARD = "> "
"""The prompt for those who listen to the screen: a reader has a short name for this sign."""
_ONCE_MORE = "Ctrl-C once more leaves"
_LONG_PASTE = 2000
_MANY_LINES = 10
_PASTE = re.compile(r"\[paste (\d+): \d+ lines\]")
_BAR = {"bottom-toolbar": "noreverse", "bottom-toolbar.text": "dim"}
_STYLE = Style.from_dict({**_BAR, "prompt": "bold"})
_PLAIN = Style.from_dict(_BAR)


class _Pressed(Exception):
    """Ctrl-C, on a dumb terminal: there the keys are not ours."""


class Terminal:
    """A Keyboard. `bar` says what stands below the line, None for nothing."""

    def __init__(
        self,
        completer: Completer,
        interrupts: Interrupts,
        history: Path | None,
        bar: Callable[[], str] | None,
        *,
        plain: bool,
    ) -> None:
        kept: History = FileHistory(str(history)) if history else InMemoryHistory()
        depth = ColorDepth.DEPTH_1_BIT if plain else None
        style = _PLAIN if plain else _STYLE
        output = None if bar else _linear_output()
        self._interrupts = interrupts
        self._status = bar
        self._said = ""
        self._pastes: list[str] = []
        self._session: PromptSession[str] = PromptSession(
            history=kept,
            completer=completer,
            complete_while_typing=bar is not None,
            complete_style=CompleteStyle.COLUMN if bar else CompleteStyle.READLINE_LIKE,
            multiline=True,
            key_bindings=self._keys(),
            bottom_toolbar=self._bar if bar else None,
            prompt_continuation="  ",
            reserve_space_for_menu=4 if bar else 0,
            enable_open_in_editor=True,
            color_depth=depth,
            style=style,
            interrupt_exception=_Pressed,
            output=output,
        )
        self._session.default_buffer.on_text_changed += lambda _: interrupts.calm()
        self._questions: PromptSession[str] = PromptSession(
            color_depth=depth, style=style, interrupt_exception=EOFError, output=output
        )

    async def line(self, default: str = "") -> str:
        """What the user says next, its pastes whole."""
        if self._status:
            self._said = self._status()
        elif self._interrupts.is_armed:
            print(translated(_ONCE_MORE))
        while True:
            try:
                text = await self._typed(default)
            except _Pressed:
                if self._interrupts.press():
                    raise EOFError from None
                print(translated(_ONCE_MORE))
                continue
            self._interrupts.calm()
            return _PASTE.sub(self._whole, text)

    async def _typed(self, default: str) -> str:
        """A line as it was typed. Raises EOFError where the user leaves before it can be."""
        prompt = _PROMPT if self._status else _HEARD
        reading = asyncio.ensure_future(
            self._session.prompt_async(prompt, default=default, handle_sigint=False)
        )
        with self._interrupts.cancelling(reading, self._warn):
            try:
                return await reading
            except asyncio.CancelledError:
                if not reading.cancelled():
                    raise
                raise EOFError from None

    async def ask(self, question: str, default: str = "") -> str:
        """The answer to a question of ours."""
        many = "\n" in default
        if many:
            question = f"{question}{translated('(Alt-Enter when done)')}\n"
        return await self._questions.prompt_async(
            question, default=default, multiline=many, handle_sigint=False
        )

    def _whole(self, match: re.Match[str]) -> str:
        number = int(match[1])
        return self._pastes[number - 1] if 0 < number <= len(self._pastes) else match[0]

    def _bar(self) -> FormattedText:
        said = translated(_ONCE_MORE) if self._interrupts.is_armed else self._said
        return FormattedText([("class:bottom-toolbar.text", said)])

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        keys.add(Keys.Enter)(_enter)
        keys.add(Keys.Escape, Keys.Enter)(lambda event: event.current_buffer.insert_text("\n"))
        keys.add(Keys.ControlC)(self._interrupt)
        keys.add(Keys.BracketedPaste)(self._paste)
        return keys

    def _interrupt(self, event: KeyPressEvent) -> None:
        """Empty the line; on an empty one the second time leaves."""
        if event.current_buffer.text:
            event.current_buffer.reset()
        elif self._interrupts.press():
            event.app.exit(exception=EOFError)
        else:
            self._warn()

    def _warn(self) -> None:
        """Say what the next Ctrl-C does."""
        if self._status is None:
            run_in_terminal(lambda: print(translated(_ONCE_MORE)))
        else:
            self._session.app.invalidate()

    def _paste(self, event: KeyPressEvent) -> None:
        """A long paste is kept aside, and a word stands for it."""
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        count = text.count("\n") + 1
        if len(text) > _LONG_PASTE or count > _MANY_LINES:
            self._pastes.append(text)
            text = f"[paste {len(self._pastes)}: {count} lines]"
        event.current_buffer.insert_text(text)


def _enter(event: KeyPressEvent) -> None:
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
    """An output that asks the terminal nothing; None for one that moves no cursor anyway."""
    if is_dumb_terminal():
        return None
    output = create_output(sys.stdout)
    if isinstance(output, Vt100_Output):
        output.enable_cpr = False
    return output
