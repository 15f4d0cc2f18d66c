"""Vectors in a Chroma of the index's own folder; those on a server are in chroma_server.py.

Chroma takes no lock of its own and answers approximately: the catalog says what is live, and
serves by exact scan when Chroma fails. A reader must reopen after another process has written.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import KnowledgeError

_log = logging.getLogger(__name__)

_COLLECTION = "chunks"
_BATCH = 5000
_PAGE = 2000
CONFIGURATION = {"hnsw": {"space": "cosine", "ef_search": 200, "ef_construction": 200}}


class Vectors:
    """One Chroma collection in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._client: Any = None
        self._collection: Any = None

    def count(self) -> int:
        with self._lock:
            return int(self._opened().count())

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Store vectors of shape (len(ids), dimension)."""
        with self._lock:
            for at in range(0, len(ids), _BATCH):
                part = slice(at, at + _BATCH)
                self._opened().upsert(ids=list(ids[part]), embeddings=vectors[part])

    def delete(self, ids: Sequence[str]) -> None:
        with self._lock:
            for at in range(0, len(ids), _BATCH):
                self._opened().delete(ids=list(ids[at : at + _BATCH]))

    def query(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """(id, cosine similarity) of the nearest k, best first."""
        with self._lock:
            found = self._opened().query(
                query_embeddings=[vector], n_results=k, include=["distances"]
            )
        pairs = zip(found["ids"][0], found["distances"][0], strict=True)
        return [(id_, 1.0 - float(distance)) for id_, distance in pairs]

    def pages(self) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Ids and vectors of everything stored, some thousand at a time."""
        with self._lock:
            for at in range(0, self.count(), _PAGE):
                found = self._opened().get(limit=_PAGE, offset=at, include=["embeddings"])
                yield found["ids"], np.asarray(found["embeddings"], np.float32)

    def works(self) -> bool:
        """Whether Chroma can be opened at all; a damaged one cannot. Raises KnowledgeError for
        one that is away."""
        try:
            self.count()
        except KnowledgeError:
            raise
        except Exception as error:
            _log.warning("Chroma failed (%s): building it anew from the catalog", error)
            return False
        return True

    def clear(self) -> None:
        """Delete every vector and the files, which may be damaged."""
        with self._lock:
            self.close()
            shutil.rmtree(self._path, ignore_errors=True)

    def close(self) -> None:
        """Let go of the files; the next use opens them anew."""
        with self._lock:
            client, self._client, self._collection = self._client, None, None
            if client is not None:
                client.close()

    def _opened(self) -> Any:
        if self._client is None:
            self._client = _client(self._path)
        if self._collection is None:
            self._collection = self._client.get_or_create_collection(
                _COLLECTION, embedding_function=None, configuration=CONFIGURATION
            )
        return self._collection


def _client(path: Path) -> Any:
    import chromadb

    logging.getLogger("chromadb").setLevel(logging.ERROR)
    return chromadb.PersistentClient(
        str(path), settings=chromadb.Settings(anonymized_telemetry=False)
    )
