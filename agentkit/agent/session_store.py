"""Conversations in one SQLite file: stored message by message, resumed, forked, searched, exported.

Every step of a run is written as it happens, pieces of text included, so that a crash loses nothing
that was shown. Writes take some tens of microseconds, on the caller's thread. A session can be open
in one process at a time.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from agentkit.agent.pending import Pending, pending_record, read_pending
from agentkit.agent.session import Session
from agentkit.errors import ConfigError
from agentkit.knowledge.citations.passages import Sources
from agentkit.messages import (
    Message,
    ToolCall,
    message_record,
    read_chunk,
    read_message,
)
from agentkit.text.terms import terms

VERSION = 1
_SCHEMA = """
CREATE TABLE sessions (
  id TEXT PRIMARY KEY, name TEXT NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL,
  parent TEXT NOT NULL);
CREATE TABLE messages (
  session TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (session, number));
CREATE TABLE views (
  session TEXT NOT NULL, covers INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (session, covers));
CREATE TABLE sources (
  session TEXT NOT NULL, marker INTEGER NOT NULL, body TEXT NOT NULL,
  PRIMARY KEY (session, marker));
CREATE TABLE drafts (session TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX drafts_of_session ON drafts (session);
CREATE TABLE pending (session TEXT PRIMARY KEY, body TEXT NOT NULL);
CREATE VIRTUAL TABLE full_text USING fts5 (
  terms, session UNINDEXED, number UNINDEXED, tokenize = "unicode61 tokenchars '.'")
"""


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file, creating it if it is missing. Raises ConfigError for one that has another
    format, is damaged or cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        _create_tables(db, path)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"The sessions in {path} cannot be used: {error}. Move the file away to start over."
        ) from error
    return db


def _index_message(db: sqlite3.Connection, session: str, number: int, message: Message) -> None:
    """Index a message for search, except tool results."""
    if message.role in ("user", "assistant") and message.text:
        found = " ".join(terms(message.text))
        db.execute("INSERT INTO full_text VALUES (?, ?, ?)", (found, session, number))


def _create_tables(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN IMMEDIATE")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        db.execute("ROLLBACK")
        raise ConfigError(
            f"{path} has format {version}, this agentkit reads {VERSION}. Update agentkit, or move "
            "the file away to start over."
        )
    if version == 0:
        for statement in _SCHEMA.split(";\n"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


LAST = "last"
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session without its messages. `name` is the user's, else its beginning."""

    id: str
    name: str
    created: str
    updated: str
    messages: int
    parent: str = ""


class SessionStore:
    """The sessions of one folder. Raises ConfigError if the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._db = _connect(path)

    def create(self, name: str = "") -> StoredSession:
        """Create a session and open it."""
        session_id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        now = _now()
        self._db.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, ?, '')", (session_id, _one_line(name), now, now)
        )
        return StoredSession(self._db, session_id, self._lock(session_id))

    def open(self, which: str = LAST) -> StoredSession:
        """Open a session by id, by name, by the beginning of either, or the last one used. Raises
        ConfigError where none or several match, or another process has it open."""
        info = self.find(which)
        return StoredSession(self._db, info.id, self._lock(info.id))

    def read(self, which: str = LAST) -> Session:
        """Read a session without opening it: another process may have it open."""
        return StoredSession(self._db, self.find(which).id, None)

    def find(self, which: str = LAST) -> SessionInfo:
        """Find a session. Raises ConfigError like `open`."""
        known = self.recent()
        if not known:
            raise ConfigError("There are no sessions yet. Start one: agentkit chat.")
        if which == LAST:
            return known[0]
        exact = [s for s in known if which in (s.id, s.name)]
        found = exact or [s for s in known if s.id.startswith(which) or s.name.startswith(which)]
        if len(found) == 1:
            return found[0]
        matches = "No session is" if not found else f"{len(found)} sessions are"
        raise ConfigError(f"{matches} called {which!r}. See them: agentkit sessions list.")

    def recent(self, limit: int = 1000) -> list[SessionInfo]:
        """The sessions, the most recently used first."""
        rows = self._db.execute(
            "SELECT id, name, created, updated, (SELECT count(*) FROM messages WHERE session = id),"
            " parent, (SELECT body FROM messages WHERE session = id ORDER BY number LIMIT 1)"
            " FROM sessions ORDER BY updated DESC, id DESC LIMIT ?",
            (limit,),
        )
        return [
            SessionInfo(row[0], row[1] or _beginning(row[6]), *row[2:6]) for row in rows.fetchall()
        ]

    def rename(self, which: str, name: str) -> None:
        """Rename a session."""
        session_id = self.find(which).id
        self._db.execute("UPDATE sessions SET name = ? WHERE id = ?", (_one_line(name), session_id))

    def delete(self, which: str) -> None:
        """Delete a session. Raises ConfigError if another process has it open."""
        info = self.find(which)
        with self._lock(info.id), _transaction(self._db) as db:
            for table in ("messages", "views", "sources", "drafts", "pending"):
                db.execute(f"DELETE FROM {table} WHERE session = ?", (info.id,))
            db.execute("DELETE FROM full_text WHERE session = ?", (info.id,))
            db.execute("DELETE FROM sessions WHERE id = ?", (info.id,))
        self._lock_path(info.id).unlink(missing_ok=True)

    def fork(self, which: str, name: str = "", messages: int | None = None) -> StoredSession:
        """Create a session with the first messages of another one, which may be open elsewhere."""
        source = self.find(which)
        new = self.create(name or f"{source.name} (fork)")
        most = source.messages if messages is None else messages
        with _transaction(self._db) as db:
            db.execute("UPDATE sessions SET parent = ? WHERE id = ?", (source.id, new.id))
            db.execute(
                "INSERT INTO messages SELECT ?, number, body, at FROM messages"
                " WHERE session = ? AND number < ?",
                (new.id, source.id, most),
            )
            db.execute(
                "INSERT INTO views SELECT ?, covers, body FROM views"
                " WHERE session = ? AND covers <= ?",
                (new.id, source.id, most),
            )
            db.execute(
                "INSERT INTO sources SELECT ?, marker, body FROM sources WHERE session = ?",
                (new.id, source.id),
            )
            db.execute(
                "INSERT INTO full_text SELECT terms, ?, number FROM full_text"
                " WHERE session = ? AND number < ?",
                (new.id, source.id, most),
            )
        new.reload()
        return new

    def search(self, query: str, limit: int = 20) -> list[tuple[SessionInfo, str]]:
        """Sessions with a message that contains all words, and that message; the best first."""
        wanted = [f'"{term}"' for term in dict.fromkeys(terms(query))]
        if not wanted:
            return []
        rows = self._db.execute(
            "SELECT session, number FROM full_text WHERE terms MATCH ? ORDER BY rank LIMIT ?",
            (" AND ".join(wanted), 10 * limit),
        ).fetchall()
        known = {info.id: info for info in self.recent()}
        found: dict[str, tuple[SessionInfo, str]] = {}
        for session_id, number in rows:
            if session_id in known and session_id not in found:
                found[session_id] = (known[session_id], self._text(session_id, number))
        return list(found.values())[:limit]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _text(self, session_id: str, number: int) -> str:
        row = self._db.execute(
            "SELECT body FROM messages WHERE session = ? AND number = ?", (session_id, number)
        ).fetchone()
        return read_message(json.loads(row[0])).text if row else ""

    def _lock_path(self, session_id: str) -> Path:
        return self.path.with_name(f"{self.path.stem}-locks") / f"{session_id}.lock"

    def _lock(self, session_id: str) -> FileLock:
        path = self._lock_path(session_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout as error:
            raise ConfigError(
                f"The session {session_id} is open in another process. Close it there, or go on "
                f"from a copy: agentkit sessions fork {session_id}."
            ) from error
        return lock


class StoredSession(Session):
    """A session that is stored as it continues. Close it so that others can open it."""

    def __init__(self, db: sqlite3.Connection, session_id: str, lock: FileLock | None) -> None:
        super().__init__(session_id)
        self._db = db
        self._lock = lock
        self._sources_kept = 0
        self.reload()

    def reload(self) -> None:
        """Read the session from the file. The text of an answer that a crash interrupted becomes
        its last message."""
        rows = self._db.execute(
            "SELECT body FROM messages WHERE session = ? ORDER BY number", (self.id,)
        )
        self.messages = [read_message(json.loads(row[0])) for row in rows.fetchall()]
        view = self._db.execute(
            "SELECT covers, body FROM views WHERE session = ? ORDER BY covers DESC LIMIT 1",
            (self.id,),
        ).fetchone()
        covers, head = (view[0], json.loads(view[1])) if view else (0, [])
        self.view = [*map(read_message, head), *self.messages[covers:]]
        for (body,) in self._db.execute(
            "SELECT body FROM sources WHERE session = ? ORDER BY marker", (self.id,)
        ).fetchall():
            self.sources.mark(read_chunk(json.loads(body)))
        self._sources_kept = len(self.sources)
        self.pending = self._read_pending()
        self._take_drafts()

    def add(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        first = len(self.messages)
        super().add(messages)
        now = _now()
        with _transaction(self._db) as db:
            for number, message in enumerate(messages, first):
                body = json.dumps(message_record(message), ensure_ascii=False, default=str)
                db.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", (self.id, number, body, now))
                _index_message(db, self.id, number, message)
            self._store_sources(db)
            for table in ("drafts", "pending"):
                db.execute(f"DELETE FROM {table} WHERE session = ?", (self.id,))
            db.execute("UPDATE sessions SET updated = ? WHERE id = ?", (now, self.id))
        self._sources_kept = len(self.sources)

    def compact(self, view: Sequence[Message]) -> None:
        super().compact(view)
        body = json.dumps([message_record(m) for m in view], ensure_ascii=False, default=str)
        self._db.execute(
            "INSERT OR REPLACE INTO views VALUES (?, ?, ?)", (self.id, len(self.messages), body)
        )

    def wait(self, pending: Pending | None) -> None:
        super().wait(pending)
        with _transaction(self._db) as db:
            db.execute("DELETE FROM pending WHERE session = ?", (self.id,))
            if pending:
                db.execute("DELETE FROM drafts WHERE session = ?", (self.id,))
                self._store_sources(db)
                record = pending_record(pending)
                body = json.dumps(record, ensure_ascii=False, default=str)
                db.execute("INSERT INTO pending VALUES (?, ?)", (self.id, body))
        self._sources_kept = len(self.sources)

    def draft(self, text: str) -> None:
        self._db.execute("INSERT INTO drafts VALUES (?, ?)", (self.id, text))

    def close(self) -> None:
        """Release the session. An empty one is deleted."""
        if self._lock is None:
            return
        if not self.messages:
            self._db.execute("DELETE FROM sessions WHERE id = ?", (self.id,))
        self._lock.release()
        if not self.messages and os.path.exists(self._lock.lock_file):
            os.unlink(self._lock.lock_file)

    def _store_sources(self, db: sqlite3.Connection) -> None:
        """Store the passages that are not stored yet."""
        for marker in range(self._sources_kept + 1, len(self.sources) + 1):
            if chunk := self.sources.find(str(marker)):
                body = json.dumps(asdict(chunk), ensure_ascii=False)
                db.execute("INSERT INTO sources VALUES (?, ?, ?)", (self.id, marker, body))

    def _read_pending(self) -> Pending | None:
        row = self._db.execute("SELECT body FROM pending WHERE session = ?", (self.id,)).fetchone()
        if row is None:
            return None
        return read_pending(json.loads(row[0]))

    def _take_drafts(self) -> None:
        rows = self._db.execute(
            "SELECT text FROM drafts WHERE session = ? ORDER BY rowid", (self.id,)
        ).fetchall()
        if rows and self._lock:
            self.add([Message("assistant", "".join(row[0] for row in rows))])


class _transaction:  # noqa: N801
    """A transaction."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("ROLLBACK" if kind else "COMMIT")


def _one_line(name: str) -> str:
    return " ".join(name.split())[:_LONGEST_NAME]


def _beginning(body: str | None) -> str:
    """The beginning of a session, as its name if it has none."""
    return _one_line(read_message(json.loads(body)).text) if body else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


_MAX_CHARACTERS = 2000
_TITLES = {"user": "User", "assistant": "Assistant"}


def as_markdown(session: Session, title: str) -> str:
    """The conversation with its tool calls folded, then the cited passages by number."""
    parts = [f"# {title}", *(_as_text(message) for message in session.messages)]
    if len(session.sources):
        parts += ["## Sources", "\n".join(_source_lines(session.sources))]
    return "\n\n".join(part for part in parts if part) + "\n"


def as_json(session: Session, title: str) -> str:
    """All messages and passages of the conversation."""
    sources = {
        str(number): asdict(chunk)
        for number in range(1, len(session.sources) + 1)
        if (chunk := session.sources.find(str(number)))
    }
    record = {
        "id": session.id,
        "name": title,
        "messages": [message_record(message) for message in session.messages],
        "sources": sources,
    }
    return json.dumps(record, ensure_ascii=False, indent=2, default=str) + "\n"


def _as_text(message: Message) -> str:
    if message.role == "tool":
        return _details("result", message.prompt_text)
    calls = [_details(f"calls {call.name}", _arguments(call)) for call in message.tool_calls]
    title = _TITLES.get(message.role)
    parts = [f"## {title}", message.text] if title and message.text else []
    return "\n\n".join([*parts, *calls])


def _details(title: str, text: str) -> str:
    shortened = text if len(text) <= _MAX_CHARACTERS else f"{text[:_MAX_CHARACTERS]} …"
    fence = "````" if "```" in shortened else "```"
    return f"<details><summary>{title}</summary>\n\n{fence}\n{shortened}\n{fence}\n\n</details>"


def _arguments(call: ToolCall) -> str:
    if isinstance(call.arguments, str):
        return call.arguments
    return json.dumps(dict(call.arguments), ensure_ascii=False, indent=2, default=str)


def _source_lines(sources: Sources) -> Iterable[str]:
    for number in range(1, len(sources) + 1):
        if chunk := sources.find(str(number)):
            yield f"- [{number}] {chunk.place} (characters {chunk.start}-{chunk.end})"
