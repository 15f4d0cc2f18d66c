"""The rows of an archive: what leaves a collection, and what may enter one.

An archive's catalog is never used as a catalog: SQLite files can carry triggers, views and torn
index structures, so only plain rows of the right types pass into a file of our own making.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from agentkit.errors import KnowledgeError
from agentkit.knowledge.catalog import Catalog
from agentkit.knowledge.catalog_file import reading
from agentkit.knowledge.full_text import fill

_DERIVED = ("full_text", "vocabulary")
_LOCAL_META = ("name", "generation", "chroma")
_HOMELESS = ("UPDATE documents SET origin = ''", "DELETE FROM files")
"""A folder of one machine is none of another's: documents travel as if added by hand."""

_JSON = ("metadata", "parts")
_PAGE = 1000
_TYPES = {"TEXT": str, "INTEGER": int, "BLOB": bytes}


def strip(file: Path) -> None:
    """Leave what is live, without full text and without where this machine keeps its files."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("BEGIN")
        connection.execute("DELETE FROM chunks WHERE state != 'live'")
        connection.execute(
            "DELETE FROM embeddings WHERE content NOT IN (SELECT content FROM chunks)"
        )
        connection.executemany("DELETE FROM meta WHERE key = ?", [(k,) for k in _LOCAL_META])
        for statement in _HOMELESS:
            connection.execute(statement)
        for table in reversed(_DERIVED):
            connection.execute(f"DROP TABLE {table}")
        connection.execute("COMMIT")
        connection.execute("VACUUM")


def copy_rows(source: Path, target: Path) -> None:
    """Make a catalog at `target` of the rows of a stranger's. Raises KnowledgeError."""
    Catalog(target).close()
    with reading(source) as incoming, closing(_writable(target)) as own:
        _check_schema(incoming, own)
        own.execute("BEGIN IMMEDIATE")
        for table in _tables(own):
            columns = own.execute(f"PRAGMA table_info({table})").fetchall()
            marks = ", ".join("?" * len(columns))
            statement = f"INSERT OR REPLACE INTO {table} VALUES ({marks})"
            for page in _pages(incoming.execute(f"SELECT * FROM {table} ORDER BY rowid")):
                for row in page:
                    _check_row(table, columns, row)
                own.executemany(statement, page)
        for statement in _HOMELESS:
            own.execute(statement)
        fill(own)
        own.execute("COMMIT")


def _writable(file: Path) -> sqlite3.Connection:
    return sqlite3.connect(file, isolation_level=None)


def _check_schema(incoming: sqlite3.Connection, own: sqlite3.Connection) -> None:
    """The tables are ours, and there is nothing else: no trigger, no view."""
    if _schema(incoming) != _schema(own):
        raise KnowledgeError(
            "The archive's tables are not those of this agentkit. Export it again."
        )
    answer = incoming.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if answer != "ok":
        raise KnowledgeError(f"The archive's catalog is damaged: {answer}. Export it again.")


def _schema(connection: sqlite3.Connection) -> set[tuple[str, str, str]]:
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master").fetchall()
    return {row for row in rows if not row[1].startswith(_DERIVED)}


def _tables(own: sqlite3.Connection) -> list[str]:
    return sorted(name for kind, name, _ in _schema(own) if kind == "table")


def _pages(cursor: sqlite3.Cursor) -> Iterator[list[tuple[object, ...]]]:
    while page := cursor.fetchmany(_PAGE):
        yield page


def _check_row(table: str, columns: list[tuple[object, ...]], row: tuple[object, ...]) -> None:
    """Every value is of its column's type: SQLite itself would take any."""
    for (_, name, kind, required, _, key), value in zip(columns, row, strict=True):
        fits = type(value) is _TYPES[str(kind)] or (value is None and not required and not key)
        if not fits or (name in _JSON and not _is_json(str(value))):
            raise KnowledgeError(f"The archive's table {table} holds a wrong value in {name}.")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
