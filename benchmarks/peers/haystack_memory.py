"""Haystack's splitter and in-memory retrievers at their defaults: vectors of our embedder, BM25."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from haystack import Document
from haystack.components.preprocessors import DocumentSplitter
from haystack.components.retrievers.in_memory import (
    InMemoryBM25Retriever,
    InMemoryEmbeddingRetriever,
)
from haystack.document_stores.in_memory import InMemoryDocumentStore

from peers.pipeline import Search
from peers.vectors import KeptEmbedder


def build(paragraphs: Sequence[str], embedder: KeptEmbedder) -> dict[str, Search]:
    documents = [Document(content=text, meta={"paragraph": n}) for n, text in enumerate(paragraphs)]
    parts = DocumentSplitter().run(documents)["documents"]
    vectors = embedder.passages([part.content or "" for part in parts])
    store = InMemoryDocumentStore()
    store.write_documents(
        [replace(part, embedding=vector) for part, vector in zip(parts, vectors, strict=True)]
    )
    near, matching = InMemoryEmbeddingRetriever(store), InMemoryBM25Retriever(store)

    def dense(question: str, k: int) -> list[int]:
        return _numbers(near.run(query_embedding=embedder.query(question), top_k=k)["documents"])

    def keyword(question: str, k: int) -> list[int]:
        return _numbers(matching.run(query=question, top_k=k)["documents"])

    return {"Haystack, embedding": dense, "Haystack, BM25": keyword}


def _numbers(found: Sequence[Document]) -> list[int]:
    return [document.meta["paragraph"] for document in found]
