"""A turn whose calls wait for approval, with all that its run needs to go on in any process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from agentkit.agent.approval import Verdict, call_digest
from agentkit.agent.limits import Spent
from agentkit.documents import Chunk
from agentkit.errors import AlreadyDecided, ConfigError
from agentkit.messages import Message, Record, ToolCall, ToolResult, message_record

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PausedRun:
    """What the second part of a run continues: the run's id, the position of its prompt among the
    session's messages, what it has spent, the name of the output that it was asked for, and how
    many answers were rejected."""

    id: str = ""
    begun: int = 0
    spent: Spent = Spent()
    output: str = ""
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class PausedAgent:
    """The conversation of a sub-agent in whose turn calls wait; `chunks` are its passages in the
    order of their markers."""

    messages: tuple[Message, ...]
    view: tuple[Message, ...]
    chunks: tuple[Chunk, ...]
    pending: Pending


Outcome = Message | PausedAgent | None
"""What a call has led to: its result, a sub-agent that waits, or None while the call waits."""


@dataclass(frozen=True, slots=True)
class PausedResult(ToolResult):
    """The result of a tool whose sub-agent waits for approval: its turn waits too."""

    agent: PausedAgent | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """A turn of which some calls wait for approval, and the run that it belongs to."""

    message: Message
    outcomes: tuple[Outcome, ...]
    run: PausedRun = PausedRun()
    digests: tuple[str, ...] = ()
    """Those of the calls when the run paused (`digests_of`); a call without one may not run."""

    @property
    def waiting(self) -> tuple[ToolCall, ...]:
        """The calls that wait. The id of one in a sub-agent begins with that of the sub-agent's
        call and a slash, and its `agents` are the names of the sub-agents' tools."""
        found: list[ToolCall] = []
        for call, outcome in zip(self.message.tool_calls, self.outcomes, strict=True):
            if outcome is None:
                found.append(call)
            elif isinstance(outcome, PausedAgent):
                found += [
                    replace(c, id=f"{call.id}/{c.id}", agents=(call.name, *c.agents))
                    for c in outcome.pending.waiting
                ]
        return tuple(found)

    def check(self, decisions: Mapping[str, Verdict]) -> None:
        """Raise AlreadyDecided for the id of a call that does not wait, and ConfigError where a
        call is allowed whose arguments changed since it paused or was shown to the user."""
        waiting = {call.id: call for call in self.waiting}
        if unknown := [each for each in decisions if each not in waiting]:
            raise AlreadyDecided(
                f"Call {unknown[0]!r} does not wait for a decision: it was decided before, or is "
                f"not of this session. Waiting: {', '.join(waiting)}."
            )
        changed = set(self.changed)
        for call_id, verdict in decisions.items():
            call = waiting[call_id]
            is_other = verdict.digest not in ("", call_digest(call))
            if verdict.allowed and (is_other or call_id in changed):
                raise ConfigError(
                    f"The arguments of call {call_id!r} of {call.name} changed after the user was "
                    "asked. Nothing was run. Deny the call, and ask the agent again."
                )

    @property
    def changed(self) -> tuple[str, ...]:
        """The ids of waiting calls that are not those of which the turn kept the digests."""
        found: list[str] = []
        digests = dict(enumerate(self.digests))
        for at, call in enumerate(self.message.tool_calls):
            outcome = self.outcomes[at]
            if not isinstance(outcome, Message) and digests.get(at) != call_digest(call):
                found.append(call.id)
            if isinstance(outcome, PausedAgent):
                found += [f"{call.id}/{inner}" for inner in outcome.pending.changed]
        return tuple(found)


def digests_of(message: Message) -> tuple[str, ...]:
    """The digest of each call of a turn."""
    return tuple(map(call_digest, message.tool_calls))


def decisions_within(call_id: str, decisions: Mapping[str, T]) -> dict[str, T]:
    """The decisions on calls of the sub-agent that a call asked, by the ids that they have
    there."""
    start = f"{call_id}/"
    return {
        each.removeprefix(start): decision
        for each, decision in decisions.items()
        if each.startswith(start)
    }


def pending_record(pending: Pending) -> Record:
    """A turn that waits, as JSON."""
    return {
        "message": message_record(pending.message),
        "outcomes": [_outcome_record(outcome) for outcome in pending.outcomes],
        "run": asdict(pending.run),
        "digests": list(pending.digests),
    }


def _outcome_record(outcome: Outcome) -> Record | None:
    if outcome is None:
        return None
    if isinstance(outcome, Message):
        return message_record(outcome)
    return {
        "messages": [message_record(message) for message in outcome.messages],
        "view": [message_record(message) for message in outcome.view],
        "chunks": [asdict(chunk) for chunk in outcome.chunks],
        "pending": pending_record(outcome.pending),
    }
