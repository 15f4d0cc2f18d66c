"""Approve tool calls of `agentkit ask`: by --allow, else by a question on the terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase

from rich.text import Text

from agentkit.agent.approval import ALLOWED, DENIED, Verdict
from agentkit.cli.commands.ask_output import TextOutput
from agentkit.cli.console import format_arguments, is_yes
from agentkit.cli.i18n import _
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool


class CommandLineApproval:
    """Give `approve` to the project. `output` is paused during a question; `denied` tells whether a
    call was not allowed."""

    def __init__(self, patterns: Sequence[str], output: TextOutput) -> None:
        self._patterns = patterns
        self._output = output
        self._one_at_a_time = asyncio.Lock()
        self.denied = False

    async def approve(self, tool: Tool, call: ToolCall) -> Verdict:
        """Decide on one call; without a terminal it is denied."""
        if any(fnmatchcase(tool.name, pattern) for pattern in self._patterns):
            return ALLOWED
        allowed = False
        if sys.stdin.isatty() and sys.stderr.isatty():
            async with self._one_at_a_time:
                self._output.pause()
                try:
                    allowed = await self._ask(call)
                finally:
                    self._output.resume()
        self.denied = self.denied or not allowed
        return ALLOWED if allowed else DENIED

    async def _ask(self, call: ToolCall) -> bool:
        self._output.log.print(Text(f"{call.name} {format_arguments(call.arguments)}"))
        print(_("allow this call? [y/N] "), end="", file=sys.stderr, flush=True)
        return is_yes(await _read_line())


async def _read_line() -> str:
    """Read a line from the terminal; the wait can be cancelled."""
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
