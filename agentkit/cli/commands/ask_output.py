"""Print an answer of `agentkit ask`: for people as it streams, or for programs.

Approve tool calls of `agentkit ask`: by --allow, else by a question on the terminal.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import AsyncGenerator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from agentkit.agent.approval import ALLOWED, DENIED, Verdict
from agentkit.agent.session import Session
from agentkit.answers import Answer
from agentkit.cli.console import format_arguments, is_yes, plain_console, print_json
from agentkit.cli.errors import exit_code_of
from agentkit.cli.i18n import _
from agentkit.cli.json_output import answer_record, print_events, print_record
from agentkit.cli.render import LinearView, collect_answer, print_ending
from agentkit.errors import AgentkitError
from agentkit.events import Event
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from agentkit.cli.view import View


class TextOutput:
    """Prints text as it streams, by `view`. `pause` and `resume` run around a question to the
    user."""

    is_for_people = True

    def __init__(self, out: Console, log: Console, view: View | None = None) -> None:
        self.out, self.log = out, log
        self._view = view or LinearView(out, log)

    async def print_run(self, events: AsyncGenerator[Event, None], session: Session) -> Answer:
        answer = await self._view.show(events, session.sources)
        assert answer is not None, "every run ends with Finished"
        print_ending(answer, self.out, self.log)
        return answer

    def print_object(self, answer: Answer) -> None:
        print_json(answer.output, self.out.file)

    def print_error(self, error: AgentkitError) -> None:
        """Print an error where the output is more than text."""

    def pause(self) -> None:
        self._view.pause()

    def resume(self) -> None:
        self._view.resume()


class JsonOutput(TextOutput):
    """Prints one object at the end."""

    is_for_people = False

    async def print_run(self, events: AsyncGenerator[Event, None], session: Session) -> Answer:
        answer = await collect_answer(events)
        print_json(answer_record(answer), self.out.file)
        return answer

    def print_object(self, answer: Answer) -> None:
        print_json(answer_record(answer) | {"output": answer.output}, self.out.file)


class JsonLinesOutput(TextOutput):
    """Prints an object for each event."""

    is_for_people = False

    async def print_run(self, events: AsyncGenerator[Event, None], session: Session) -> Answer:
        return await print_events(events, self.out.file)

    def print_object(self, answer: Answer) -> None:
        record = {"event": "finished", **answer_record(answer), "output": answer.output}
        print_record(record, self.out.file)

    def print_error(self, error: AgentkitError) -> None:
        code, kind = exit_code_of(error), type(error).__name__
        record = {"event": "error", "error": kind, "message": str(error), "exit_code": code}
        print_record(record, self.out.file)


def open_output(name: str, out: Console, log: Console) -> TextOutput:
    """The output of that name; "" draws on a terminal and prints text elsewhere."""
    match name:
        case "json":
            return JsonOutput(out, log)
        case "jsonl":
            return JsonLinesOutput(out, log)
        case "plain":
            return TextOutput(plain_console(out.file), plain_console(log.file))
        case _ if out.is_terminal and not out.is_dumb_terminal:
            from agentkit.cli.view import View  # costs 100 ms

            out.soft_wrap = log.soft_wrap = False
            return TextOutput(out, log, View(out))
    return TextOutput(out, log)


class CommandLineApproval:
    """Give `approve` to the project. `output` is paused during a question; `denied` tells whether a
    call was not allowed, `unasked` names the tools that were denied without a question."""

    def __init__(self, patterns: Sequence[str], output: TextOutput) -> None:
        self._patterns = patterns
        self._output = output
        self._one_at_a_time = asyncio.Lock()
        self.denied = False
        self.unasked: list[str] = []

    async def approve(self, tool: Tool, call: ToolCall) -> Verdict:
        """Decide on one call; without a terminal it is denied."""
        if any(fnmatchcase(tool.name, pattern) for pattern in self._patterns):
            return ALLOWED
        allowed = False
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            self.unasked.append(tool.name)
        else:
            async with self._one_at_a_time:
                self._output.pause()
                try:
                    allowed = await self._ask(call)
                finally:
                    self._output.resume()
        self.denied = self.denied or not allowed
        return ALLOWED if allowed else DENIED

    def print_next_step(self) -> None:
        """Print how to allow the tools for which nobody could be asked."""
        if not (names := dict.fromkeys(self.unasked)):
            return
        text = _("Not allowed, since there is no terminal to ask on: {tools}. To allow: {options}")
        options = shlex.join(part for name in names for part in ("--allow", name))
        text = text.format(tools=", ".join(names), options=options)
        self._output.log.print(Text(text, "yellow"))

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
