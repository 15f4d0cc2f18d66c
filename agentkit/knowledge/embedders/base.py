"""The seam between an index and what turns text into vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]


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


CountMany = Callable[[Sequence[str]], list[int]]


def counter(embedder: Embedder) -> CountMany:
    """How to count the tokens of several texts: the embedder's own `count_many`, which it may
    have where that is quicker than one by one."""
    own: CountMany | None = getattr(embedder, "count_many", None)
    return own or (lambda texts: [embedder.count_tokens(text) for text in texts])


async def close_embedder(embedder: Embedder) -> None:
    """Let go of connections and workers, where an embedder has such."""
    if close := getattr(embedder, "close", None):
        await close()
