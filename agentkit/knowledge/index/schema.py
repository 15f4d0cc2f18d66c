"""The tables of a catalog: made where they are missing, brought up from the format before.

A catalog of format 1 kept vectors beside its chunks; it is rewritten without embedding again. One
of a later format is refused.

Make a catalog's full text anew from its live passages.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from agentkit.errors import KnowledgeError
from agentkit.text.terms import characters, terms

SCHEMA_VERSION = "2"
_TABLES = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE documents (
  id TEXT PRIMARY KEY, source TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL,
  hash TEXT NOT NULL, metadata TEXT NOT NULL, format TEXT NOT NULL, parts TEXT NOT NULL,
  origin TEXT NOT NULL);
CREATE TABLE files (source TEXT PRIMARY KEY, origin TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TABLE chunks (
  number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, state TEXT NOT NULL,
  document_id TEXT NOT NULL, source TEXT NOT NULL, title TEXT NOT NULL, heading TEXT NOT NULL,
  text TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, page INTEGER,
  part TEXT NOT NULL, content TEXT NOT NULL);
CREATE TABLE embeddings (content TEXT PRIMARY KEY, vector BLOB NOT NULL);
CREATE INDEX chunks_of_document ON chunks (document_id, state);
CREATE INDEX chunks_not_live ON chunks (state) WHERE state != 'live';
CREATE INDEX chunks_by_content ON chunks (content);
CREATE VIRTUAL TABLE full_text USING fts5 (
  terms, characters, tokenize = "unicode61 remove_diacritics 0 tokenchars '.'");
CREATE VIRTUAL TABLE vocabulary USING fts5vocab ('full_text', 'col');
"""
_FROM_1 = (
    "DROP TABLE vocabulary",
    "DROP TABLE full_text",
    "DROP INDEX chunks_of_document",
    "DROP INDEX chunks_not_live",
    "DROP INDEX chunks_by_content",
    "ALTER TABLE documents RENAME TO documents_1",
    "ALTER TABLE chunks RENAME TO chunks_1",
    *_TABLES.split(";\n"),
    "INSERT INTO documents SELECT id, source, title, text, hash, metadata,"
    " CASE WHEN source LIKE '%.md' OR source LIKE '%.markdown' THEN 'markdown' ELSE 'text' END,"
    " '[]', '' FROM documents_1",
    "INSERT OR IGNORE INTO embeddings SELECT content_key(content), vector FROM chunks_1"
    " ORDER BY number",
    "INSERT INTO chunks SELECT number, id, state, document_id, source, title, heading, text, start,"
    " end, page, '', content_key(content) FROM chunks_1",
    "DROP TABLE documents_1",
    "DROP TABLE chunks_1",
)


def content_key(embedder: str) -> Callable[[str], str]:
    """From the SHA-256 of a text to the name of its vector, which is another's with another
    embedder."""

    def named(digest: str) -> str:
        return hashlib.sha256(f"{embedder}\0{digest}".encode()).hexdigest()

    return named


def full_text_row(title: str, heading: str, text: str) -> tuple[str, str]:
    """What the keyword index holds of a chunk: its terms and its single characters."""
    whole = f"{title}\n{heading}\n{text}"
    return " ".join(terms(whole)), " ".join(characters(whole))


def connected(path: Path) -> sqlite3.Connection:
    """Open a catalog's file, made where it is missing; one that cannot be written is opened to
    read. Raises KnowledgeError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA busy_timeout = 10000")
        _prepare(connection)
    except (OSError, sqlite3.OperationalError) as error:
        connection = _read_only(path, error)
    except sqlite3.DatabaseError as error:
        raise KnowledgeError(
            f"{path} is no index: {error}. Delete {path.parent} and index again."
        ) from error
    version = _version(connection)
    if version != SCHEMA_VERSION:
        way = "Open it once where it can be written" if version == "1" else "Update agentkit"
        connection.close()
        raise KnowledgeError(
            f"{path} has format {version}, this agentkit reads {SCHEMA_VERSION}. "
            f"{way}, or delete {path.parent} and index again."
        )
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables, or bring them up to date, once and whole."""
    if _version(connection) not in ("", "1"):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if not version:
            _run(connection, _TABLES.split(";\n"))
        elif version == "1":
            _from_1(connection)
        if version in ("", "1"):
            connection.execute(
                "INSERT OR REPLACE INTO meta VALUES ('schema', ?)", (SCHEMA_VERSION,)
            )
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _from_1(connection: sqlite3.Connection) -> None:
    embedder = connection.execute("SELECT value FROM meta WHERE key = 'embedder'").fetchone()
    connection.create_function(
        "content_key", 1, content_key(str(embedder[0]) if embedder else ""), deterministic=True
    )
    _run(connection, _FROM_1)
    rows = connection.execute(
        "SELECT number, title, heading, text FROM chunks WHERE state = 'live'"
    )
    connection.executemany(
        "INSERT INTO full_text (rowid, terms, characters) VALUES (?, ?, ?)",
        ((number, *full_text_row(*texts)) for number, *texts in rows.fetchall()),
    )


def _run(connection: sqlite3.Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(statement)


def _version(connection: sqlite3.Connection) -> str:
    """The format, "" where there are no tables yet."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        return ""
    row = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()
    return str(row[0]) if row else ""


def _read_only(path: Path, error: Exception) -> sqlite3.Connection:
    if not os.path.exists(path):
        reason = error.strerror if isinstance(error, OSError) else error
        raise KnowledgeError(
            f"{path.parent} cannot be written ({reason}). Change its permissions."
        ) from error
    try:
        address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        connection.execute("SELECT 1 FROM meta").fetchone()
    except sqlite3.Error as second:
        raise KnowledgeError(f"{path} cannot be read: {second}. Check its permissions.") from second
    return connection


_TABLES_FULL_TEXT = ("full_text", "vocabulary")


def rebuild(connection: sqlite3.Connection) -> None:
    """Drop the full text and write it again, inside the caller's transaction."""
    made = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name IN (?, ?) ORDER BY name", _TABLES_FULL_TEXT
    ).fetchall()
    for table in reversed(_TABLES_FULL_TEXT):
        connection.execute(f"DROP TABLE {table}")
    for (statement,) in made:
        connection.execute(statement)
    fill(connection)


def fill(connection: sqlite3.Connection) -> None:
    """Write every live passage into a full text that is empty."""
    rows = connection.execute(
        "SELECT number, title, heading, text FROM chunks WHERE state = 'live' ORDER BY number"
    )
    connection.executemany(
        "INSERT INTO full_text (rowid, terms, characters) VALUES (?, ?, ?)",
        ((number, *full_text_row(title, heading, text)) for number, title, heading, text in rows),
    )
