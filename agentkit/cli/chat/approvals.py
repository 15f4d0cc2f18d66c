"""The user's word on a call: once, for this session, always in this folder, no, or with other
arguments. The exact arguments are shown, and judged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rich.text import Text

from agentkit.agent.approval import ALLOWED, DENIED, Verdict
from agentkit.agent.tool_runner import NOT_ALLOWED
from agentkit.cli.chat.allowed import Allowed
from agentkit.cli.chat.conversation import Chat
from agentkit.cli.language import translated
from agentkit.cli.mcp_chat import asking
from agentkit.errors import ConfigError
from agentkit.mcp.client_features import ElicitationRequest
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool

_CHOICES = "[y] once  [s] this session  [a] always in this folder  [n] no  [e] edit"
_ASKED = "allow? y/s/a/n/e › "


class Approvals:
    """Asks the user of a chat. Give `approve` to the project, and the chat once there is one."""

    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed
        self.chat: Chat | None = None

    async def approve(self, tool: Tool, call: ToolCall) -> Verdict:
        """The word on one call; leaving the question stops the run."""
        if self.allowed.holds(tool.name):
            return ALLOWED
        if self.chat is None:
            return DENIED
        view = self.chat.view
        if view:
            view.pause()
        try:
            return await self._asked(self.chat, tool, call)
        except (EOFError, KeyboardInterrupt):
            self.chat.stop()
            return DENIED
        finally:
            if view:
                view.go_on()

    async def elicit(self, question: ElicitationRequest) -> Mapping[str, Any] | None:
        """The user's answers to an MCP server's question; None where there is nobody to ask."""
        if self.chat is None:
            return None
        view = self.chat.view
        if view:
            view.pause()
        try:
            return await asking(self.chat.keyboard.ask, self.chat.out)(question)
        finally:
            if view:
                view.go_on()

    async def _asked(self, chat: Chat, tool: Tool, call: ToolCall) -> Verdict:
        changed: Mapping[str, Any] | None = None
        while True:
            _show(chat, call)
            said = (await chat.keyboard.ask(translated(_ASKED))).strip()
            letter, _, rest = said.partition(" ")
            match letter.lower():
                case "y" | "yes":
                    return Verdict(True, changed)
                case "s":
                    self.allowed.session.add(tool.name)
                    return Verdict(True, changed)
                case "a":
                    self._always(chat, tool.name)
                    return Verdict(True, changed)
                case "e":
                    changed = await _edited(chat, call) or changed
                    call = replace(call, arguments=changed or call.arguments)
                case "" | "n" | "no":
                    return await _denied(chat, rest, is_given=bool(letter))
                case _:
                    chat.say("Say y, s, a, n or e; a reason for the model may follow n.")

    def _always(self, chat: Chat, name: str) -> None:
        try:
            self.allowed.keep([*self.allowed.always(), name])
            chat.say(f"{name} is always allowed here ({self.allowed.file}). /approve undoes it.")
        except ConfigError as error:
            self.allowed.session.add(name)
            chat.warn(f"{error} {name} is allowed for this session.")


def _show(chat: Chat, call: ToolCall) -> None:
    told = translated(f"{call.name} asks to run with these arguments:")
    chat.log.print(Text(told, "yellow"))
    chat.log.print(Text(exact(call.arguments)))
    chat.log.print(Text(translated(_CHOICES), "dim"))


async def _denied(chat: Chat, reason: str, *, is_given: bool) -> Verdict:
    """A no, with the reason that the model is told."""
    if not reason and is_given:
        reason = await chat.keyboard.ask(translated("why not? (Enter: no reason) "))
    return Verdict(False, reason=f"{NOT_ALLOWED} They said: {reason.strip()}") if reason else DENIED


async def _edited(chat: Chat, call: ToolCall) -> Mapping[str, Any] | None:
    """Other arguments, as JSON; None where the user left them as they are."""
    text = exact(call.arguments)
    while True:
        text = (await chat.keyboard.ask(translated("arguments: "), text)).strip()
        if not text:
            return None
        try:
            read = json.loads(text)
        except ValueError as error:
            chat.warn(f"That is no JSON: {error}. Empty leaves the arguments as they are.")
            continue
        if isinstance(read, dict):
            return read
        chat.warn("Arguments are a JSON object, such as {}.")


def exact(arguments: Mapping[str, Any] | str) -> str:
    """Arguments as they are; what a terminal would hide or obey is written as an escape."""
    text = (
        arguments
        if isinstance(arguments, str)
        else json.dumps(dict(arguments), ensure_ascii=False, indent=2, default=str)
    )
    return "".join(
        c if c.isprintable() or c == "\n" else f"\\u{ord(c):04x}" if ord(c) < 0x10000 else "\ufffd"
        for c in text
    )
