"""The tables of a catalog, and how its file is opened: to write, or to read whatever is there. An
index of the previous version is upgraded where it is opened to write."""

from __future__ import annotations

import json
import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from agentkit._sqlite import open_immutable, write_fault
from agentkit.documents import Part, Parts
from agentkit.errors import KnowledgeError
from agentkit.knowledge.chunking.markup import plain
from agentkit.text.terms import characters, terms

CATALOG = "catalog.sqlite"
_MOST_SEARCHED = 200_000
"""Characters of a chunk that are searched by keywords: a row is never split, whatever it holds."""
SCHEMA_VERSION = "6"
PREVIOUS_VERSION = "5"
"""It has the parts of documents as JSON, without the number of pages."""
_MOST_PARTS_BYTES = 1 << 28
_FULL_TEXT = """
CREATE VIRTUAL TABLE full_text USING fts5 (
  terms, characters,
  tokenize = "unicode61 remove_diacritics 0 categories 'L* N* Co M*' tokenchars '.'");
CREATE VIRTUAL TABLE vocabulary USING fts5vocab ('full_text', 'col');
"""
_DOCUMENTS = """
CREATE TABLE documents (
  id TEXT PRIMARY KEY, source TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL,
  hash TEXT NOT NULL, metadata TEXT NOT NULL, format TEXT NOT NULL, parts {parts} NOT NULL,
  origin TEXT NOT NULL{pages})
""".strip()
_DOCUMENTS_OF = {
    PREVIOUS_VERSION: _DOCUMENTS.format(parts="TEXT", pages=""),
    SCHEMA_VERSION: _DOCUMENTS.format(parts="BLOB", pages=", pages INTEGER"),
}
_TABLES = f"""
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE files (
  source TEXT PRIMARY KEY, origin TEXT NOT NULL, hash TEXT NOT NULL, unread TEXT NOT NULL);
CREATE TABLE chunks (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
  document_id TEXT NOT NULL, source TEXT NOT NULL, title TEXT NOT NULL, heading TEXT NOT NULL,
  text TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, page INTEGER,
  part TEXT NOT NULL, context TEXT NOT NULL, content TEXT NOT NULL);
CREATE TABLE embeddings (content TEXT PRIMARY KEY, vector BLOB NOT NULL);
CREATE INDEX chunks_of_document ON chunks (document_id, state);
CREATE INDEX chunks_inactive ON chunks (state) WHERE state != 'active';
CREATE INDEX chunks_by_content ON chunks (content);
{_FULL_TEXT.strip()}
"""
_UPGRADED_ROW = """
INSERT INTO documents SELECT id, source, title, text, hash, metadata, format, ?, origin, ?
FROM former WHERE id = ?
"""
_BUSY_SECONDS = 10.0
_SAFE = ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "busy_timeout = 5000")


def open_catalog(path: Path) -> sqlite3.Connection:
    """Open a catalog's file, created where it is missing; one that cannot be written is opened to
    read. Raises KnowledgeError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = _open_writable(path)
        create_tables(connection, SCHEMA_VERSION)
        if _version(connection) == PREVIOUS_VERSION:
            _upgrade(connection, path)
    except (OSError, sqlite3.OperationalError) as error:
        connection = _open_unwritable(path, error)
    except sqlite3.DatabaseError as error:
        raise KnowledgeError(
            f"{path} is not an index: {error}. Delete {path.parent} and index again."
        ) from error
    if (version := _version(connection)) != SCHEMA_VERSION:
        connection.close()
        if version == PREVIOUS_VERSION:
            raise KnowledgeError(
                f"{path} has the format {version} and must be upgraded, but cannot be written. "
                "Make it writable and free some disk space, then try again."
            )
        is_newer = version.isdigit() and int(version) > int(SCHEMA_VERSION)
        other, step = (
            ("a newer", "Update agentkit, or delete") if is_newer else ("an older", "Delete")
        )
        raise KnowledgeError(
            f"{path} was made by {other} version of agentkit (format {version}, this one reads "
            f"{SCHEMA_VERSION}). {step} {path.parent} and index again."
        )
    return connection


@contextmanager
def open_read_only(file: Path) -> Iterator[sqlite3.Connection]:
    """One consistent view of a catalog's file; nothing is created, changed or trusted. A damaged
    file is opened too, reading it may raise sqlite3.Error."""
    address = f"{file.resolve().as_uri()}?mode=ro"
    connection = _connect_safely(address)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:  # Its folder cannot be written, as WAL would need.
        connection.close()
        connection = _connect_safely(f"{address}&immutable=1")
    except sqlite3.Error:
        pass
    with closing(connection):
        connection.execute("BEGIN")
        yield connection


def read_value(connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()) -> Any:
    """The first column of the first row, None where there is no row."""
    row = connection.execute(sql, values).fetchone()
    return row[0] if row else None


def read_meta(connection: sqlite3.Connection, key: str) -> str:
    return str(read_value(connection, "SELECT value FROM meta WHERE key = ?", (key,)) or "")


@lru_cache(maxsize=8)
def full_text_row(title: str, heading: str, context: str, text: str) -> tuple[str, str]:
    """What the keyword index holds of a chunk: its terms and its single characters. The nearest
    heading counts twice. The end of a row that is longer than a book is left out. Rows are often
    the same many times."""
    nearest = heading.rpartition(" > ")[2]
    whole = f"{title}\n{heading}\n{nearest}\n{context}\n{plain(text[:_MOST_SEARCHED])}"
    return " ".join(terms(whole)), " ".join(characters(whole))


def rebuild_full_text(connection: sqlite3.Connection) -> None:
    """Drop the full text and write it again, inside the caller's transaction."""
    for table in ("vocabulary", "full_text"):
        connection.execute(f"DROP TABLE {table}")
    for statement in _FULL_TEXT.split(";\n"):
        connection.execute(statement)
    fill_full_text(connection)


def fill_full_text(connection: sqlite3.Connection) -> None:
    """Write every active chunk into a full text that is empty."""
    rows = connection.execute(
        "SELECT number, title, heading, context, text FROM chunks WHERE state = 'active'"
        " ORDER BY number"
    )
    connection.executemany(
        "INSERT INTO full_text (rowid, terms, characters) VALUES (?, ?, ?)",
        ((number, *full_text_row(*texts)) for number, *texts in rows),
    )


def _version(connection: sqlite3.Connection) -> str:
    """The schema version, "" where there are no tables yet."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return ""
    return read_meta(connection, "schema") or "unknown"


def create_tables(connection: sqlite3.Connection, version: str) -> None:
    """Create the tables of this or the previous version in a file that has none."""
    if _version(connection):
        return
    with _transaction(connection):
        if not _version(connection):
            for statement in (_DOCUMENTS_OF[version], *_TABLES.strip().split(";\n")):
                connection.execute(statement)
            connection.execute("INSERT INTO meta VALUES ('schema', ?)", (version,))


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the previous version's tables to this one's. Raises KnowledgeError."""
    with _transaction(connection):
        if _version(connection) != PREVIOUS_VERSION:
            return
        connection.execute("ALTER TABLE documents RENAME TO former")
        connection.execute(_DOCUMENTS_OF[SCHEMA_VERSION])
        for (id_,) in connection.execute("SELECT id FROM former").fetchall():
            stored = read_value(connection, "SELECT parts FROM former WHERE id = ?", (id_,))
            try:
                parts = read_json_parts(stored)
            except ValueError as error:
                raise KnowledgeError(
                    f"{path} is damaged: {error}. Delete {path.parent} and index again."
                ) from error
            connection.execute(_UPGRADED_ROW, (pack_parts(parts), parts.last_page, id_))
        connection.execute("DROP TABLE former")
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (SCHEMA_VERSION,))


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def read_json_parts(stored: str) -> Parts:
    """Read the parts of a document as the previous version stored them. Raises ValueError."""
    try:
        return Parts(Part(*part) for part in json.loads(stored))
    except (TypeError, OverflowError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a list of parts: {error}") from error


def pack_parts(parts: Parts) -> bytes:
    """The parts of a document as they are stored: compressed, since a table may have a million."""
    return zlib.compress(parts.to_bytes(), 1)


def unpack_parts(stored: bytes) -> Parts:
    """Read what `pack_parts` wrote. Raises ValueError."""
    decompressor = zlib.decompressobj()
    try:
        content = decompressor.decompress(stored, _MOST_PARTS_BYTES)
    except zlib.error as error:
        raise ValueError(f"not a table of parts: {error}") from error
    if not decompressor.eof:
        raise ValueError("a table of parts that is cut or too large")
    return Parts.from_bytes(content)


def _open_writable(path: Path) -> sqlite3.Connection:
    """Open a file to write. Where processes create it at the same time, each waits: SQLite's own
    timeout does not cover the change to WAL. Raises sqlite3.OperationalError."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            connection.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.OperationalError as error:
            connection.close()
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return connection


def _open_unwritable(path: Path, error: Exception) -> sqlite3.Connection:
    """Open a file to read that cannot be written, such as on a full disk. Raises KnowledgeError."""
    reason, step = write_fault(path, error)
    if not os.path.exists(path):
        raise KnowledgeError(f"{path.parent} cannot be written ({reason}). {step}") from error
    try:
        return open_immutable(path, "SELECT 1 FROM meta")
    except sqlite3.Error:
        raise KnowledgeError(f"{path} cannot be written: {reason}. {step}") from error


def _connect_safely(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
    for pragma in _SAFE:
        connection.execute(f"PRAGMA {pragma}")
    return connection
