"""Vectors cached by the text they were computed from, and the queue of texts to embed.

A vector outlives its document until there are too many, then the oldest are deleted. Texts of many
documents are embedded together in large calls and stored after each call, in their order: a kill
costs only the call in progress.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from agentkit._sync import in_thread
from agentkit.errors import KnowledgeError
from agentkit.knowledge.embedders.base import Embedder, token_embedder
from agentkit.knowledge.index.catalog import Catalog
from agentkit.knowledge.index.token_store import StoredTokens, TokenStore

_PASSAGES_PER_CALL = 32
"""Embedders batch by themselves: larger calls are not faster, and a kill loses more."""
_CHARACTERS_PER_CALL = 25_000
"""Token vectors take a kilobyte a character until they are stored."""
_KEYS_PER_QUERY = 500


class EmbeddingCache:
    """The vectors of one catalog. Writers hold the index's lock. `least_kept` vectors stay, whether
    a chunk uses them or not."""

    def __init__(self, catalog: Catalog, least_kept: int = 10_000) -> None:
        self._catalog = catalog
        self._least_kept = least_kept

    def known(self, contents: Collection[str]) -> set[str]:
        """The keys among these that have a vector."""
        return {row[0] for row in self._rows("content", list(contents))}

    def vectors(self, contents: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of known keys, in their order, shape (contents, dimension)."""
        found = {
            row[0]: np.frombuffer(row[1], np.float32)
            for row in self._rows("content, vector", list(set(contents)))
        }
        return np.stack([found[content] for content in contents])

    def keep(self, contents: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Store vectors in one transaction."""
        blobs = (vector.astype(np.float32).tobytes() for vector in vectors)
        with self._catalog.writing() as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO embeddings VALUES (?, ?)", zip(contents, blobs, strict=True)
            )

    def trim(self) -> None:
        """Delete the oldest unused vectors above `least_kept`, or the number of active chunks."""
        most = max(self._least_kept, self._catalog.count())
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
        for at in range(0, len(contents), _KEYS_PER_QUERY):
            part = contents[at : at + _KEYS_PER_QUERY]
            marks = ",".join("?" * len(part))
            yield from self._catalog.rows(
                f"SELECT {columns} FROM embeddings WHERE content IN ({marks})", part
            )


def content_of(text: str, embedder: str) -> str:
    """The key of the vector that an embedder gives a text."""
    return hashlib.sha256(f"{embedder}\0{text}".encode()).hexdigest()


class EmbeddingQueue:
    """Embeds what the cache lacks. An embedder can ask for larger calls by an attribute,
    `passages_per_call`. `tokens` keeps the token vectors of the same runs while it has room."""

    def __init__(
        self, cache: EmbeddingCache, embedder: Embedder, tokens: TokenStore | None = None
    ) -> None:
        self._cache = cache
        self._embedder = embedder
        self._tokens = tokens
        self._call = int(getattr(embedder, "passages_per_call", _PASSAGES_PER_CALL))
        self._texts: dict[str, str] = {}
        self._put = 0
        self.embedded = 0

    @property
    def is_full(self) -> bool:
        """Whether there is enough for a call."""
        return len(self._texts) >= self._call

    def put(self, texts: Mapping[str, str]) -> int:
        """Queue texts by key, without the known ones. All of them are embedded when `embedded`
        reaches the returned number."""
        lacking = texts.keys() - self._cache.known(texts.keys())
        before = len(self._texts)
        self._texts.update((c, text) for c, text in texts.items() if c in lacking)
        self._put += len(self._texts) - before
        return self._put

    async def embed(self) -> None:
        """Embed and store the texts of one call. Raises KnowledgeError."""
        batch = self._next_batch()
        if not batch:
            return
        vectors = await self._embedded(batch)
        expected = (len(batch), self._embedder.dimension)
        if vectors.shape != expected or not np.isfinite(vectors).all():
            raise KnowledgeError(
                f"The embedder {self._embedder.name} returned vectors of shape {vectors.shape} for "
                f"{len(batch)} texts, or numbers that are not finite. What was indexed before is "
                "kept; check the embedder, then index again."
            )
        await in_thread(self._cache.keep, list(batch), vectors)
        for content in batch:
            del self._texts[content]
        self.embedded += len(batch)

    def _next_batch(self) -> dict[str, str]:
        """The texts of the next call: one, and more while they are not too long together."""
        batch: dict[str, str] = {}
        characters = 0
        for content, text in islice(self._texts.items(), self._call):
            characters += len(text)
            if batch and characters > _CHARACTERS_PER_CALL * self._call / _PASSAGES_PER_CALL:
                break
            batch[content] = text
        return batch

    async def _embedded(self, batch: Mapping[str, str]) -> NDArray[np.float32]:
        texts, embedder = list(batch.values()), token_embedder(self._embedder)
        has_room = self._tokens is not None and await in_thread(self._tokens.has_room)
        if embedder and self._tokens and has_room:
            found = await embedder.embed_tokens(texts)
            kept = {c: StoredTokens.of(one) for c, one in zip(batch, found, strict=True)}
            await in_thread(self._tokens.keep, kept)
            return np.stack([one.whole for one in found])
        return await self._embedder.embed_passages(texts)
