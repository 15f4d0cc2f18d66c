"""Changes of a session as JSON objects, checked when they are read.

The record of a whole session and the records that a store appends have one form: messages to
append, passages by marker, a view that replaces the earlier one, a turn that waits for approval,
notes of the application.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from agentkit.agent.pending import PausedAgent, Pending, pending_record
from agentkit.documents import Chunk
from agentkit.errors import ConfigError
from agentkit.messages import Message, Record, message_record

if TYPE_CHECKING:
    from pydantic import TypeAdapter

VERSION = 1
_MAX_FAULT = 300


@dataclass(frozen=True, slots=True)
class Note:
    """What an application keeps with a conversation, such as the verdicts on an answer; no model
    reads it. `after` is the number of messages before it."""

    after: int
    record: Mapping[str, Any]


@dataclass
class Changes:
    """What was changed in a session: the number of messages that stay where the later ones were
    dropped, messages that were added, passages by marker, a compacted view, a turn that waits for
    approval, and notes."""

    messages: Sequence[Message] = ()
    sources: Mapping[str, Chunk] = field(default_factory=dict)
    view: Sequence[Message] | None = None
    pending: Pending | None = None
    notes: Sequence[Note] = ()
    kept: int | None = None


def changes_record(changes: Changes) -> Record:
    """The changes as a JSON object; empty fields are omitted."""
    record: Record = {}
    if changes.messages:
        record["messages"] = [message_record(message) for message in changes.messages]
    if changes.sources:
        record["sources"] = {marker: asdict(chunk) for marker, chunk in changes.sources.items()}
    if changes.view is not None:
        record["view"] = [message_record(message) for message in changes.view]
    if changes.pending is not None:
        record["pending"] = pending_record(changes.pending)
    if changes.notes:
        record["notes"] = [asdict(note) for note in changes.notes]
    if changes.kept is not None:
        record["kept"] = changes.kept
    return record


def read_json(text: str | bytes) -> Record:
    """A JSON text as a record. Raises ConfigError for one that is invalid, or of a newer
    version."""
    try:
        record = json.loads(text)
        if not isinstance(record, dict):
            raise TypeError("an object is expected")
    except (ValueError, TypeError, RecursionError) as error:
        raise invalid_session(str(error)) from None
    version = record.get("version", VERSION)
    if version != VERSION:
        raise ConfigError(
            f"This session has format {version!r:.20}, this agentkit reads {VERSION}. Update "
            "agentkit, or start a new session."
        )
    return record


def read_changes(record: Record) -> Changes:
    """The changes of a record. Raises ConfigError for an invalid one."""
    from pydantic import ValidationError

    try:
        changes = _adapter().validate_python(record)
        changes.sources = dict(sorted(changes.sources.items(), key=lambda item: int(item[0])))
        if changes.pending:
            _check_pending(changes.pending)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise invalid_session(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise invalid_session(str(error)) from None
    return changes


def _check_pending(pending: Pending) -> None:
    """Check what the types of the fields do not say. Raises ValueError."""
    if len(pending.outcomes) != len(pending.message.tool_calls):
        raise ValueError("a paused turn has another number of calls than of outcomes")
    for outcome in pending.outcomes:
        if isinstance(outcome, PausedAgent):
            check_prompt(outcome.pending, outcome.messages)
            _check_pending(outcome.pending)


def check_prompt(pending: Pending, messages: Sequence[Message]) -> None:
    """Raise ConfigError unless the messages hold the prompt of a paused run."""
    if not 0 <= pending.run.begun < len(messages):
        raise invalid_session("a paused turn has no prompt")


def invalid_session(fault: str) -> ConfigError:
    """The error for a record that cannot be used."""
    return ConfigError(
        f"This is not a session that agentkit wrote ({fault[:_MAX_FAULT]}). Give what "
        "Session.to_json returned, or start a new session."
    )


@cache
def _adapter() -> TypeAdapter[Changes]:
    """The reader of changes, made at its first use."""
    from pydantic import TypeAdapter

    return TypeAdapter(Changes)
