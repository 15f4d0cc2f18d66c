"""Make a catalog's full text anew from its live passages."""

from __future__ import annotations

import sqlite3

from agentkit.knowledge.schema import full_text_row

_TABLES = ("full_text", "vocabulary")


def rebuild(connection: sqlite3.Connection) -> None:
    """Drop the full text and write it again, inside the caller's transaction."""
    made = connection.execute(
        "SELECT sql FROM sqlite_master WHERE name IN (?, ?) ORDER BY name", _TABLES
    ).fetchall()
    for table in reversed(_TABLES):
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
