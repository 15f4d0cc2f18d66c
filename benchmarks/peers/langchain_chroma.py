"""LangChain's recursive splitter and Chroma, at their defaults, with our embedder."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from langchain_chroma import Chroma
from langchain_core.documents import Document
from langchain_text_splitters import RecursiveCharacterTextSplitter

from agentkit.integrations.langchain.knowledge import LangChainEmbeddings
from peers.pipeline import Search
from peers.vectors import KeptEmbedder


def build(paragraphs: Sequence[str], embedder: KeptEmbedder) -> dict[str, Search]:
    documents = [
        Document(page_content=text, metadata={"paragraph": number})
        for number, text in enumerate(paragraphs)
    ]
    parts = RecursiveCharacterTextSplitter().split_documents(documents)
    # Collections in memory outlive their stores: each set needs one of its own.
    store = Chroma.from_documents(
        parts, LangChainEmbeddings(embedder), collection_name=uuid.uuid4().hex
    )

    def search(question: str, k: int) -> list[int]:
        return [hit.metadata["paragraph"] for hit in store.similarity_search(question, k)]

    return {"LangChain + Chroma": search}
