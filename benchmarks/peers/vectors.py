"""The one embedder that all pipelines share, each text embedded once and kept in a file.

A vector is found by the embedder's name, the kind of text and the text's hash.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from agentkit.knowledge.embedders.base import (
    Embedder,
    TokenVectors,
    Vectors,
    counter,
    token_embedder,
)

_AT_ONCE = 64


class KeptEmbedder:
    """An Embedder that asks another one for what its file does not hold."""

    def __init__(self, embedder: Embedder, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._embedder = embedder
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("CREATE TABLE IF NOT EXISTS vectors (key TEXT PRIMARY KEY, vector BLOB)")
        self.made = 0

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    def count_tokens(self, text: str) -> int:
        return self._embedder.count_tokens(text)

    def count_many(self, texts: Sequence[str]) -> list[int]:
        return counter(self._embedder)(texts)

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return await self._embedded(texts, "passage")

    async def embed_tokens(
        self, texts: Sequence[str], is_query: bool = False
    ) -> list[TokenVectors]:
        """Token vectors, which only agentkit uses, are computed each time."""
        embedder = token_embedder(self._embedder)
        assert embedder is not None
        return await embedder.embed_tokens(texts, is_query)

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return await self._embedded(texts, "query")

    def passages(self, texts: Sequence[str]) -> list[list[float]]:
        """For peers, whose embedders are synchronous and give lists."""
        found: list[list[float]] = asyncio.run(self.embed_passages(texts)).tolist()
        return found

    def query(self, text: str) -> list[float]:
        """The same for a question."""
        found: list[float] = asyncio.run(self.embed_queries([text]))[0].tolist()
        return found

    async def _embedded(self, texts: Sequence[str], kind: str) -> Vectors:
        keys = [self._key(text, kind) for text in texts]
        known = {key: vector for key in keys if (vector := self._read_vector(key)) is not None}
        lacking = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        wanted = list(lacking.items())
        for at in range(0, len(wanted), _AT_ONCE):
            part = dict(wanted[at : at + _AT_ONCE])
            known |= await self._new(part, kind)
        self.made += len(wanted)
        return np.stack([known[key] for key in keys])

    async def _new(self, texts: dict[str, str], kind: str) -> dict[str, Vectors]:
        embed = getattr(self._embedder, "embed_passages" if kind == "passage" else "embed_queries")
        vectors = np.asarray(await embed(list(texts.values())), np.float32)
        rows = [(key, vector.tobytes()) for key, vector in zip(texts, vectors, strict=True)]
        self._db.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        return dict(zip(texts, vectors, strict=True))

    def _read_vector(self, key: str) -> Vectors | None:
        row = self._db.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
        return np.frombuffer(row[0], np.float32) if row else None

    def _key(self, text: str, kind: str) -> str:
        return hashlib.sha256(f"{self.name}\0{kind}\0{text}".encode()).hexdigest()
