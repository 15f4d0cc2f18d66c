"""A Chroma collection of ids and vectors in a folder, opened in this process.

Chroma takes no lock of its own and answers approximately. A damaged HNSW file can end the process
that opens it: indexes therefore use `chroma_process`, which has this class in a child. A writer
marks the files when it has closed them; files without the mark, after a kill or a fault of the
disk, are compared with the catalog before they are written.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import KnowledgeError
from agentkit.redaction import get_logger

_log = get_logger(__name__)

CONFIGURATION = {"hnsw": {"space": "cosine", "ef_search": 200, "ef_construction": 200}}
_COLLECTION = "chunks"
_BATCH = 5000
_PAGE = 2000
_SEAL = "agentkit-seal"


class Vectors:
    """One Chroma collection in a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._client: Any = None
        self._collection: Any = None
        self._is_changed = False

    @property
    def is_open(self) -> bool:
        return self._client is not None

    def count(self) -> int:
        with self._lock:
            return int(self._open().count())

    def upsert(self, ids: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Store vectors of shape (len(ids), dimension)."""
        with self._changing():
            for at in range(0, len(ids), _BATCH):
                part = slice(at, at + _BATCH)
                self._open().upsert(ids=list(ids[part]), embeddings=vectors[part])

    def delete(self, ids: Sequence[str]) -> None:
        with self._changing():
            for at in range(0, len(ids), _BATCH):
                self._open().delete(ids=list(ids[at : at + _BATCH]))

    def query(self, vector: NDArray[np.float32], k: int) -> list[tuple[str, float]]:
        """(id, cosine similarity) of the nearest k, best first."""
        with self._lock:
            found = self._open().query(
                query_embeddings=[vector], n_results=k, include=["distances"]
            )
        pairs = zip(found["ids"][0], found["distances"][0], strict=True)
        return [(id_, 1.0 - float(distance)) for id_, distance in pairs]

    def pages(self) -> Iterator[tuple[list[str], NDArray[np.float32]]]:
        """Ids and vectors of everything stored, some thousand at a time."""
        with self._lock:
            for at in range(0, self.count(), _PAGE):
                found = self._open().get(limit=_PAGE, offset=at, include=["embeddings"])
                yield found["ids"], np.asarray(found["embeddings"], np.float32)

    def works(self) -> bool:
        """Whether Chroma can be opened at all. Raises KnowledgeError for a server that does not
        answer."""
        try:
            self.count()
        except KnowledgeError:
            raise
        except Exception as error:
            _log.warning("Chroma failed (%s): rebuilding it from the catalog", error)
            return False
        return True

    def clear(self) -> None:
        """Delete every vector and the files, which may be damaged."""
        with self._lock:
            self._is_changed = False
            self.close()
            shutil.rmtree(self._path, ignore_errors=True)

    def close(self) -> None:
        """Release the files; the next use opens them again."""
        with self._lock:
            client, self._client, self._collection = self._client, None, None
            if client is not None:
                client.close()
            if self._is_changed:
                _seal(self._path)
            self._is_changed = False

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._lock:
            if not self._is_changed:
                with suppress(OSError):
                    (self._path / _SEAL).unlink(missing_ok=True)
            self._is_changed = True
            yield

    def _open(self) -> Any:
        if self._client is None:
            import chromadb

            logging.getLogger("chromadb").setLevel(logging.ERROR)
            settings = chromadb.Settings(anonymized_telemetry=False)
            self._client = chromadb.PersistentClient(str(self._path), settings=settings)
        if self._collection is None:
            self._collection = self._client.get_or_create_collection(
                _COLLECTION, embedding_function=None, configuration=CONFIGURATION
            )
        return self._collection


def is_sealed(chroma: Path) -> bool:
    """Whether the HNSW files in Chroma's folder are those that a writer closed; also where there is
    no Chroma yet."""
    try:
        return (chroma / _SEAL).read_text(encoding="ascii") == _fingerprint(chroma)
    except (OSError, ValueError):
        return not (chroma / "chroma.sqlite3").exists()


def _seal(chroma: Path) -> None:
    """Mark the files as they are now. A folder that cannot be written stays without the mark."""
    with suppress(OSError):
        (chroma / _SEAL).write_text(_fingerprint(chroma), encoding="ascii")


def _fingerprint(chroma: Path) -> str:
    """A hash of the names, sizes and times of the files of Chroma's segments."""
    found = sorted(
        (path.relative_to(chroma).as_posix(), path.stat()) for path in chroma.glob("*/*")
    )
    text = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in found)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
