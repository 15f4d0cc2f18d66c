"""LlamaIndex's VectorStoreIndex with its default splitter and retriever, and our embedder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.embeddings import BaseEmbedding
from pydantic import PrivateAttr

from peers.pipeline import Search
from peers.vectors import KeptEmbedder


class _Embedding(BaseEmbedding):
    _embedder: KeptEmbedder = PrivateAttr()

    def __init__(self, embedder: KeptEmbedder, **values: Any) -> None:
        super().__init__(model_name=embedder.name, **values)
        self._embedder = embedder

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._embedder.passages(texts)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._embedder.passages([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._embedder.query(query)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._embedder.query(query)


def embedding(embedder: KeptEmbedder) -> BaseEmbedding:
    """Our embedder as LlamaIndex takes one."""
    return _Embedding(embedder)


def build(paragraphs: Sequence[str], embedder: KeptEmbedder) -> dict[str, Search]:
    # The number is the document's id: metadata would be embedded with the text.
    documents = [Document(text=text, doc_id=str(n)) for n, text in enumerate(paragraphs)]
    index = VectorStoreIndex.from_documents(documents, embed_model=_Embedding(embedder))

    def search(question: str, k: int) -> list[int]:
        found = index.as_retriever(similarity_top_k=k).retrieve(question)
        return [int(hit.node.ref_doc_id or -1) for hit in found]

    return {"LlamaIndex": search}
