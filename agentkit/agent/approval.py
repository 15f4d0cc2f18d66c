"""Approval of tool calls: a policy by tool name, and a decision by the user where it says "ask".

Without a way to ask, a call is denied. A decision is made on the arguments that the call runs with:
a paused call keeps the digest of its arguments, and does not run if they are others later.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from agentkit.messages import ToolCall, ToolResult
from agentkit.tools.tool import Tool

Decision = Literal["allow", "ask", "deny"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision on one call. `arguments` replace the model's where the user edited them;
    `reason` tells the model why a call was denied; `later` leaves the call open and pauses the
    run. `digest` binds the decision to a call as it was shown to the user. `result` is that of a
    call which the application has made itself, as of an external tool: the tool does not run."""

    allowed: bool
    arguments: Mapping[str, Any] | None = None
    reason: str = ""
    later: bool = False
    result: ToolResult | str | None = None
    digest: str = ""

    def for_call(self, call: ToolCall) -> Verdict:
        """The decision for this call only: it does not hold if its arguments are others by then."""
        return replace(self, digest=call_digest(call))


ALLOWED = Verdict(True)
"""Run the call as it is."""

DENIED = Verdict(False)
"""Do not run the call; the model gets an error."""

LATER = Verdict(False, later=True)


def call_digest(call: ToolCall) -> str:
    """SHA-256 of a call's tool and arguments, the same after a way through JSON."""
    record = [call.name, call.arguments]
    text = json.dumps(record, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)


Approve = Callable[[Tool, ToolCall], Awaitable[Verdict] | Verdict]
"""Decides on a call that needs approval, before it runs, with its exact arguments."""


async def deny(tool: Tool, call: ToolCall) -> Verdict:
    """Deny every call that needs approval: the default."""
    return DENIED


async def allow(tool: Tool, call: ToolCall) -> Verdict:
    """Allow every call that needs approval."""
    return ALLOWED


async def pause(tool: Tool, call: ToolCall) -> Verdict:
    """Leave every call that needs approval open: the run ends with the stop reason "paused", and
    `Agent.resume` takes the decisions, in another process if necessary."""
    return LATER


@dataclass(frozen=True, slots=True)
class Policy:
    """Decisions by tool name, as globs: "server__*" is every tool of a server.

    The strictest match decides: deny, then ask, then allow. Without a match, a tool with
    `needs_approval` asks and any other runs.
    """

    allow: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()

    def decide(self, tool: Tool) -> Decision:
        """The decision for calls of this tool."""
        patterns: tuple[tuple[Decision, tuple[str, ...]], ...] = (
            ("deny", self.deny),
            ("ask", self.ask),
            ("allow", self.allow),
        )
        for decision, names in patterns:
            if any(fnmatchcase(tool.name, name) for name in names):
                return decision
        return "ask" if tool.needs_approval else "allow"
