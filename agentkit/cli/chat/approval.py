"""Approve tool calls in a chat: once, for this session, always in this folder, or with other
arguments; and answer the questions of MCP servers. The exact arguments are shown and judged."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from agentkit.agent.approval import ALLOWED, DENIED, Verdict
from agentkit.agent.tool_runner import NOT_ALLOWED
from agentkit.cli.console import format_arguments, is_yes
from agentkit.cli.i18n import _
from agentkit.cli.text import strip_controls
from agentkit.errors import ConfigError, file_error
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from rich.console import Console

    from agentkit.cli.chat.conversation import Chat
    from agentkit.mcp.client_features import ElicitationRequest

    Ask = Callable[[str], Awaitable[str]]

_DECLINE = "/no"


@dataclass
class AllowedTools:
    """The tools that run without approval: in this session, or always in this folder by
    .agentkit/approvals.json.

    The file counts only in the folder where it was written: a copy that came with a download has
    another place on the disk, and allows nothing.
    """

    file: Path
    session: set[str] = field(default_factory=set)

    def has(self, name: str) -> bool:
        return name in self.session or name in self.always()

    def always(self) -> list[str]:
        """The tools that are always allowed in this folder."""
        try:
            stored = json.loads(self.file.read_text(encoding="utf-8"))
            is_own = stored["place"] == self._place()
            return [str(name) for name in stored["allow"]] if is_own else []
        except (OSError, ValueError, KeyError, TypeError):
            return []

    def store(self, names: list[str]) -> None:
        """Always allow just these. Raises ConfigError."""
        try:
            self.file.parent.mkdir(exist_ok=True)
            content = {"place": self._place(), "allow": sorted(set(names))}
            self.file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise ConfigError(file_error(self.file, error, "written")) from error

    def _place(self) -> str:
        found = self.file.parent.stat()
        return f"{found.st_dev}:{found.st_ino}"


class ChatApproval:
    """Asks the user of a chat. Give `approve` and `elicit` to the project, and set `chat`."""

    def __init__(self, allowed: AllowedTools) -> None:
        self.allowed = allowed
        self.chat: Chat | None = None

    async def approve(self, tool: Tool, call: ToolCall) -> Verdict:
        """Decide on one call; Ctrl-C or Ctrl-D at the question stops the run."""
        if self.allowed.has(tool.name):
            return ALLOWED
        if self.chat is None:
            return DENIED
        with _paused(self.chat):
            try:
                return await self._ask(self.chat, tool, call)
            except (EOFError, KeyboardInterrupt):
                self.chat.cancel_run()
                return DENIED

    async def elicit(self, question: ElicitationRequest) -> Mapping[str, Any] | None:
        """The user's answers to an MCP server's question; None where it is declined."""
        if self.chat is None:
            return None
        with _paused(self.chat):
            return await ask_fields(question, self.chat.keyboard.ask, self.chat.out)

    async def _ask(self, chat: Chat, tool: Tool, call: ToolCall) -> Verdict:
        changed: Mapping[str, Any] | None = None
        while True:
            _show(chat, call)
            answer = (await chat.keyboard.ask(_("allow? y/s/a/n/e › "))).strip()
            letter, _space, reason = answer.partition(" ")
            match letter.lower():
                case "y" | "yes":
                    return Verdict(True, changed)
                case "s":
                    self.allowed.session.add(tool.name)
                    return Verdict(True, changed)
                case "a":
                    self._allow_always(chat, tool.name)
                    return Verdict(True, changed)
                case "e":
                    changed = await _edit(chat, call) or changed
                    call = replace(call, arguments=changed or call.arguments)
                case "" | "n" | "no":
                    return await _deny(chat, reason, ask_reason=bool(letter))
                case _:
                    chat.note(_("Type y, s, a, n or e; a reason for the model may follow n."))

    def _allow_always(self, chat: Chat, name: str) -> None:
        try:
            self.allowed.store([*self.allowed.always(), name])
            text = _("{tool} is always allowed here ({file}). /approve undoes it.")
            chat.note(text.format(tool=name, file=self.allowed.file))
        except ConfigError as error:
            self.allowed.session.add(name)
            text = _("{error} {tool} is allowed for this session.")
            chat.error(text.format(error=error, tool=name))


@contextmanager
def _paused(chat: Chat) -> Iterator[None]:
    """Stop drawing the run while the user is asked."""
    view = chat.view
    if view:
        view.pause()
    try:
        yield
    finally:
        if view:
            view.resume()


def _show(chat: Chat, call: ToolCall) -> None:
    title = _("{tool} asks to run with these arguments:").format(tool=call.name)
    chat.log.print(Text(title, "yellow"))
    chat.log.print(Text(format_arguments(call.arguments)))
    choices = _("[y] once  [s] this session  [a] always in this folder  [n] no  [e] edit")
    chat.log.print(Text(choices, "dim"))


async def _deny(chat: Chat, reason: str, *, ask_reason: bool) -> Verdict:
    """A denial, with the reason that the model gets."""
    if not reason and ask_reason:
        reason = await chat.keyboard.ask(_("why not? (Enter: no reason) "))
    return Verdict(False, reason=f"{NOT_ALLOWED} Reason: {reason.strip()}") if reason else DENIED


async def _edit(chat: Chat, call: ToolCall) -> Mapping[str, Any] | None:
    """Other arguments, typed as JSON; None where they are left unchanged."""
    text = format_arguments(call.arguments)
    while True:
        text = (await chat.keyboard.ask(_("arguments: "), text)).strip()
        if not text:
            return None
        try:
            arguments = json.loads(text)
        except ValueError as error:
            message = _("Invalid JSON: {error}. An empty line leaves the arguments unchanged.")
            chat.error(message.format(error=error))
            continue
        if isinstance(arguments, dict):
            return arguments
        chat.error(_("The arguments must be a JSON object, such as {}."))


async def ask_fields(
    question: ElicitationRequest, ask: Ask, out: Console
) -> Mapping[str, Any] | None:
    """Ask a server's question on the terminal, field by field. None where the user declines."""
    from agentkit.text.hidden import visible

    text = _("The MCP server {server!r} asks: {question}")
    out.print(Text(text.format(server=question.server, question=question.message)))
    try:
        if question.url:
            text = _("It asks you to open: {url}").format(url=visible(question.url))
            out.print(Text(text))
            return {} if is_yes(await ask(_("Have you opened it? [y/N] "))) else None
        text = _("Give the answers to share, or {decline}.").format(decline=_DECLINE)
        out.print(Text(text))
        return await _ask_each(question.schema, ask, out)
    except (EOFError, KeyboardInterrupt):
        return None


async def _ask_each(schema: Mapping[str, Any], ask: Ask, out: Console) -> Mapping[str, Any] | None:
    answers: dict[str, Any] = {}
    required = schema.get("required", ())
    for name, spec in schema.get("properties", {}).items():
        while True:
            answer = (await ask(f"{_format_field(name, spec)}: ")).strip()
            if answer == _DECLINE:
                return None
            if not answer and "default" in spec:
                answers[name] = spec["default"]
            elif answer or name in required:
                try:
                    answers[name] = _parse_answer(answer, spec)
                except ValueError as error:
                    out.print(Text(f"  {error}"))
                    continue
            break
    return answers


def _format_field(name: str, field: Mapping[str, Any]) -> str:
    from agentkit.text.hidden import visible

    about = visible(str(field.get("description") or field.get("title") or ""))
    choices = f" [{', '.join(map(str, _choices(field)))}]" if _choices(field) else ""
    default = ""
    if "default" in field:
        default = _(" (default: {default})").format(default=field["default"])
    return strip_controls(f"  {visible(name)}{choices}{default}{' - ' if about else ''}{about}")


def _choices(field: Mapping[str, Any]) -> list[Any]:
    titled = field.get("oneOf") or field.get("anyOf") or ()
    return list(field.get("enum") or [each["const"] for each in titled if "const" in each])


def _parse_answer(answer: str, field: Mapping[str, Any]) -> Any:
    """An answer in the field's type. Raises ValueError with a message for the user."""
    choices = _choices(field)
    if choices and answer not in map(str, choices):
        names = ", ".join(map(str, choices))
        raise ValueError(_("Choose one of: {choices}.").format(choices=names))
    match field.get("type"):
        case "integer" | "number" as kind:
            try:
                return int(answer) if kind == "integer" else float(answer)
            except ValueError:
                raise ValueError(_("Give a number.")) from None
        case "boolean":
            if answer.lower() not in ("y", "yes", "true", "n", "no", "false"):
                raise ValueError(_("Answer yes or no."))
            return answer.lower() in ("y", "yes", "true")
        case "array":
            return json.loads(answer) if answer.startswith("[") else re.split(r"\s*,\s*", answer)
    if not answer:
        raise ValueError(_("This is required. {decline} declines.").format(decline=_DECLINE))
    return answer
