"""The file of sessions: its tables, and the way from each earlier format to this one."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from agentkit.errors import ConfigError
from agentkit.messages import Message
from agentkit.text import terms

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

MIGRATIONS: Sequence[str] = ()
"""Statements that lead from format n + 1 to n + 2; formats are numbered from 1."""


def connected(path: Path) -> sqlite3.Connection:
    """The file, made where it is missing and brought to this format where it is older. Raises
    ConfigError for one that is newer, damaged or cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        db = sqlite3.connect(path, check_same_thread=False, isolation_level=None, timeout=10)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        _upgrade(db, path)
    except (OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"The sessions in {path} cannot be used: {error}. Move the file away to begin anew."
        ) from error
    return db


def index_text(db: sqlite3.Connection, session: str, number: int, message: Message) -> None:
    """Let a search find what was said; what tools gave is left out."""
    if message.role in ("user", "assistant") and message.text:
        found = " ".join(terms(message.text))
        db.execute("INSERT INTO full_text VALUES (?, ?, ?)", (found, session, number))


def _upgrade(db: sqlite3.Connection, path: Path) -> None:
    db.execute("BEGIN IMMEDIATE")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > VERSION:
        db.execute("ROLLBACK")
        raise ConfigError(f"{path} was written by a newer agentkit. Update agentkit to open it.")
    if version == 0:
        _run(db, _SCHEMA)
    for statements in MIGRATIONS[version - 1 :] if version else ():
        _run(db, statements)
    db.execute(f"PRAGMA user_version = {VERSION}")
    db.execute("COMMIT")


def _run(db: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";\n"):
        if statement.strip():
            db.execute(statement)
