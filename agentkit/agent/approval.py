"""Who may run what: a policy by tool names, and the user's word where the policy says ask.

Nobody to ask means no. A call is judged with the very arguments it will run with.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool

Decision = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word on one call. `arguments` replace the model's where the user changed them; `reason`
    is told to the model with a no; `later` leaves the call open and pauses the run."""

    allowed: bool
    arguments: Mapping[str, Any] | None = None
    reason: str = ""
    later: bool = False


ALLOWED = Verdict(True)
DENIED = Verdict(False)
LATER = Verdict(False, later=True)

Approve = Callable[[Tool, ToolCall], Awaitable[Verdict]]
"""Asked before a call that needs approval runs, with its exact arguments."""


async def deny(tool: Tool, call: ToolCall) -> Verdict:
    """The default: nobody is there to ask."""
    return DENIED


async def allow(tool: Tool, call: ToolCall) -> Verdict:
    """For programs whose author has decided beforehand."""
    return ALLOWED


async def pause(tool: Tool, call: ToolCall) -> Verdict:
    """Leave every such call open: the run ends with the stop reason "paused", and
    `Agent.resume` takes the decisions, in another process if need be."""
    return LATER


@dataclass(frozen=True, slots=True)
class Policy:
    """Decisions by tool name, in shell patterns: "server__*" is every tool of a server.

    The strictest that matches decides: deny, then ask, then allow; where none does, a tool marked
    `needs_approval` asks and any other runs.
    """

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def decide(self, tool: Tool) -> Decision:
        """What to do with a call of this tool."""
        patterns: tuple[tuple[Decision, tuple[str, ...]], ...] = (
            ("deny", self.deny),
            ("ask", self.ask),
            ("allow", self.allow),
        )
        for decision, names in patterns:
            if any(fnmatchcase(tool.name, name) for name in names):
                return decision
        return "ask" if tool.needs_approval else "allow"
