"""Convert knowledge bases, embedders and documents between agentkit and LangChain."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from langchain_core.callbacks import (
    AsyncCallbackManagerForRetrieverRun,
    CallbackManagerForRetrieverRun,
)
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from pydantic import SkipValidation

from agentkit._sync import run_sync
from agentkit.backends.base import estimated_tokens
from agentkit.documents import Document, Hit
from agentkit.errors import KnowledgeError
from agentkit.knowledge.embedders.base import Embedder, Vectors, unit
from agentkit.knowledge.knowledge_base import KnowledgeBase


class KnowledgeRetriever(BaseRetriever):
    """A LangChain retriever over a knowledge base. The metadata of each document has the place of
    the passage (source, title, heading, page, start and end in characters) and its score."""

    knowledge: SkipValidation[KnowledgeBase]
    k: int = 5

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
    ) -> list[LangChainDocument]:
        return [_as_document(hit) for hit in self.knowledge.search_sync(query, k or self.k)]

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,
        k: int | None = None,
    ) -> list[LangChainDocument]:
        return [_as_document(hit) for hit in await self.knowledge.search(query, k or self.k)]


class LangChainEmbeddings(Embeddings):
    """LangChain embeddings over an agentkit embedder."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return run_sync(self.aembed_documents(texts))

    def embed_query(self, text: str) -> list[float]:
        return run_sync(self.aembed_query(text))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        return _as_lists(await self._embedder.embed_passages(texts))

    async def aembed_query(self, text: str) -> list[float]:
        return _as_lists(await self._embedder.embed_queries([text]))[0]


class LangChainEmbedder:
    """An agentkit embedder over LangChain embeddings. `name` must identify their model: an index
    built under one name refuses another."""

    def __init__(self, embeddings: Embeddings, name: str) -> None:
        self._embeddings = embeddings
        self._name = name
        self._dimension: int | None = None

    @property
    def name(self) -> str:
        return f"langchain:{self._name}"

    @property
    def dimension(self) -> int:
        """The dimension, known after the first embedding. Raises KnowledgeError before."""
        if self._dimension is None:
            raise KnowledgeError(f"The dimension of {self.name} is unknown. Embed a text first.")
        return self._dimension

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        return self._unit(await self._embeddings.aembed_documents(list(texts)) if texts else [])

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        return self._unit([await self._embeddings.aembed_query(text) for text in texts])

    def count_tokens(self, text: str) -> int:
        return estimated_tokens(text)

    def _unit(self, raw: Sequence[Sequence[float]]) -> Vectors:
        if not raw:
            return np.empty((0, self._dimension or 0), np.float32)
        vectors = unit(np.asarray(raw, np.float32))
        self._dimension = vectors.shape[1]
        return vectors


def as_langchain_document(document: Document) -> LangChainDocument:
    """Convert a document to LangChain's, with source and title in the metadata."""
    named = {"source": document.source, "title": document.title}
    metadata = {**document.metadata, **{key: value for key, value in named.items() if value}}
    return LangChainDocument(page_content=document.text, metadata=metadata, id=document.id or None)


def from_langchain_document(document: LangChainDocument) -> Document:
    """Convert a document of LangChain. Without a source, its id or a hash of its text names it."""
    metadata = dict(document.metadata)
    source = str(metadata.pop("source", "") or document.id or _name_by_hash(document.page_content))
    title = str(metadata.pop("title", "") or "")
    return Document(source, document.page_content, title, document.id or "", metadata)


def _as_document(hit: Hit) -> LangChainDocument:
    chunk = hit.chunk
    metadata: dict[str, Any] = {
        "source": chunk.source,
        "title": chunk.title,
        "heading": chunk.heading,
        "page": chunk.page,
        "start": chunk.start,
        "end": chunk.end,
        "score": hit.score,
        "document_id": chunk.document_id,
    }
    return LangChainDocument(page_content=chunk.text, metadata=metadata, id=chunk.id)


def _as_lists(vectors: Vectors) -> list[list[float]]:
    numbers: list[list[float]] = vectors.tolist()
    return numbers


def _name_by_hash(text: str) -> str:
    return f"langchain-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:16]}"
