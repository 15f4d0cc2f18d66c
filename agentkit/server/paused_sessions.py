"""Sessions that wait for a client's tools between two requests of a stateless API."""

from __future__ import annotations

import hashlib
import json
import time
from collections import OrderedDict
from collections.abc import Sequence

from agentkit.agent.session import Session
from agentkit.messages import Message, content_record

KEPT_SECONDS = 900.0
MOST_KEPT = 256


class PausedSessions:
    """The sessions that wait for results of a client's tools, by identity and history."""

    def __init__(self, seconds: float = KEPT_SECONDS, most: int = MOST_KEPT) -> None:
        self._seconds, self._most = seconds, most
        self._kept: OrderedDict[str, tuple[float, Session]] = OrderedDict()

    def keep(self, who: str, history: Sequence[Message], session: Session) -> None:
        """Keep a session whose run has paused, after the history that the client has."""
        ids = [call.id for call in session.waiting]
        self._kept[_fingerprint(who, history, ids)] = (time.monotonic(), session)
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def find(self, who: str, history: Sequence[Message], ids: Sequence[str]) -> Session | None:
        """A copy of the session that waits for these calls after this history."""
        oldest = time.monotonic() - self._seconds
        while self._kept and next(iter(self._kept.values()))[0] < oldest:
            self._kept.popitem(last=False)
        _, session = self._kept.get(_fingerprint(who, history, ids), (0.0, None))
        return Session.from_json(session.to_json()) if session else None


def _fingerprint(who: str, history: Sequence[Message], ids: Sequence[str]) -> str:
    record = [who, sorted(ids)] + [
        [m.role, content_record(m.content), [call.id for call in m.tool_calls], m.tool_call_id]
        for m in history
    ]
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()
