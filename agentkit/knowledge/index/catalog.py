"""The catalog of an index: documents, chunks, vectors and full text in one SQLite file.

The catalog is the source of truth. A chunk is staged until Chroma holds its vector, active from the
transaction that publishes its document, stale from the one that replaces it. Search sees active
chunks only, so a crash at any point neither loses nor duplicates any.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit._sqlite import write_fault
from agentkit.documents import Chunk, Document, Parts
from agentkit.errors import KnowledgeError
from agentkit.findings import name_project
from agentkit.knowledge.index.schema import full_text_row, open_catalog, pack_parts, unpack_parts
from agentkit.text.terms import composed

Vector = NDArray[np.float32]
CHUNK_COLUMNS = "id, document_id, source, title, heading, text, start, end, page, part, context"
_FOLDER = "folder "
_PREPARED = (
    "CREATE TEMP TABLE IF NOT EXISTS prepared"
    " (number INTEGER PRIMARY KEY, terms TEXT, characters TEXT)"
)
_PREPARED_CHUNKS = 500
_STAGED = "state = 'staged' AND document_id = ?"
OUTDATED = "outdated"
"""What `meta("chroma")` is while Chroma's vectors cannot be relied on."""


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk, and the name of its vector among the embeddings."""

    chunk: Chunk
    content: str


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a document: how many of its chunks are staged, and the ids of the active ones
    that stay. `origin` is the folder it came from and `file_hash` what its file was, both "" for
    one added by hand."""

    document: Document
    hash: str
    new: int
    kept: frozenset[str]
    origin: str = ""
    file_hash: str = ""


@dataclass(frozen=True, slots=True)
class DocumentInfo:
    """A document in a list, without its text. `pages` is the number of its last page
    or slide."""

    source: str
    title: str
    characters: int
    chunks: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    pages: int | None = None


class Catalog:
    """One SQLite file. Safe to share between threads; writers must hold the index's lock."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection = open_catalog(path)
        self._is_closed = False

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            self._connection.close()

    def check_open(self) -> None:
        """Raise KnowledgeError after `close`."""
        if self._is_closed:
            raise KnowledgeError(
                f"The index {self.path.parent} is closed: open it again by KnowledgeBase.open."
            )

    def meta(self, key: str) -> str:
        rows = self.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else ""

    def set_meta(self, values: Mapping[str, str]) -> None:
        with self.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    @property
    def generation(self) -> int:
        """Grows with every change that a search could see."""
        return int(self.meta("generation") or 0)

    def hashes(self) -> dict[str, str]:
        """Source -> hash of every document."""
        return dict(self.rows("SELECT source, hash FROM documents"))

    def origins(self) -> dict[str, str]:
        """Source -> the folder it came from, "" for a document added by hand."""
        return dict(self.rows("SELECT source, origin FROM documents"))

    def folders(self) -> list[str]:
        """The origins of the folders that were indexed, also of those without documents."""
        rows = self.rows(
            "SELECT key FROM meta WHERE key >= ? AND key < ?", (_FOLDER, f"{_FOLDER}~")
        )
        return [key.removeprefix(_FOLDER) for (key,) in rows]

    def add_folder(self, origin: str) -> None:
        """Remember a folder that is indexed."""
        self.set_meta({f"{_FOLDER}{origin}": ""})

    def forget_folders(self, origins: Iterable[str]) -> None:
        with self.writing() as connection:
            keys = [(f"{_FOLDER}{origin}",) for origin in origins]
            connection.executemany("DELETE FROM meta WHERE key = ?", keys)

    def files(self, origin: str) -> dict[str, str]:
        """Source -> what its file was when it was last read, of one folder."""
        return dict(self.rows("SELECT source, hash FROM files WHERE origin = ?", (origin,)))

    def set_unread(self, source: str, origin: str, hash_: str, reason: str) -> None:
        """Remember why a file was not read, until it has another hash."""
        with self.writing() as connection:
            row = (source, origin, hash_, reason)
            connection.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", row)

    def unread(self) -> dict[str, str]:
        """Source -> why the file was not read."""
        return dict(
            self.rows("SELECT source, unread FROM files WHERE unread != '' ORDER BY source")
        )

    def forget_unread(self, sources: Iterable[str]) -> None:
        with self.writing() as connection:
            rows = [(source,) for source in sources]
            connection.executemany("DELETE FROM files WHERE source = ? AND unread != ''", rows)

    def document(self, source: str) -> Document | None:
        """A document by its source, which may be written in another normal form of Unicode."""
        rows = self.rows(
            "SELECT source, text, title, id, format, metadata, parts FROM documents"
            " WHERE source = ?",
            (source,),
        )
        if not rows:
            name = composed(source)
            same = (held for held in self.hashes() if held != source and composed(held) == name)
            return self.document(found) if (found := next(same, None)) is not None else None
        source_, text, title, id_, format_, metadata, parts = rows[0]
        loaded = json.loads(metadata)
        return Document(source_, text, title, id_, loaded, format_, unpack_parts(parts))

    def documents(self) -> list[DocumentInfo]:
        """Every document, by source."""
        rows = self.rows(
            "SELECT source, title, length(text), (SELECT count(*) FROM chunks"
            " WHERE document_id = documents.id AND state = 'active'), metadata, pages"
            " FROM documents ORDER BY source"
        )
        return [
            DocumentInfo(source, title, size, chunks, json.loads(metadata), pages)
            for source, title, size, chunks, metadata, pages in rows
        ]

    def count(self) -> int:
        """How many chunks are active."""
        return int(self.rows("SELECT count(*) FROM chunks WHERE state = 'active'")[0][0])

    def active_chunks(self, size: int) -> Iterator[list[StoredChunk]]:
        """Every active chunk, `size` at a time, in the order of writing."""
        for rows in self._pages("state = 'active'", (), size):
            yield [StoredChunk(Chunk(*row[2:]), row[1]) for row in rows]

    def keys(self, size: int, staged_of: str = "") -> Iterator[list[tuple[str, str]]]:
        """Id and name of the vector of every active chunk, or of the staged ones of a document,
        `size` at a time, in the order of writing."""
        where, values = (_STAGED, (staged_of,)) if staged_of else ("state = 'active'", ())
        for rows in self._pages(where, values, size, "id"):
            yield [(id_, content) for _, content, id_ in rows]

    def _pages(
        self, where: str, values: Sequence[object], size: int, columns: str = CHUNK_COLUMNS
    ) -> Iterator[list[tuple[Any, ...]]]:
        """Number, content and columns of chunks, `size` at a time."""
        after = -1
        while rows := self.rows(
            f"SELECT number, content, {columns} FROM chunks WHERE {where}"
            " AND number > ? ORDER BY number LIMIT ?",
            (*values, after, size),
        ):
            yield rows
            after = rows[-1][0]

    def chunks_without_vector(self) -> list[StoredChunk]:
        """The active chunks whose vector was lost to damage."""
        rows = self.rows(
            f"SELECT content, {CHUNK_COLUMNS} FROM chunks WHERE state = 'active' AND NOT EXISTS"
            " (SELECT 1 FROM embeddings WHERE embeddings.content = chunks.content)"
        )
        return [StoredChunk(Chunk(*row[1:]), row[0]) for row in rows]

    def ids_of(self, document_id: str) -> set[str]:
        """The ids of a document's active chunks."""
        rows = self.rows(
            "SELECT id FROM chunks WHERE document_id = ? AND state = 'active'", (document_id,)
        )
        return {row[0] for row in rows}

    def inactive_ids(self) -> list[str]:
        """The ids of what a crash left behind: staged and stale chunks."""
        return [row[0] for row in self.rows("SELECT id FROM chunks WHERE state != 'active'")]

    def stage(self, chunks: Iterable[StoredChunk]) -> None:
        """Write chunks as staged: search does not see them yet."""
        rows = [
            (
                *(c.id, c.document_id, c.source, c.title, c.heading, c.text, c.start, c.end),
                *(c.page, c.part, c.context, stored.content),
            )
            for stored in chunks
            for c in (stored.chunk,)
        ]
        with self.writing() as connection:
            connection.executemany(
                f"INSERT OR REPLACE INTO chunks (state, {CHUNK_COLUMNS}, content)"
                " VALUES ('staged', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def publish(self, versions: Sequence[Version]) -> list[str]:
        """Activate the staged chunks of these documents and retire those of their active ones that
        are not kept, in one transaction. Returns the ids of the stale chunks."""
        for version in versions:
            self._prepare_full_text(version.document.id)
        stale: list[str] = []
        with self.writing() as connection:
            for version in versions:
                gone = sorted(self.ids_of(version.document.id) - version.kept)
                _retire(connection, gone)
                stale += gone
                _store_document(connection, version)
                _activate(connection, version.document.id)
            connection.execute("DELETE FROM prepared")
            _next_generation(connection)
        return stale

    def _prepare_full_text(self, document_id: str) -> None:
        """Write the full text of a document's staged chunks into a temporary table: computed within
        the transaction that activates them, it would make this process's readers wait."""
        with self.writing() as connection:
            connection.execute(_PREPARED)
        for rows in self._pages(_STAGED, (document_id,), _PREPARED_CHUNKS):
            chunks = ((number, Chunk(*columns)) for number, _, *columns in rows)
            words = [(n, *full_text_row(c.title, c.heading, c.context, c.text)) for n, c in chunks]
            with self.writing() as connection:
                connection.executemany("INSERT OR REPLACE INTO prepared VALUES (?, ?, ?)", words)

    def remove(self, sources: Iterable[str]) -> list[str]:
        """Take documents out of search. Returns the ids of their chunks, now stale."""
        stale: list[str] = []
        with self.writing() as connection:
            for source in sources:
                rows = connection.execute("SELECT id FROM documents WHERE source = ?", (source,))
                for (document_id,) in rows.fetchall():
                    gone = sorted(self.ids_of(document_id))
                    _retire(connection, gone)
                    stale += gone
                connection.execute("DELETE FROM documents WHERE source = ?", (source,))
                connection.execute("DELETE FROM files WHERE source = ?", (source,))
            _next_generation(connection)
        return stale

    def delete_inactive(self, ids: Sequence[str]) -> None:
        """Delete staged and stale chunks, once Chroma no longer holds them."""
        with self.writing() as connection:
            connection.executemany(
                "DELETE FROM chunks WHERE id = ? AND state != 'active'", [(id_,) for id_ in ids]
            )

    def reembed(self, embedder: str, contents: Mapping[str, str]) -> None:
        """Give every active chunk, by id, its vector of another embedder, in one transaction.
        Chroma holds the old ones until it is rebuilt."""
        with self.writing() as connection:
            connection.executemany(
                "UPDATE chunks SET content = ? WHERE id = ?",
                [(content, id_) for id_, content in contents.items()],
            )
            meta = {"embedder": embedder, "chroma": OUTDATED}
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta.items())
            _next_generation(connection)

    def mark_chroma(self, mark: str) -> None:
        """Record whether Chroma holds the active chunks ("") or is OUTDATED; readers reopen it."""
        with self.writing() as connection:
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('chroma', ?)", (mark,))
            _next_generation(connection)

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query that only reads. Raises KnowledgeError."""
        with self._lock:
            self.check_open()
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise KnowledgeError(_read_failure(self.path, error)) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction. Raises KnowledgeError when the file cannot be written."""
        with self._lock:
            self.check_open()
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.DatabaseError):
                    reason, step = write_fault(self.path, error)
                    raise KnowledgeError(
                        f"{self.path} cannot be written: {reason}. Nothing indexed before is lost. "
                        f"{step} Then index again."
                    ) from error
                raise


def _read_failure(path: Path, error: sqlite3.DatabaseError) -> str:
    """Report damage only where SQLite does: a query that it cannot parse is not damage."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return name_project(f"{path} is damaged: {error}. Run: agentkit kb doctor", path)
    if code == sqlite3.SQLITE_ERROR:
        return f"SQLite rejected a query of {path}: {error}. Rephrase the query."
    return f"{path} cannot be read: {error}. Check the disk and its permissions, then try again."


def _retire(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    """Mark active chunks as stale and take them out of the full text."""
    for id_ in ids:
        connection.execute(
            "DELETE FROM full_text WHERE rowid = (SELECT number FROM chunks WHERE id = ?)", (id_,)
        )
        connection.execute("UPDATE chunks SET state = 'stale' WHERE id = ?", (id_,))


def _activate(connection: sqlite3.Connection, document_id: str) -> None:
    """Mark a document's staged chunks as active and add their prepared full text."""
    connection.execute(
        "INSERT INTO full_text (rowid, terms, characters) SELECT number, terms, characters"
        " FROM prepared JOIN chunks USING (number)"
        " WHERE document_id = ? AND state = 'staged' ORDER BY number",
        (document_id,),
    )
    connection.execute(
        "UPDATE chunks SET state = 'active' WHERE document_id = ? AND state = 'staged'",
        (document_id,),
    )


def _store_document(connection: sqlite3.Connection, version: Version) -> None:
    d = version.document
    metadata = json.dumps(dict(d.metadata), ensure_ascii=False, default=str)
    parts = Parts.of(d.parts)
    named = (d.id, d.source, d.title, d.text, version.hash, metadata, d.format)
    connection.execute(
        "INSERT OR REPLACE INTO documents"
        " (id, source, title, text, hash, metadata, format, parts, origin, pages)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*named, pack_parts(parts), version.origin, parts.last_page),
    )
    connection.execute("DELETE FROM files WHERE source = ?", (d.source,))
    if version.file_hash:
        connection.execute(
            "INSERT INTO files (source, origin, hash, unread) VALUES (?, ?, ?, '')",
            (d.source, version.origin, version.file_hash),
        )


def _next_generation(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO meta VALUES ('generation', '1')"
        " ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) + 1"
    )
