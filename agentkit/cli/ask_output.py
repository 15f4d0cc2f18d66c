"""The ways `agentkit ask` prints an answer: for people as it comes, or for programs."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Protocol

from rich.console import Console

from agentkit.agent.session import Session
from agentkit.answers import Answer
from agentkit.cli.errors import code_of
from agentkit.cli.jsonl import print_events, print_record
from agentkit.cli.output import answer_as_json, as_json
from agentkit.cli.render import finished, show, show_ending
from agentkit.errors import AgentkitError
from agentkit.events import Event


class Output(Protocol):
    """Prints one answer. `pause` and `go_on` stand around a question to the user."""

    is_for_people: bool
    log: Console

    async def shown(self, events: AsyncGenerator[Event, None], session: Session) -> Answer:
        """Print a run, and return its answer."""
        ...

    def filled(self, answer: Answer) -> None:
        """Print an answer that is an object."""
        ...

    def failed(self, error: AgentkitError) -> None: ...

    def pause(self) -> None: ...

    def go_on(self) -> None: ...


class Plain:
    """Text as it comes, what tools do beside it."""

    is_for_people = True

    def __init__(self, out: Console, log: Console) -> None:
        self.out, self.log = out, log

    async def shown(self, events: AsyncGenerator[Event, None], session: Session) -> Answer:
        return await show(events, self.out, self.log)

    def filled(self, answer: Answer) -> None:
        self.out.file.write(json.dumps(answer.output, ensure_ascii=False, indent=2) + "\n")

    def failed(self, error: AgentkitError) -> None:
        return None

    def pause(self) -> None:
        return None

    def go_on(self) -> None:
        return None


class Drawn(Plain):
    """Markdown as it grows, as in a chat."""

    def __init__(self, out: Console, log: Console) -> None:
        from agentkit.cli.chat.view import View

        super().__init__(out, log)
        out.soft_wrap = log.soft_wrap = False
        self._view = View(out)

    async def shown(self, events: AsyncGenerator[Event, None], session: Session) -> Answer:
        from agentkit.cli.chat.prose import Known

        sources = session.sources
        known = Known(lambda number: sources.find(number) is not None, sources.texts)
        answer = await self._view.show(events, known)
        assert answer is not None, "every run ends with Finished"
        show_ending(answer, self.out, self.log)
        return answer

    def pause(self) -> None:
        self._view.pause()

    def go_on(self) -> None:
        self._view.go_on()


class Json(Plain):
    """One object, when all is said."""

    is_for_people = False

    async def shown(self, events: AsyncGenerator[Event, None], session: Session) -> Answer:
        answer = await finished(events)
        self.out.file.write(as_json(answer_as_json(answer)) + "\n")
        return answer

    def filled(self, answer: Answer) -> None:
        record = answer_as_json(answer) | {"output": answer.output}
        self.out.file.write(as_json(record) + "\n")


class JsonLines(Plain):
    """An object for each event."""

    is_for_people = False

    async def shown(self, events: AsyncGenerator[Event, None], session: Session) -> Answer:
        return await print_events(events, self.out.file)

    def filled(self, answer: Answer) -> None:
        record = {"event": "finished", **answer_as_json(answer), "output": answer.output}
        print_record(record, self.out.file)

    def failed(self, error: AgentkitError) -> None:
        said = {"error": type(error).__name__, "message": str(error), "exit_code": code_of(error)}
        print_record({"event": "error", **said}, self.out.file)


def output_of(name: str, out: Console, log: Console) -> Output:
    """The output of that name; "" draws on a terminal, and prints plainly elsewhere."""
    match name:
        case "json":
            return Json(out, log)
        case "jsonl":
            return JsonLines(out, log)
        case "plain":
            return Plain(_uncoloured(out), _uncoloured(log))
        case _ if out.is_terminal and not out.is_dumb_terminal:
            return Drawn(out, log)
    return Plain(out, log)


def _uncoloured(console: Console) -> Console:
    return Console(
        file=console.file,
        color_system=None,
        force_terminal=False,
        highlight=False,
        soft_wrap=True,
        emoji=False,
    )
