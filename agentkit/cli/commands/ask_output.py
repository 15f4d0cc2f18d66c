"""Print an answer of `agentkit ask`: for people as it streams, or for programs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from rich.console import Console

from agentkit.agent.session import Session
from agentkit.answers import Answer
from agentkit.cli.console import plain_console
from agentkit.cli.errors import exit_code_of
from agentkit.cli.json_output import answer_record, print_events, print_record
from agentkit.cli.render import LinearView, collect_answer, print_ending
from agentkit.errors import AgentkitError
from agentkit.events import Event

if TYPE_CHECKING:
    from agentkit.cli.chat.view import View


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
        self._write_json(answer.output)

    def print_error(self, error: AgentkitError) -> None:
        """Print an error where the output is more than text."""

    def pause(self) -> None:
        self._view.pause()

    def resume(self) -> None:
        self._view.resume()

    def _write_json(self, value: object) -> None:
        self.out.file.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


class JsonOutput(TextOutput):
    """Prints one object at the end."""

    is_for_people = False

    async def print_run(self, events: AsyncGenerator[Event, None], session: Session) -> Answer:
        answer = await collect_answer(events)
        self._write_json(answer_record(answer))
        return answer

    def print_object(self, answer: Answer) -> None:
        self._write_json(answer_record(answer) | {"output": answer.output})


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
            from agentkit.cli.chat.view import View  # costs 100 ms

            out.soft_wrap = log.soft_wrap = False
            return TextOutput(out, log, View(out))
    return TextOutput(out, log)
