"""What a search asks of the catalog: live chunks, their vectors and their full text.

It reads only; what it gives is what the last published write left.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentkit.documents import Chunk
from agentkit.knowledge.catalog import CHUNK_COLUMNS, Catalog, Vector


class Lookup:
    """The questions of a retriever to one catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def live(self, ids: Sequence[str]) -> dict[str, Chunk]:
        """The live chunks among these ids."""
        marks = ",".join("?" * len(ids))
        rows = self._catalog.rows(
            f"SELECT {CHUNK_COLUMNS} FROM chunks WHERE state = 'live' AND id IN ({marks})", ids
        )
        return {str(row[0]): Chunk(*row) for row in rows}

    def vectors(self, ids: Sequence[str]) -> dict[str, Vector]:
        marks = ",".join("?" * len(ids))
        rows = self._catalog.rows(
            f"SELECT id, vector FROM chunks JOIN embeddings USING (content) WHERE id IN ({marks})",
            ids,
        )
        return {row[0]: np.frombuffer(row[1], np.float32) for row in rows}

    def full_text(self, query: str, limit: int) -> list[tuple[str, float]]:
        """(chunk id, BM25) of the live chunks that match an FTS5 query, best first."""
        rows = self._catalog.rows(
            "SELECT chunks.id, -bm25(full_text) FROM full_text JOIN chunks"
            " ON chunks.number = full_text.rowid WHERE full_text MATCH ?"
            " ORDER BY bm25(full_text) LIMIT ?",
            (query, limit),
        )
        return [(row[0], float(row[1])) for row in rows]

    def document_frequency(self, term: str, column: str = "terms") -> int:
        """How many live chunks hold an indexed term, in the form that FTS5 gave it."""
        rows = self._catalog.rows(
            "SELECT doc FROM vocabulary WHERE term = ? AND col = ?", (term, column)
        )
        return int(rows[0][0]) if rows else 0
