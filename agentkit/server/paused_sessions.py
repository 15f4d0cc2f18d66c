"""Sessions that wait for a client's tools between two requests of a stateless API."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path

from agentkit.agent.session import Session
from agentkit.messages import Message, content_record

KEPT_SECONDS = 900.0
MOST_KEPT = 256


class PausedSessions:
    """The sessions that wait for results of a client's tools, by identity and history: in a file
    that the workers of a server share, or in memory."""

    def __init__(
        self, path: Path | None = None, seconds: float = KEPT_SECONDS, most: int = MOST_KEPT
    ) -> None:
        self._seconds, self._most = seconds, most
        place = str(path) if path else ":memory:"
        self._db = sqlite3.connect(place, isolation_level=None, check_same_thread=False)
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS paused (id TEXT PRIMARY KEY, kept REAL, session TEXT)"
        )

    def keep(
        self, who: str, history: Sequence[Message], ids: Sequence[str], session: Session
    ) -> None:
        """Keep a session whose run has paused at calls with these ids, after the history that the
        client has."""
        key = _fingerprint(who, history, ids)
        row = (key, time.time(), session.to_json())
        self._db.execute("INSERT OR REPLACE INTO paused VALUES (?, ?, ?)", row)
        self._db.execute(
            "DELETE FROM paused WHERE kept < ? OR id NOT IN"
            " (SELECT id FROM paused ORDER BY kept DESC LIMIT ?)",
            (time.time() - self._seconds, self._most),
        )

    def find(self, who: str, history: Sequence[Message], ids: Sequence[str]) -> Session | None:
        """A copy of the session that waits for these calls after this history."""
        row = self._db.execute(
            "SELECT session FROM paused WHERE id = ? AND kept >= ?",
            (_fingerprint(who, history, ids), time.time() - self._seconds),
        ).fetchone()
        return Session.from_json(row[0]) if row else None


def _fingerprint(who: str, history: Sequence[Message], ids: Sequence[str]) -> str:
    record = [who, sorted(ids)] + [
        [m.role, content_record(m.content), [call.id for call in m.tool_calls], m.tool_call_id]
        for m in history
    ]
    return hashlib.sha256(json.dumps(record).encode()).hexdigest()
