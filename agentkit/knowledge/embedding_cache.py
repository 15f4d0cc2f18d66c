"""Vectors by the text they were made of, so that no embedder is paid twice for a text.

A vector outlives its document, until there are too many such: the oldest of them go first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from agentkit.knowledge.catalog import Catalog
from agentkit.knowledge.schema import content_key

_LEAST_KEPT = 10_000
_AT_ONCE = 500


class EmbeddingCache:
    """The vectors of one catalog. Writers hold the index's lock."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def known(self, contents: Collection[str]) -> set[str]:
        """Those of these names that have a vector."""
        return {row[0] for row in self._rows("content", list(contents))}

    def vectors(self, contents: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of these names, in their order, shape (contents, dimension). All of them
        must be known."""
        found = {
            row[0]: np.frombuffer(row[1], np.float32)
            for row in self._rows("content, vector", list(set(contents)))
        }
        return np.stack([found[content] for content in contents])

    def keep(self, contents: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Write vectors down, at once and for good."""
        blobs = (vector.astype(np.float32).tobytes() for vector in vectors)
        with self._catalog.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO embeddings VALUES (?, ?)", zip(contents, blobs, strict=True)
            )

    def trim(self) -> None:
        """Drop the oldest vectors that no chunk uses, above 10,000 or as many as are live."""
        most = max(_LEAST_KEPT, self._catalog.count())
        if self._catalog.rows("SELECT count(*) FROM embeddings")[0][0] <= most:
            return
        with self._catalog.writing() as connection:
            connection.execute(
                "DELETE FROM embeddings WHERE rowid IN (SELECT rowid FROM embeddings"
                " WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.content ="
                " embeddings.content) ORDER BY rowid DESC LIMIT -1 OFFSET ?)",
                (most,),
            )

    def _rows(self, columns: str, contents: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        for at in range(0, len(contents), _AT_ONCE):
            part = contents[at : at + _AT_ONCE]
            marks = ",".join("?" * len(part))
            yield from self._catalog.rows(
                f"SELECT {columns} FROM embeddings WHERE content IN ({marks})", part
            )


def content_of(text: str, embedder: str) -> str:
    """The name of the vector that an embedder gives a text."""
    return content_key(embedder)(hashlib.sha256(text.encode()).hexdigest())
