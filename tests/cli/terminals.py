"""A program in a real terminal of a given size: keys in, the screen as people see it out."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping

import pexpect
import pyte

KEYS = {
    "enter": "\r", "ctrl-c": "\x03", "ctrl-d": "\x04", "alt-enter": "\x1b\r", "tab": "\t",
    "end": "\x1b[F", "clear-all": "\x1b>" + "\x17" * 40,
}  # fmt: skip


class _Screen(pyte.HistoryScreen):
    """A screen that answers when it is asked where the cursor is, as terminals do."""

    answer: Callable[[str], object] = staticmethod(lambda text: None)

    def write_process_input(self, data: str) -> None:
        self.answer(data)


class Terminal:
    """A child in a terminal of its own."""

    def __init__(
        self, *arguments: object, columns: int = 80, rows: int = 24, **environment: str
    ) -> None:
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "", "LANG": "C.UTF-8"}
        env.pop("NO_COLOR", None)
        self.screen = _Screen(columns, rows, history=5000)
        self.stream = pyte.ByteStream(self.screen)
        self.child = pexpect.spawn(
            sys.executable, ["-m", "agentkit", *map(str, arguments)],
            env={**env, **environment}, dimensions=(rows, columns), timeout=30,
        )  # fmt: skip
        self.child.delaybeforesend = None
        self.screen.answer = self.child.send

    def press(self, *keys: str) -> None:
        """Keys by name."""
        for key in keys:
            self.child.send(KEYS[key])

    def say(self, text: str) -> None:
        """Type a line and send it."""
        self.child.send(text)
        self.expect(text[-20:].strip())
        self.press("enter")

    def expect(self, text: str, seconds: float = 30) -> None:
        """Wait until the screen shows this."""
        self.until(lambda: text in self.text, seconds, text)

    def row(self, text: str) -> Mapping[int, pyte.screens.Char]:
        """The characters of the last row that shows this, with their colours."""
        rows = [at for at, line in enumerate(self.screen.display) if text in line]
        return self.screen.buffer[rows[-1]]

    def until(self, holds: Callable[[], bool], seconds: float = 30, what: str = "") -> None:
        """Wait for something."""
        end = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > end:
                raise AssertionError(f"{what!r} did not come. The screen:\n{self.text}")
            self._read(0.05)

    def ready(self, seconds: float = 30) -> None:
        """Wait for the prompt, with nothing typed."""
        self.until(lambda: self.line == "›", seconds, "the prompt")

    @property
    def line(self) -> str:
        """The line of the cursor."""
        rows = self.screen.display
        return rows[min(self.screen.cursor.y, len(rows) - 1)].rstrip()

    @property
    def text(self) -> str:
        """What the screen shows; a wide character stands there once."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def whole(self) -> str:
        """What the screen shows, and all that has left it at the top."""
        above = ["".join(line[x].data for x in range(self.screen.columns)).rstrip()
                 for line in self.screen.history.top]  # fmt: skip
        return "\n".join([*above, self.text])

    def resize(self, columns: int, rows: int) -> None:
        """Make the terminal larger or smaller."""
        self.screen.resize(rows, columns)
        self.child.setwinsize(rows, columns)

    def close(self) -> int:
        """The exit code, after the child has ended and the screen shows its last words."""
        self.until(lambda: not self.child.isalive(), what="the end")
        self._read(0.1)
        self.child.close()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -1)

    def kill(self) -> None:
        """End it, however it stands."""
        self.child.close(force=True)

    def _read(self, seconds: float) -> None:
        try:
            self.stream.feed(self.child.read_nonblocking(65536, seconds))
        except pexpect.TIMEOUT:
            return
        except (pexpect.EOF, OSError):
            time.sleep(seconds)
