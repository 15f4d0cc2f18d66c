"""LangChain, LlamaIndex and Haystack over whole documents: what ranges does a search find?

Each library's documented splitter at its documented sizes, vectors of our embedder, and Haystack's
hybrid join; a hit is a range of the text that was given.
"""

from __future__ import annotations

import importlib
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from agentkit.documents import Document
from peers.pipeline import Range, RangeSearch
from peers.vectors import KeptEmbedder


def build_all(documents: Sequence[Document], embedder: KeptEmbedder) -> dict[str, RangeSearch]:
    """The searches of the libraries that are installed, by name."""
    found: dict[str, RangeSearch] = {}
    for build in (langchain, llamaindex, haystack):
        try:
            found |= build(documents, embedder)
        except ImportError as error:
            print(
                f"{build.__name__} is left out: {error}. Install the bench group.", file=sys.stderr
            )
    return found


def langchain(documents: Sequence[Document], embedder: KeptEmbedder) -> dict[str, RangeSearch]:
    from langchain_chroma import Chroma
    from langchain_core.documents import Document as Text
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    from agentkit.integrations.langchain.knowledge import LangChainEmbeddings

    splitter = RecursiveCharacterTextSplitter(
        chunk_size=1000, chunk_overlap=200, add_start_index=True
    )
    texts = [Text(page_content=d.text, metadata={"source": d.source}) for d in documents]
    store = Chroma.from_documents(
        splitter.split_documents(texts),
        LangChainEmbeddings(embedder),
        collection_name=uuid.uuid4().hex,
    )

    def search(question: str, k: int) -> list[Range]:
        return [
            Range(
                hit.metadata["source"],
                hit.metadata["start_index"],
                hit.metadata["start_index"] + len(hit.page_content),
            )
            for hit in store.similarity_search(question, k)
        ]

    return {"LangChain + Chroma": search}


def llamaindex(documents: Sequence[Document], embedder: KeptEmbedder) -> dict[str, RangeSearch]:
    from llama_index.core import Document as Text
    from llama_index.core import VectorStoreIndex

    embedding = importlib.import_module("peers.llamaindex").embedding(embedder)
    texts = [Text(text=d.text, doc_id=d.source) for d in documents]
    index = VectorStoreIndex.from_documents(texts, embed_model=embedding)

    def search(question: str, k: int) -> list[Range]:
        found = index.as_retriever(similarity_top_k=k).retrieve(question)
        nodes: list[Any] = [hit.node for hit in found]
        return [Range(n.ref_doc_id, n.start_char_idx or 0, n.end_char_idx or 0) for n in nodes]

    return {"LlamaIndex": search}


def haystack(documents: Sequence[Document], embedder: KeptEmbedder) -> dict[str, RangeSearch]:
    from haystack import Document as Text
    from haystack.components.joiners import DocumentJoiner
    from haystack.components.preprocessors import DocumentSplitter
    from haystack.components.retrievers.in_memory import (
        InMemoryBM25Retriever,
        InMemoryEmbeddingRetriever,
    )
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    texts = [Text(content=d.text, meta={"source": d.source}) for d in documents]
    parts = DocumentSplitter().run(texts)["documents"]
    vectors = embedder.passages([part.content or "" for part in parts])
    store = InMemoryDocumentStore()
    pairs = zip(parts, vectors, strict=True)
    store.write_documents([replace(part, embedding=vector) for part, vector in pairs])
    near, matching = InMemoryEmbeddingRetriever(store), InMemoryBM25Retriever(store)

    def dense(question: str, k: int) -> list[Any]:
        return list(near.run(query_embedding=embedder.query(question), top_k=k)["documents"])

    def keyword(question: str, k: int) -> list[Any]:
        return list(matching.run(query=question, top_k=k)["documents"])

    def joined(mode: str) -> Callable[[str, int], list[Any]]:
        joiner = DocumentJoiner(join_mode=mode)

        def search(question: str, k: int) -> list[Any]:
            both = [dense(question, k), keyword(question, k)]
            return list(joiner.run(documents=both, top_k=k)["documents"])

        return search

    searches = {
        "Haystack, embedding": dense,
        "Haystack, BM25": keyword,
        "Haystack, hybrid (reciprocal rank fusion)": joined("reciprocal_rank_fusion"),
        "Haystack, hybrid (distribution-based)": joined("distribution_based_rank_fusion"),
    }
    return {name: _as_ranges(search) for name, search in searches.items()}


def _as_ranges(search: Callable[[str, int], list[Any]]) -> RangeSearch:
    def ranges(question: str, k: int) -> list[Range]:
        return [
            Range(
                hit.meta["source"],
                hit.meta["split_idx_start"],
                hit.meta["split_idx_start"] + len(hit.content or ""),
            )
            for hit in search(question, k)
        ]

    return ranges
