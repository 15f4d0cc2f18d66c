"""Open a catalog's file to look at it: nothing is made, changed or trusted.

A damaged file is opened too; what is read from it may raise `sqlite3.Error`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

CATALOG = "catalog.sqlite"
_SAFE = ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON", "busy_timeout = 5000")


@contextmanager
def reading(file: Path) -> Iterator[sqlite3.Connection]:
    """One consistent view of the file, also where its folder cannot be written."""
    with closing(_opened(file)) as connection:
        connection.execute("BEGIN")
        yield connection


def value(connection: sqlite3.Connection, sql: str, values: Sequence[object] = ()) -> Any:
    """The first column of the first row, None where there is no row."""
    row = connection.execute(sql, values).fetchone()
    return row[0] if row else None


def meta(connection: sqlite3.Connection, key: str) -> str:
    return str(value(connection, "SELECT value FROM meta WHERE key = ?", (key,)) or "")


def _opened(file: Path) -> sqlite3.Connection:
    address = f"{file.resolve().as_uri()}?mode=ro"
    connection = _connected(address)
    try:
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        return _connected(f"{address}&immutable=1")
    except sqlite3.Error:
        pass
    return connection


def _connected(address: str) -> sqlite3.Connection:
    connection = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
    for pragma in _SAFE:
        connection.execute(f"PRAGMA {pragma}")
    return connection
