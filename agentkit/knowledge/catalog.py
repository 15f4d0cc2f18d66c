"""The truth of an index: documents, chunks, vectors and full text in one SQLite file.

A chunk is pending until Chroma holds its vector, live from the transaction that publishes its
document, dead from the one that replaces it. Search sees the live ones only, so a crash at any
point loses nothing and doubles nothing.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.documents import Chunk, Document, Part
from agentkit.errors import KnowledgeError
from agentkit.text import characters, terms

Vector = NDArray[np.float32]
SCHEMA_VERSION = "2"
CHUNK_COLUMNS = "id, document_id, source, title, heading, text, start, end, page, part"
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
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


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk with its vector. `content` names the text that was embedded, so that an equal text
    is never embedded twice."""

    chunk: Chunk
    content: str
    vector: Vector


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """What an index holds of a document, its text left out."""

    source: str
    title: str
    characters: int
    chunks: int


class Catalog:
    """One SQLite file. Safe to share between threads; writers must hold the index's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection = _connected(path)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def meta(self, key: str) -> str:
        rows = self.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else ""

    def set_meta(self, values: Mapping[str, str]) -> None:
        with self._writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    @property
    def generation(self) -> int:
        """Grows with every change that a search could see."""
        return int(self.meta("generation") or 0)

    def hashes(self) -> dict[str, str]:
        """Source -> hash of every document."""
        return dict(self.rows("SELECT source, hash FROM documents"))

    def document(self, source: str) -> Document | None:
        rows = self.rows(
            "SELECT source, text, title, id, format, metadata, parts FROM documents"
            " WHERE source = ?",
            (source,),
        )
        if not rows:
            return None
        source_, text, title, id_, format_, metadata, parts = rows[0]
        found = tuple(Part(*part) for part in json.loads(parts))
        return Document(source_, text, title, id_, json.loads(metadata), format_, found)

    def documents(self) -> list[DocumentInfo]:
        """Every document, by source."""
        rows = self.rows(
            "SELECT source, title, length(text), (SELECT count(*) FROM chunks"
            " WHERE document_id = documents.id AND state = 'live') FROM documents ORDER BY source"
        )
        return [DocumentInfo(*row) for row in rows]

    def count(self) -> int:
        """Live chunks."""
        return int(self.rows("SELECT count(*) FROM chunks WHERE state = 'live'")[0][0])

    def all_vectors(self) -> tuple[list[str], NDArray[np.float32]]:
        """Ids and vectors of every live chunk, shape (chunks, dimension)."""
        rows = self.rows(
            "SELECT id, vector FROM chunks JOIN embeddings USING (content)"
            " WHERE state = 'live' ORDER BY number"
        )
        vectors = [np.frombuffer(row[1], np.float32) for row in rows]
        matrix = np.stack(vectors) if vectors else np.empty((0, 0), np.float32)
        return [row[0] for row in rows], matrix

    def embedded(self, contents: Iterable[str]) -> dict[str, Vector]:
        """The vectors that are known already, by the name of the text embedded."""
        found: dict[str, Vector] = {}
        for content in set(contents):
            rows = self.rows("SELECT vector FROM embeddings WHERE content = ?", (content,))
            if rows:
                found[content] = np.frombuffer(rows[0][0], np.float32)
        return found

    def ids_of(self, document_id: str) -> set[str]:
        """The ids of a document's live chunks."""
        rows = self.rows(
            "SELECT id FROM chunks WHERE document_id = ? AND state = 'live'", (document_id,)
        )
        return {row[0] for row in rows}

    def not_live(self) -> list[str]:
        """The ids of what a crash left behind: pending and dead chunks."""
        return [row[0] for row in self.rows("SELECT id FROM chunks WHERE state != 'live'")]

    def stage(self, chunks: Sequence[StoredChunk]) -> None:
        """Write chunks as pending: search does not see them yet."""
        rows = [
            (
                *(c.id, c.document_id, c.source, c.title, c.heading, c.text, c.start, c.end),
                *(c.page, c.part, stored.content),
            )
            for stored in chunks
            for c in (stored.chunk,)
        ]
        vectors = [(s.content, s.vector.astype(np.float32).tobytes()) for s in chunks]
        with self._writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO embeddings VALUES (?, ?)", vectors)
            connection.executemany(
                f"INSERT OR REPLACE INTO chunks (state, {CHUNK_COLUMNS}, content)"
                " VALUES ('pending', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def publish(self, documents: Mapping[str, Document], kept: Mapping[str, set[str]]) -> list[str]:
        """Make the documents' pending chunks live and those of their live ones that are not in
        `kept` dead, in one transaction. `documents` is by hash, `kept` by document id. Returns
        the ids of the dead."""
        dead: list[str] = []
        with self._writing() as connection:
            for hash_, document in documents.items():
                gone = sorted(self.ids_of(document.id) - kept[document.id])
                _bury(connection, gone)
                dead += gone
                _store_document(connection, document, hash_)
                _bring_to_life(connection, document.id)
            _next_generation(connection)
        return dead

    def remove(self, sources: Iterable[str]) -> list[str]:
        """Take documents out of search. Returns the ids of their chunks, now dead."""
        dead: list[str] = []
        with self._writing() as connection:
            for source in sources:
                rows = connection.execute("SELECT id FROM documents WHERE source = ?", (source,))
                for (document_id,) in rows.fetchall():
                    gone = sorted(self.ids_of(document_id))
                    _bury(connection, gone)
                    dead += gone
                    connection.execute("DELETE FROM documents WHERE id = ?", (document_id,))
            _next_generation(connection)
        return dead

    def forget(self, ids: Sequence[str]) -> None:
        """Delete chunks that are pending or dead, once Chroma no longer holds them."""
        with self._writing() as connection:
            connection.executemany(
                "DELETE FROM chunks WHERE id = ? AND state != 'live'", [(id_,) for id_ in ids]
            )

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """What a query gives. For reading: `Lookup` asks through it."""
        with self._lock:
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.OperationalError):
                    raise KnowledgeError(f"{self.path} cannot be written: {error}") from error
                raise


def _connected(path: Path) -> sqlite3.Connection:
    """Open the file, made where it is missing; one that cannot be written is opened to read."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        _prepare(connection)
    except (OSError, sqlite3.OperationalError) as error:
        connection = _read_only(path, error)
    except sqlite3.DatabaseError as error:
        raise KnowledgeError(
            f"{path} is no index: {error}. Delete {path.parent} and index again."
        ) from error
    version = connection.execute("SELECT value FROM meta WHERE key = 'schema'").fetchone()[0]
    if version != SCHEMA_VERSION:
        raise KnowledgeError(
            f"{path} has format {version}, this agentkit reads {SCHEMA_VERSION}. "
            f"Delete {path.parent} and index again."
        )
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA busy_timeout = 10000")
    with_tables = "SELECT 1 FROM sqlite_master WHERE name = 'meta'"
    if connection.execute(with_tables).fetchone():
        return
    connection.execute("BEGIN IMMEDIATE")
    if not connection.execute(with_tables).fetchone():
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES ('schema', ?)", (SCHEMA_VERSION,))
    connection.execute("COMMIT")


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


def _bury(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Live chunks become dead, and leave the full text."""
    for id_ in ids:
        connection.execute(
            "DELETE FROM full_text WHERE rowid = (SELECT number FROM chunks WHERE id = ?)", (id_,)
        )
        connection.execute("UPDATE chunks SET state = 'dead' WHERE id = ?", (id_,))


def _bring_to_life(connection: sqlite3.Connection, document_id: str) -> None:
    """A document's pending chunks become live, and enter the full text."""
    rows = connection.execute(
        "SELECT number, title, heading, text FROM chunks"
        " WHERE document_id = ? AND state = 'pending'",
        (document_id,),
    )
    for number, title, heading, text in rows.fetchall():
        whole = f"{title}\n{heading}\n{text}"
        connection.execute(
            "INSERT INTO full_text (rowid, terms, characters) VALUES (?, ?, ?)",
            (number, " ".join(terms(whole)), " ".join(characters(whole))),
        )
    connection.execute(
        "UPDATE chunks SET state = 'live' WHERE document_id = ? AND state = 'pending'",
        (document_id,),
    )


def _store_document(connection: sqlite3.Connection, document: Document, hash_: str) -> None:
    d = document
    metadata = json.dumps(dict(d.metadata), ensure_ascii=False, default=str)
    parts = json.dumps([(p.kind, p.name, p.start, p.end) for p in d.parts], ensure_ascii=False)
    connection.execute(
        "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?, ?, '')",
        (d.id, d.source, d.title, d.text, hash_, metadata, d.format, parts),
    )


def _next_generation(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO meta VALUES ('generation', '1')"
        " ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
    )
