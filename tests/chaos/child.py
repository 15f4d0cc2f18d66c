"""What the chaos tests run in a process of its own: an indexing run that may die at any step.

It is forked from a server that has imported everything, so that a death costs a moment.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import chromadb  # noqa: F401
import numpy as np

from agentkit.errors import KnowledgeError
from agentkit.knowledge.index.vectors import Vectors
from agentkit.knowledge.knowledge_base import KnowledgeBase
from tests.conftest import TermEmbedder

CHUNK_TOKENS = 160
PUBLISHED_CHUNKS = 8
Step = Callable[[str], None]

_PHASES = {
    "BEGIN": "a transaction beginning",
    "INTO embeddings": "vectors being kept",
    "INTO chunks": "chunks being staged",
    "INTO full_text": "documents being published",
    "INTO documents": "documents being published",
    "INTO files": "documents being published",
    "'dead'": "documents being published",
    "DELETE FROM chunks": "dead chunks being forgotten",
    "DELETE FROM documents": "documents being removed",
    "COMMIT": "a commit",
}


class WatchedEmbedder(TermEmbedder):
    """Says when it is called."""

    passages_per_call = 4

    def __init__(self, step: Step) -> None:
        super().__init__()
        self._step = step

    async def embed_passages(self, texts: Sequence[str]) -> np.ndarray:
        self._step("passages being embedded")
        return await super().embed_passages(texts)


class WatchedVectors(Vectors):
    """Says when it is called, before and after."""

    def __init__(self, path: Path, step: Step) -> None:
        super().__init__(path)
        self._step = step

    def count(self) -> int:
        return int(self._watched("Chroma being counted", super().count))

    def upsert(self, ids: Sequence[str], vectors: np.ndarray) -> None:
        self._watched("vectors going into Chroma", super().upsert, ids, vectors)

    def delete(self, ids: Sequence[str]) -> None:
        self._watched("vectors leaving Chroma", super().delete, ids)

    def clear(self) -> None:
        self._watched("Chroma being cleared", super().clear)

    def _watched(self, phase: str, call: Callable[..., Any], *args: object) -> Any:
        self._step(phase)
        result = call(*args)
        self._step(phase)
        return result


class Fate:
    """Writes down every step, and dies at one of them."""

    def __init__(self, log: Path, dies_at: int) -> None:
        self._log = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        self._left = dies_at

    def step(self, phase: str) -> None:
        os.pwrite(self._log, phase.encode().ljust(40), 0)
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def statement(self, sql: str) -> None:
        """A step for every statement that writes, before it runs."""
        phase = next((phase for key, phase in _PHASES.items() if key in sql), "")
        if phase:
            self.step(phase)


def _watch_connections(fate: Fate, most_pages: int) -> None:
    """Trace the statements of each new SQLite connection, and bound the pages of its file."""
    connect = sqlite3.connect

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        if most_pages:
            pages = connection.execute("PRAGMA page_count").fetchone()[0] + most_pages
            connection.execute(f"PRAGMA max_page_count = {pages}")
        connection.set_trace_callback(fate.statement)
        return connection

    sqlite3.connect = watched  # type: ignore[assignment]


def index(home: Path, dies_at: int, most_bytes: int, most_pages: int, wait: float) -> None:
    """Make the index `home/index` hold `home/notes`. Dies at a step, or has files that cannot
    grow beyond `most_bytes`, or a catalog of at most `most_pages` more, where these are not 0. Ends
    with code 3 for a KnowledgeError."""
    fate = Fate(home / "phase", dies_at)
    if most_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    fate.step("opening")
    _watch_connections(fate, most_pages)
    try:
        kb = KnowledgeBase.open(
            home / "index",
            WatchedEmbedder(fate.step),
            chunk_tokens=CHUNK_TOKENS,
            vectors=WatchedVectors(home / "index" / "chroma", fate.step),
            wait=wait,
            published_chunks=PUBLISHED_CHUNKS,
        )
        kb.add_path_sync(home / "notes")
        kb.close()
    except KnowledgeError:
        os._exit(3)
    fate.step("the end")
    os._exit(0)
