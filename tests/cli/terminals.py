"""A program in a real terminal of a given size: keys in, the screen as people see it out.

A thread reads what the program writes as it comes, so that its questions are answered at once,
whatever a test is waiting for. Nothing here waits for a time: only for what is to be seen.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from copy import copy

import pexpect
import pyte

from tests.cli.emulator import Emulator, Row

KEYS = {
    "enter": "\r", "ctrl-c": "\x03", "ctrl-d": "\x04", "alt-enter": "\x1b\r", "tab": "\t",
    "end": "\x1b[F", "up": "\x1b[A", "clear-all": "\x1b>" + "\x17" * 40,
}  # fmt: skip
_OURS = ("NO_COLOR", "XTERM_VERSION", "TMUX", "AGENTKIT_SCREEN_READER", "AGENTKIT_LANG",
         "LANGUAGE", "LC_ALL", "LC_MESSAGES", "COLUMNS", "LINES")  # fmt: skip
"""What the tests decide, and not whoever runs them."""
_PATIENCE = 60.0
"""Seconds after which a test gives up; a loaded machine may need many."""


class Terminal:
    """A child in a terminal of its own."""

    def __init__(
        self, *arguments: object, columns: int = 80, rows: int = 24, reflows: bool = True,
        **environment: str,
    ) -> None:  # fmt: skip
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "", "LANG": "C.UTF-8"}
        for name in _OURS:
            env.pop(name, None)
        self.screen = Emulator(columns, rows, reflows=reflows)
        self.written = b""
        self._changed = threading.Condition()
        self._stream = pyte.ByteStream(self.screen)
        self._ended = False
        self.child = pexpect.spawn(
            sys.executable, ["-m", "agentkit", *map(str, arguments)],
            env={**env, **environment}, dimensions=(rows, columns),
        )  # fmt: skip
        self.child.delaybeforesend = None
        self.screen.answer = self.child.send
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def press(self, *keys: str) -> None:
        """Keys by name."""
        for key in keys:
            self.child.send(KEYS[key])

    def type(self, text: str) -> None:
        """Type at the prompt, and see it there."""
        self.child.send(text)
        wanted = "".join(text.split())
        self.until(lambda: "".join(self.typed.split()) == wanted, f"{text!r} at the prompt")

    def say(self, text: str) -> None:
        """Type a line and send it."""
        self.type(text)
        self.press("enter")

    def tell(self, text: str) -> None:
        """Say something, and wait until the chat is done with it."""
        self.say(text)
        self.ready()

    def expect(self, text: str) -> None:
        """Wait until the screen shows this."""
        self.until(lambda: text in self.text, repr(text))

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds; what is seen may change only between two looks."""
        with self._changed:
            if not self._changed.wait_for(holds, _PATIENCE):
                raise AssertionError(f"{what} did not come. The screen:\n{self.text}")

    def still(self) -> None:
        """Wait until nothing has come for a second: for screens that are written to be read."""
        with self._changed:
            while self._changed.wait(1.0):
                pass

    def ready(self) -> None:
        """Wait for the prompt, with nothing typed. The text before must have been seen there,
        so that this is a new one."""
        self.until(lambda: self.line == "›", "the prompt")

    def await_approval_prompt(self) -> None:
        """Wait for the question whether a tool may run."""
        self.until(lambda: self.line == "allow? y/s/a/n/e ›", "the question")

    def column(self, text: str) -> int:
        """Where this begins in the last row that shows it."""
        return next(r.index(text) for r in reversed(self.screen.display) if text in r)

    def row(self, text: str) -> Row:
        """The characters of the last row that shows this, with their colours."""
        with self._changed:
            rows = [at for at, line in enumerate(self.screen.display) if text in line]
            return copy(self.screen.buffer[rows[-1]])

    @property
    def line(self) -> str:
        """The line of the cursor."""
        return self.screen.display[self.screen.cursor.y].rstrip()

    @property
    def typed(self) -> str:
        """What stands between the last prompt or question and the cursor."""
        rows = self.screen.display[: self.screen.cursor.y + 1]
        return "".join(row.rstrip() for row in rows).rpartition("›")[2]

    @property
    def text(self) -> str:
        """What the screen shows."""
        with self._changed:
            return self.screen.text

    @property
    def whole(self) -> str:
        """What the screen shows, and all that has left it at the top."""
        with self._changed:
            return self.screen.whole

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal larger or smaller."""
        with self._changed:
            self.screen.resize(rows, columns)
            self.child.setwinsize(rows, columns)

    def close(self) -> int:
        """The exit code, after the child has ended and the screen shows its last words."""
        self.until(lambda: self._ended, "the end")
        self.child.wait()
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -1)

    def kill(self) -> None:
        """End it, however it stands."""
        self.child.close(force=True)

    def _read(self) -> None:
        while not self._ended:
            try:
                data = os.read(self.child.child_fd, 65536)
            except OSError:
                data = b""
            with self._changed:
                self.written += data
                self._stream.feed(data)
                self._ended = not data
                self._changed.notify_all()
