"""The user's word on a call of `agentkit ask`: by --allow beforehand, else asked for on the
terminal, else no."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from rich.console import Console
from rich.text import Text

from agentkit.agent.approval import ALLOWED, DENIED, Verdict
from agentkit.cli.language import translated
from agentkit.cli.render import harmless
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool


class Allowing:
    """Give `approve` to the project. `before` and `after` stand around each question; `denied` is
    whether the user's word, or the want of it, kept a call from running."""

    def __init__(self, patterns: Sequence[str], log: Console) -> None:
        self._patterns = patterns
        self._log = log
        self._one_at_a_time = asyncio.Lock()
        self.before: Callable[[], None] = _nothing
        self.after: Callable[[], None] = _nothing
        self.denied = False

    async def approve(self, tool: Tool, call: ToolCall) -> Verdict:
        """The word on one call."""
        if any(fnmatchcase(tool.name, pattern) for pattern in self._patterns):
            return ALLOWED
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            return self._refused()
        async with self._one_at_a_time:
            self.before()
            try:
                return await self._asked(call)
            finally:
                self.after()

    async def _asked(self, call: ToolCall) -> Verdict:
        given = call.arguments
        shown = given if isinstance(given, str) else json.dumps(dict(given), ensure_ascii=False)
        self._log.print(Text(harmless(f"{call.name} {shown}", "�")))
        print(translated("allow this call? [y/N] "), end="", file=sys.stderr, flush=True)
        agrees = (await _typed()).strip().lower() in ("y", "yes")
        return ALLOWED if agrees else self._refused()

    def _refused(self) -> Verdict:
        self.denied = True
        return DENIED


async def _typed() -> str:
    """A line from the terminal; waiting for it can be stopped."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(sys.stdin.fileno(), ready.set)
    except NotImplementedError:  # Windows
        return await asyncio.to_thread(sys.stdin.readline)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline()


def _nothing() -> None:
    return None
