"""What a collection holds and what it takes on the disk.

Tokens are not counted: the catalog does not keep them, and counting reads every text.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from agentkit.errors import KnowledgeError
from agentkit.knowledge.catalog_file import CATALOG, meta, reading, value
from agentkit.knowledge.collections import CollectionInfo
from agentkit.knowledge.doctor import size_of

_LARGEST = 5
_FULL_TEXT = (
    "SELECT (SELECT coalesce(sum(length(block)), 0) FROM full_text_data)"
    " + (SELECT coalesce(sum(length(c0) + length(c1)), 0) FROM full_text_content)"
)


@dataclass(frozen=True, slots=True)
class Stats:
    """Sizes in bytes; `indexed_at` is the Unix time of the last write."""

    name: str
    path: Path
    embedder: str
    dimension: int
    documents: int
    characters: int
    chunks: int
    mean_characters: int
    indexed_at: float
    bytes: int
    catalog_bytes: int
    full_text_bytes: int
    vector_bytes: int
    chroma_bytes: int
    largest: tuple[tuple[str, int], ...]


def stats_of(info: CollectionInfo) -> Stats:
    """Read a collection's figures. Raises KnowledgeError where its catalog cannot be read."""
    try:
        with reading(info.path / CATALOG) as connection:
            return _stats(info, connection)
    except sqlite3.Error as error:
        raise KnowledgeError(
            f"{info.name} cannot be read ({error}). Run: agentkit kb doctor"
        ) from error


def _stats(info: CollectionInfo, connection: sqlite3.Connection) -> Stats:
    def number(sql: str) -> int:
        return int(value(connection, sql) or 0)

    files = [path for path in info.path.glob(CATALOG + "*") if not path.name.endswith("-shm")]
    largest = connection.execute(
        f"SELECT source, length(text) FROM documents ORDER BY 2 DESC, 1 LIMIT {_LARGEST}"
    )
    return Stats(
        name=info.name,
        path=info.path,
        embedder=meta(connection, "embedder"),
        dimension=number("SELECT length(vector) / 4 FROM embeddings LIMIT 1"),
        documents=info.documents,
        characters=number("SELECT sum(length(text)) FROM documents"),
        chunks=info.chunks,
        mean_characters=number("SELECT avg(length(text)) FROM chunks WHERE state = 'live'"),
        indexed_at=max((path.stat().st_mtime for path in files), default=0.0),
        bytes=info.bytes,
        catalog_bytes=sum(path.stat().st_size for path in files),
        full_text_bytes=number(_FULL_TEXT),
        vector_bytes=number("SELECT sum(length(vector)) FROM embeddings"),
        chroma_bytes=size_of(info.path / "chroma"),
        largest=tuple((source, characters) for source, characters in largest),
    )
