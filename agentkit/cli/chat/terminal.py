"""Lines from a terminal: editing, history, completion, a status bar, and pastes that are folded."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from agentkit.cli.chat.conversation import QUOTES

_PROMPT = "› "
_TWICE = 2.0
"""Seconds within which a second Ctrl-C leaves."""
_LONG_PASTE = 2000
_MANY_LINES = 10
_PASTE = re.compile(r"\[paste (\d+): \d+ lines\]")
_STYLE = Style.from_dict({"bottom-toolbar": "noreverse", "prompt": "bold"})
_PLAIN = Style.from_dict({"bottom-toolbar": "noreverse"})


class Terminal:
    """A Keyboard. `status` says what stands in the bar below."""

    def __init__(
        self, completer: Completer, status: Callable[[], str], history: Path | None, *, plain: bool
    ) -> None:
        kept: History = FileHistory(str(history)) if history else InMemoryHistory()
        depth = ColorDepth.DEPTH_1_BIT if plain else None
        style = _PLAIN if plain else _STYLE
        self._status = status
        self._said = ""
        self._pastes: list[str] = []
        self._interrupted = 0.0
        self._session: PromptSession[str] = PromptSession(
            history=kept,
            completer=completer,
            complete_while_typing=True,
            multiline=True,
            key_bindings=self._keys(),
            bottom_toolbar=self._bar,
            prompt_continuation="  ",
            reserve_space_for_menu=4,
            color_depth=depth,
            style=style,
        )
        self._questions: PromptSession[str] = PromptSession(color_depth=depth, style=style)

    async def line(self, default: str = "") -> str:
        """What the user says next, its pastes whole."""
        self._said = self._status()
        text = await self._session.prompt_async(_PROMPT, default=default, handle_sigint=False)
        return _PASTE.sub(self._whole, text)

    async def ask(self, question: str, default: str = "") -> str:
        """The answer to a question of ours."""
        many = "\n" in default
        if many:
            question = f"{question}(Alt-Enter when done)\n"
        return await self._questions.prompt_async(
            question, default=default, multiline=many, handle_sigint=False
        )

    def _whole(self, match: re.Match[str]) -> str:
        number = int(match[1])
        return self._pastes[number - 1] if 0 < number <= len(self._pastes) else match[0]

    def _bar(self) -> FormattedText:
        if time.monotonic() - self._interrupted < _TWICE:
            return FormattedText([("class:bottom-toolbar", "Ctrl-C once more leaves")])
        return FormattedText([("class:bottom-toolbar", self._said)])

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        keys.add(Keys.Enter)(_enter)
        keys.add(Keys.Escape, Keys.Enter)(lambda event: event.current_buffer.insert_text("\n"))
        keys.add(Keys.ControlC)(self._interrupt)
        keys.add(Keys.BracketedPaste)(self._paste)
        return keys

    def _interrupt(self, event: KeyPressEvent) -> None:
        """Empty the line; on an empty one the second time leaves."""
        now = time.monotonic()
        if event.current_buffer.text:
            event.current_buffer.reset()
        elif now - self._interrupted < _TWICE:
            event.app.exit(exception=EOFError)
        else:
            self._interrupted = now

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
