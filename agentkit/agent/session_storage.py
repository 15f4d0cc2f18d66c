"""Where sessions are kept: a small protocol over text, and its implementation by a SQLite file."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import quote

from filelock import FileLock, Timeout

from agentkit._sqlite import DISK_FULL, open_immutable, write_fault
from agentkit.errors import (
    AgentkitError,
    ConfigError,
    StorageFull,
    StorageUnavailable,
    file_error,
)
from agentkit.messages import read_content, text_of
from agentkit.text.terms import terms


@dataclass(frozen=True, slots=True)
class StoredRecords:
    """What a storage holds of a session: its fields, its records in the order of writing, and the
    text of an answer that was being written."""

    fields: Mapping[str, str]
    records: Sequence[str] = ()
    draft: str = ""


class SessionStorage(Protocol):
    """Keeps sessions as text, such as in Redis or PostgreSQL. The methods block, and are called by
    any thread; what they raise ends the run. `agentkit.testing.check_session_storage` tests one.

    A session has fields, short texts by name ("name", "updated", ...), and records, JSON texts that
    are only appended.
    """

    def write(self, session_id: str, fields: Mapping[str, str], records: Sequence[str]) -> None:
        """Set these fields, keep the others, and append the records, all or nothing. Creates the
        session where it is unknown. Records end the draft."""
        ...

    def draft(self, session_id: str, text: str) -> None:
        """Append to the draft, a piece of an answer at a time. A storage may leave it out: a
        crash then loses the answer that was being written, and nothing else."""
        ...

    def read(self, session_id: str) -> StoredRecords | None:
        """What is stored of a session, None for an unknown one."""
        ...

    def recent(self, limit: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        """Ids and fields of the sessions with the greatest field "updated", the greatest first."""
        ...

    def delete(self, session_id: str) -> None:
        """Delete a session, if there is one."""
        ...

    def acquire(self, session_id: str, holder: str, seconds: float) -> bool:
        """Reserve a session for a holder, for at least so many seconds from now. Returns whether
        the holder has it: not where another one reserved it and neither released it nor let the
        time pass. May end a reservation early where its process has died."""
        ...

    def release(self, session_id: str, holder: str) -> None:
        """End a holder's reservation, if it has one."""
        ...


@runtime_checkable
class SearchableStorage(Protocol):
    """A storage with an index of the messages' text."""

    def search(self, words: Sequence[str], limit: int) -> Sequence[tuple[str, str]]:
        """Ids and texts of messages that contain all words, the best first."""
        ...


VERSION = 2
_UNWRITABLE = (
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
)
_SCHEMA = """
CREATE TABLE sessions (id TEXT PRIMARY KEY, fields TEXT NOT NULL);
CREATE TABLE records (
  number INTEGER PRIMARY KEY, session TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX records_of_session ON records (session, number);
CREATE TABLE drafts (session TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX drafts_of_session ON drafts (session);
CREATE VIRTUAL TABLE full_text USING fts5 (
  terms, session UNINDEXED, text UNINDEXED, tokenize = "unicode61 tokenchars '.'")
"""


class SqliteStorage:
    """Sessions in one SQLite file, with a lock file for each open session beside it. Writes take
    some tens of microseconds. Raises ConfigError if the file cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._locks: dict[str, tuple[str, FileLock]] = {}
        self._db = _connect(path)

    def close(self) -> None:
        with self._lock:
            for session_id, (holder, _) in list(self._locks.items()):
                self.release(session_id, holder)
            self._db.close()

    def write(self, session_id: str, fields: Mapping[str, str], records: Sequence[str]) -> None:
        texts = [(" ".join(terms(t)), session_id, t) for r in records for t in record_texts(r)]
        with self._transaction() as db:
            db.execute(
                "INSERT INTO sessions VALUES (?, ?)"
                " ON CONFLICT (id) DO UPDATE SET fields = json_patch(fields, excluded.fields)",
                (session_id, json.dumps(dict(fields), ensure_ascii=False)),
            )
            bodies = [(session_id, record) for record in records]
            db.executemany("INSERT INTO records (session, body) VALUES (?, ?)", bodies)
            db.executemany("INSERT INTO full_text VALUES (?, ?, ?)", texts)
            if records:
                db.execute("DELETE FROM drafts WHERE session = ?", (session_id,))

    def draft(self, session_id: str, text: str) -> None:
        with self._using() as db:
            db.execute("INSERT INTO drafts VALUES (?, ?)", (session_id, text))

    def read(self, session_id: str) -> StoredRecords | None:
        with self._transaction("DEFERRED") as db:
            row = db.execute("SELECT fields FROM sessions WHERE id = ?", (session_id,)).fetchone()
            if row is None:
                return None
            records = db.execute(
                "SELECT body FROM records WHERE session = ? ORDER BY number", (session_id,)
            ).fetchall()
            drafts = db.execute(
                "SELECT text FROM drafts WHERE session = ? ORDER BY rowid", (session_id,)
            ).fetchall()
            draft = "".join(piece for (piece,) in drafts)
            return StoredRecords(_read_fields(row[0]), [body for (body,) in records], draft)

    def recent(self, limit: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        with self._using() as db:
            rows = db.execute(
                "SELECT id, fields FROM sessions"
                " ORDER BY json_extract(fields, '$.updated') DESC, id DESC LIMIT ?",
                (limit,),
            ).fetchall()
            return [(id_, _read_fields(fields)) for id_, fields in rows]

    def delete(self, session_id: str) -> None:
        with self._transaction() as db:
            for table in ("records", "drafts", "full_text"):
                db.execute(f"DELETE FROM {table} WHERE session = ?", (session_id,))
            db.execute("DELETE FROM sessions WHERE id = ?", (session_id,))
        with suppress(OSError):
            self._lock_path(session_id).unlink()

    def search(self, words: Sequence[str], limit: int) -> Sequence[tuple[str, str]]:
        query = " AND ".join(f'"{word}"' for word in words)
        with self._using() as db:
            return db.execute(
                "SELECT session, text FROM full_text WHERE terms MATCH ? ORDER BY rank LIMIT ?",
                (query, limit),
            ).fetchall()

    def acquire(self, session_id: str, holder: str, seconds: float) -> bool:
        with self._lock:
            if known := self._locks.get(session_id):
                return known[0] == holder
            path = self._lock_path(session_id)
            lock = FileLock(path, timeout=0, thread_local=False)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                lock.acquire()
            except Timeout:
                return False
            except OSError as error:
                raise ConfigError(file_error(path, error, "written")) from error
            self._locks[session_id] = (holder, lock)
            return True

    def release(self, session_id: str, holder: str) -> None:
        with self._lock:
            if (known := self._locks.get(session_id)) and known[0] == holder:
                del self._locks[session_id]
                known[1].release()

    def _lock_path(self, session_id: str) -> Path:
        name = quote(session_id, safe="")
        return self.path.with_name(f"{self.path.stem}-locks") / f"{name}.lock"

    @contextmanager
    def _transaction(self, mode: str = "IMMEDIATE") -> Iterator[sqlite3.Connection]:
        with self._using() as db:
            db.execute(f"BEGIN {mode}")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # SQLite ends it by itself where the disk is full.
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread. Raises ConfigError where the file fails, StorageFull
        and StorageUnavailable."""
        with self._lock:
            try:
                yield self._db
            except (sqlite3.DatabaseError, ValueError, OverflowError) as error:
                raise _failure(self.path, error) from error


def _failure(path: Path, error: Exception) -> AgentkitError:
    """What is wrong with the file, and what to do."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in _UNWRITABLE:
        reason, step = write_fault(path, error)
        is_full = reason == DISK_FULL or code == sqlite3.SQLITE_IOERR
        kind = StorageFull if is_full else ConfigError
        return kind(f"{path} cannot be written: {reason}. {step}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        busy = f"{path} is in use by another process: {error}. Try again later."
        return StorageUnavailable(busy)
    damaged = f"The sessions in {path} are damaged: {error}. Move the file away to start over."
    return ConfigError(damaged)


def _read_fields(text: str) -> dict[str, str]:
    """The fields of a session. Raises ValueError where they are damaged."""
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise ValueError("the fields of a session are not an object")
    return {name: str(value) for name, value in fields.items()}


def record_texts(record: str) -> Iterator[str]:
    """The texts of a record's messages, except tool results."""
    for message in json.loads(record).get("messages", ()):
        text = text_of(read_content(message.get("content") or ""))
        if message["role"] in ("user", "assistant") and text:
            yield text


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file, created if it is missing, or to read where it cannot be written. Raises
    ConfigError for one that has another format or is damaged."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        _create_tables(db, path)
    except OSError as error:
        raise ConfigError(file_error(path, error, "written")) from error
    except (sqlite3.Error, ValueError) as error:
        with suppress(sqlite3.Error):
            if isinstance(error, sqlite3.OperationalError):
                return open_immutable(path, "SELECT 1 FROM sessions")
        raise _failure(path, error) from error
    return db


def _create_tables(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN IMMEDIATE")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version not in (0, VERSION):
        db.execute("ROLLBACK")
        db.close()
        step = "Update agentkit, or move" if version > VERSION else "Move"
        raise ConfigError(
            f"{path} has format {version}, this agentkit reads {VERSION}. {step} the file away to "
            "start over."
        )
    if version == 0:
        for statement in _SCHEMA.split(";\n"):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")
