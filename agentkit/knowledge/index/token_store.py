"""Token vectors of passages, kept in a file of their own beside the catalog.

The file is a cache: it is bounded, the least recently used passages are deleted first, and what is
missing is computed again. A file that is damaged, locked or on a full disk costs time, never an
answer. A vector is kept at full width in bytes: 66 KB for a passage of 170 tokens.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from agentkit.knowledge.embedders.base import Spans, TokenVectors
from agentkit.redaction import get_logger

_log = get_logger(__name__)

TOKENS = "tokens.sqlite"
TOKEN_CACHE_MB = 64
"""The default limit of the file, for about a thousand passages."""
_BYTE = 127
_TRIMMED = 0.9
"""The part of the limit that stays when the file is full, so that it is trimmed seldom."""
_TABLE = """
CREATE TABLE IF NOT EXISTS tokens (
  content TEXT PRIMARY KEY, used INTEGER NOT NULL, size INTEGER NOT NULL, width INTEGER NOT NULL,
  vectors BLOB NOT NULL, spans BLOB NOT NULL)
"""


_TRIM = """
DELETE FROM tokens WHERE content IN (SELECT content FROM (
  SELECT content, sum(size) OVER (ORDER BY used DESC, rowid DESC) AS total FROM tokens)
  WHERE total > ?)
"""
T = TypeVar("T")


class StoredTokens:
    """The tokens of one passage: bytes (tokens, width), a vector of length one times 127, and the
    characters of the indexed text that each stands for, (tokens, 2)."""

    def __init__(self, vectors: NDArray[np.int8], spans: Spans) -> None:
        self.vectors = vectors
        self.spans = spans

    @classmethod
    def of(cls, found: TokenVectors) -> StoredTokens:
        scaled = found.vectors * np.float32(_BYTE)
        return cls(np.rint(scaled, out=scaled).astype(np.int8), found.spans)

    def similarities(self, query: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cosine of each token of a query with each of these, (query tokens, tokens)."""
        own = self.vectors.astype(np.float32) / np.float32(_BYTE)
        found: NDArray[np.float32] = query @ own.T
        return found


class TokenStore:
    """The file of one index; at most `limit` bytes of vectors, 0 keeps none. Safe to share."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    @property
    def size(self) -> int:
        """The bytes of vectors that are kept."""
        return self._run(_size, 0) if self.path.exists() else 0

    def has_room(self) -> bool:
        """Whether more passages can be kept without deleting others."""
        return self.limit > 0 and self.size < _TRIMMED * self.limit

    def read(self, contents: Sequence[str]) -> dict[str, StoredTokens]:
        """The tokens of known passages, by the names of their vectors."""
        marks = ",".join("?" * len(contents))
        sql = f"SELECT content, width, vectors, spans FROM tokens WHERE content IN ({marks})"

        def found(connection: sqlite3.Connection) -> dict[str, StoredTokens]:
            rows = connection.execute(sql, contents).fetchall()
            return {content: _stored(*columns) for content, *columns in rows}

        return self._run(found, {}) if self.path.exists() else {}

    def keep(self, found: Mapping[str, StoredTokens], used: Iterable[str] = ()) -> None:
        """Keep the tokens of passages, and note that others were used."""

        def write(connection: sqlite3.Connection) -> None:
            (now,) = connection.execute("SELECT coalesce(max(used), 0) + 1 FROM tokens").fetchone()
            connection.executemany(
                "INSERT OR REPLACE INTO tokens VALUES (?, ?, ?, ?, ?, ?)",
                [(content, now, *_columns(tokens)) for content, tokens in found.items()],
            )
            connection.executemany(
                "UPDATE tokens SET used = ? WHERE content = ?", [(now, content) for content in used]
            )
            if _size(connection) > self.limit:
                connection.execute(_TRIM, (int(_TRIMMED * self.limit),))

        if self.limit > 0:
            self._run(write, None)

    def close(self) -> None:
        with self._lock:
            self._close()

    def _run(self, action: Callable[[sqlite3.Connection], T], default: T) -> T:
        """The result of an action in one transaction, the default where the file fails. A damaged
        file is deleted."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _open(self.path)
                with self._connection as connection:
                    return action(connection)
            except (sqlite3.DatabaseError, OSError) as error:
                _log.info("Token vectors in %s cannot be used: %s", self.path, error)
                self._close()
                if not isinstance(error, (sqlite3.OperationalError, OSError)):
                    self.path.unlink(missing_ok=True)
                return default

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _size(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(sum(size), 0) FROM tokens").fetchone()[0])


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, check_same_thread=False, timeout=0.2)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_TABLE)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _columns(tokens: StoredTokens) -> tuple[int, int, bytes, bytes]:
    vectors, spans = tokens.vectors.tobytes(), tokens.spans.astype("<i4").tobytes()
    width = tokens.vectors.shape[1] if tokens.vectors.ndim == 2 else 0
    return len(vectors) + len(spans), width, vectors, spans


def _stored(width: int, vectors: bytes, spans: bytes) -> StoredTokens:
    return StoredTokens(
        np.frombuffer(vectors, np.int8).reshape(-1, max(1, width)),
        np.frombuffer(spans, "<i4").reshape(-1, 2),
    )
