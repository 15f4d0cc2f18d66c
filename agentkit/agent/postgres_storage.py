"""Sessions in PostgreSQL, for several processes and machines: a `SessionStorage` by psycopg 3.

The tables are made at the first use. All statements are bounded in time; while the database cannot
be reached, or accepts connections and does not answer, each call raises StorageUnavailable, at once
when another has just found it so.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

import psutil

from agentkit.agent.session_storage import StoredRecords, record_texts
from agentkit.errors import ConfigError, StorageUnavailable
from agentkit.text.terms import terms

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg_pool import ConnectionPool

SCHEMES = ("postgresql://", "postgres://")
WAIT_SECONDS = 4.0
"""How long a call waits for a connection."""

ANSWER_SECONDS = 25.0
"""How long a transaction may take; the database's own bounds, below it, end with its freezing."""

DOWN_SECONDS = 1.0
"""How long calls fail at once after one has found the database unreachable."""

_OPTIONS = (
    "-c statement_timeout=20000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000"
)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS agentkit_sessions (
  owner text, id text, fields jsonb NOT NULL, PRIMARY KEY (owner, id));
CREATE INDEX IF NOT EXISTS agentkit_sessions_by_use
  ON agentkit_sessions (owner, (fields->>'updated') COLLATE "C" DESC NULLS LAST, id DESC);
CREATE TABLE IF NOT EXISTS agentkit_records (
  number bigserial PRIMARY KEY, owner text NOT NULL, session text NOT NULL, body text NOT NULL,
  FOREIGN KEY (owner, session) REFERENCES agentkit_sessions ON DELETE CASCADE);
CREATE INDEX IF NOT EXISTS agentkit_records_of_session
  ON agentkit_records (owner, session, number);
CREATE TABLE IF NOT EXISTS agentkit_drafts (
  number bigserial PRIMARY KEY, owner text NOT NULL, session text NOT NULL, text text NOT NULL);
CREATE INDEX IF NOT EXISTS agentkit_drafts_of_session ON agentkit_drafts (owner, session, number);
CREATE TABLE IF NOT EXISTS agentkit_texts (
  number bigserial PRIMARY KEY, owner text NOT NULL, session text NOT NULL, text text NOT NULL,
  terms text[] NOT NULL,
  FOREIGN KEY (owner, session) REFERENCES agentkit_sessions ON DELETE CASCADE);
CREATE INDEX IF NOT EXISTS agentkit_texts_of_session ON agentkit_texts (owner, session);
CREATE INDEX IF NOT EXISTS agentkit_texts_terms ON agentkit_texts USING gin (terms);
CREATE TABLE IF NOT EXISTS agentkit_reservations (
  owner text, session text, holder text NOT NULL, process text NOT NULL,
  ends timestamptz NOT NULL, PRIMARY KEY (owner, session));
"""
_SCHEMA_LOCK = 0x61676B69
"""The key of the lock under which one process makes the tables."""

_UPSERT = """
INSERT INTO agentkit_sessions VALUES (%s, %s, %s::jsonb) ON CONFLICT (owner, id)
DO UPDATE SET fields = agentkit_sessions.fields || excluded.fields
"""
_RESERVE = """
INSERT INTO agentkit_reservations AS held
VALUES (%s, %s, %s, %s, now() + %s * interval '1 second') ON CONFLICT (owner, session)
DO UPDATE SET holder = excluded.holder, process = excluded.process, ends = excluded.ends
WHERE held.holder = excluded.holder OR held.ends < now() OR held.process = ANY (%s)
RETURNING holder
"""


class PostgresStorage:
    """The sessions of one owner in the database of a URL such as postgresql://user@host/name; a
    password comes from the environment (PGPASSWORD) or ~/.pgpass. Raises ConfigError without the
    extra `postgres`, and for an invalid URL."""

    def __init__(self, url: str, owner: str = "", *, connections: int = 8) -> None:
        self._owner = owner
        self._pool = _open_pool(url, connections)
        self._lock = threading.Lock()
        self._has_tables = self._is_shared = False
        self._down_until = 0.0
        self._process = _process_name()

    def of_owner(self, owner: str) -> PostgresStorage:
        """The sessions of another owner, by the same connections, which this storage closes."""
        other = copy(self)
        other._owner, other._is_shared = owner, True
        return other

    def close(self) -> None:
        """Close the connections."""
        if not self._is_shared:
            self._pool.close()

    def write(self, session_id: str, fields: Mapping[str, str], records: Sequence[str]) -> None:
        key = (self._owner, session_id)
        plain = {name: value.replace("\0", "") for name, value in fields.items()}
        found = [
            (*key, text.replace("\0", ""), terms(text)) for r in records for text in record_texts(r)
        ]
        with self._transaction() as db:
            # The row is locked from here on: records of one session are written in turn.
            db.execute(_UPSERT, (*key, json.dumps(plain, ensure_ascii=False)))
            if not records:
                return
            with db.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO agentkit_records (owner, session, body) VALUES (%s, %s, %s)",
                    [(*key, record) for record in records],
                )
                if found:
                    cursor.executemany(
                        "INSERT INTO agentkit_texts (owner, session, text, terms)"
                        " VALUES (%s, %s, %s, %s)",
                        found,
                    )
            db.execute("DELETE FROM agentkit_drafts WHERE owner = %s AND session = %s", key)

    def draft(self, session_id: str, text: str) -> None:
        with self._transaction() as db:
            db.execute(
                "INSERT INTO agentkit_drafts (owner, session, text) VALUES (%s, %s, %s)",
                (self._owner, session_id, text.replace("\0", "")),
            )

    def read(self, session_id: str) -> StoredRecords | None:
        key = (self._owner, session_id)
        with self._transaction() as db:
            db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            row = db.execute(
                "SELECT fields FROM agentkit_sessions WHERE owner = %s AND id = %s", key
            ).fetchone()
            if row is None:
                return None
            records = db.execute(
                "SELECT body FROM agentkit_records WHERE owner = %s AND session = %s"
                " ORDER BY number",
                key,
            ).fetchall()
            drafts = db.execute(
                "SELECT text FROM agentkit_drafts WHERE owner = %s AND session = %s"
                " ORDER BY number",
                key,
            ).fetchall()
        draft = "".join(piece for (piece,) in drafts)
        return StoredRecords(row[0], [body for (body,) in records], draft)

    def recent(self, limit: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        with self._transaction() as db:
            return db.execute(
                "SELECT id, fields FROM agentkit_sessions WHERE owner = %s"
                """ ORDER BY (fields->>'updated') COLLATE "C" DESC NULLS LAST, id DESC LIMIT %s""",
                (self._owner, limit),
            ).fetchall()

    def delete(self, session_id: str) -> None:
        key = (self._owner, session_id)
        with self._transaction() as db:
            db.execute("DELETE FROM agentkit_sessions WHERE owner = %s AND id = %s", key)
            db.execute("DELETE FROM agentkit_drafts WHERE owner = %s AND session = %s", key)

    def search(self, words: Sequence[str], limit: int) -> Sequence[tuple[str, str]]:
        """Ids and texts of messages that contain all words, the latest first."""
        with self._transaction() as db:
            return db.execute(
                "SELECT session, text FROM agentkit_texts WHERE owner = %s AND terms @> %s::text[]"
                " ORDER BY number DESC LIMIT %s",
                (self._owner, list(words), limit),
            ).fetchall()

    def acquire(self, session_id: str, holder: str, seconds: float) -> bool:
        key = (self._owner, session_id)
        with self._transaction() as db:
            rows = db.execute(
                "SELECT process FROM agentkit_reservations WHERE owner = %s AND session = %s", key
            ).fetchall()
            dead = [process for (process,) in rows if _has_ended(process)]
            values = (*key, holder, self._process, seconds, dead)
            return db.execute(_RESERVE, values).fetchone() is not None

    def release(self, session_id: str, holder: str) -> None:
        with self._transaction() as db:
            db.execute(
                "DELETE FROM agentkit_reservations"
                " WHERE owner = %s AND session = %s AND holder = %s",
                (self._owner, session_id, holder),
            )

    @contextmanager
    def _transaction(self) -> Iterator[Connection[Any]]:
        """A connection in a transaction. Raises StorageUnavailable and ConfigError."""
        import psycopg
        from psycopg_pool import PoolTimeout

        if time.monotonic() < self._down_until:
            raise _unavailable("it was not reached a moment ago")
        try:
            with self._pool.connection() as connection, _answering(connection, ANSWER_SECONDS):
                self._make_tables(connection)
                with connection.transaction():
                    yield connection
        except (psycopg.OperationalError, PoolTimeout, psycopg.InterfaceError) as error:
            if not isinstance(error, psycopg.errors.QueryCanceled):
                self._down_until = time.monotonic() + DOWN_SECONDS
            raise _unavailable(str(error)) from error
        except psycopg.Error as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"The database of the sessions refuses this: {reason}. Check its user's rights."
            ) from error

    def _make_tables(self, connection: Connection[Any]) -> None:
        if self._has_tables:
            return
        with self._lock, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_SCHEMA_LOCK,))
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            self._has_tables = True


def _open_pool(url: str, connections: int) -> ConnectionPool[Any]:
    """A pool that connects in the background, so that a server starts without its database."""
    if not url.startswith(SCHEMES):
        raise ConfigError(f"{url.partition(':')[0]}: … is not postgresql://USER@HOST/DATABASE.")
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
        from psycopg_pool import ConnectionPool
    except ImportError as error:
        raise ConfigError(
            'Sessions in PostgreSQL need the extra "postgres". '
            'Run: pip install "agentkit-rag[postgres]"'
        ) from error
    try:
        given = conninfo_to_dict(url)
    except ProgrammingError as error:
        raise ConfigError(f"The URL of the sessions is invalid: {error}") from error

    def check(connection: Connection[Any]) -> None:
        with _answering(connection, WAIT_SECONDS):
            ConnectionPool.check_connection(connection)

    bounds: dict[str, Any] = {"connect_timeout": 4, "tcp_user_timeout": 10_000}
    bounds["options"] = f"{given.get('options') or ''} {_OPTIONS}".strip()
    return ConnectionPool(
        url,
        min_size=1,
        max_size=connections,
        timeout=WAIT_SECONDS,
        kwargs=bounds,
        check=check,
        reconnect_timeout=5.0,
        open=True,
    )


@contextmanager
def _answering(connection: Connection[Any], seconds: float) -> Iterator[None]:
    """Shut a connection down where the database is silent in the block for some seconds: the
    statement that waits raises OperationalError then."""

    def shut_down() -> None:
        with socket.socket(fileno=os.dup(connection.fileno())) as copy_:
            copy_.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut_down)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _unavailable(reason: str) -> StorageUnavailable:
    line = " ".join(reason.split())
    return StorageUnavailable(
        f"The database of the sessions cannot be used now: {line}. Try again in a moment."
    )


def _process_name() -> str:
    """This process, so that another one on this machine can tell whether it has ended."""
    started = psutil.Process().create_time()
    return f"{socket.gethostname()} {psutil.boot_time():.0f} {os.getpid()} {started:.2f}"


def _has_ended(process: str) -> bool:
    """Whether a process of this machine has ended; False for one of another machine."""
    try:
        host, boot, pid, started = process.rsplit(" ", 3)
        if host != socket.gethostname() or abs(float(boot) - psutil.boot_time()) > 2:
            return False
        return abs(psutil.Process(int(pid)).create_time() - float(started)) > 0.1
    except psutil.NoSuchProcess:
        return True
    except (ValueError, psutil.Error):
        return False
