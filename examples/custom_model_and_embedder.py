"""Implement a model and an embedder of your own.

A `Model` has a name and one method that yields the parts of a response. An embedder turns texts
into unit vectors. Both are accepted wherever a model or embedder string is.
"""

import asyncio
import tempfile
import zlib
from collections.abc import AsyncGenerator, Sequence

import numpy as np
from numpy.typing import NDArray

from agentkit import (
    Agent,
    Document,
    Done,
    KnowledgeBase,
    Message,
    Model,
    ModelPart,
    Options,
    TextDelta,
    Tool,
)


class LastLine(Model):
    """A model that repeats the last line of the best passage and cites it."""

    @property
    def name(self) -> str:
        return "last-line-1"

    async def stream(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool] = (),
        options: Options = Options(),
    ) -> AsyncGenerator[ModelPart, None]:
        best = next((passage for message in messages for passage in message.passages), None)
        if best is not None:
            yield TextDelta(f"{best.chunk.text.splitlines()[-1]} [{best.marker}]")
        yield Done("stop", self.name)


class HashedWords:
    """An embedder without weights: it counts words in 256 buckets."""

    name = "hashed-words-1"  # with the revision: an index accepts only one
    dimension = 256

    async def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = np.full((len(texts), self.dimension), 1e-6, np.float32)
        for row, text in enumerate(texts):
            for word in text.lower().split():
                vectors[row, zlib.crc32(word.encode()) % self.dimension] += 1
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors

    async def embed_queries(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return await self.embed_passages(texts)

    def count_tokens(self, text: str) -> int:
        return len(text.split())


async def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        KnowledgeBase.open(folder, HashedWords()) as knowledge,
    ):
        await knowledge.add([Document("tea.md", "# Tea\n\nGreen tea brews at 75 degrees.")])
        answer = await Agent(LastLine(), knowledge=knowledge).run("How hot is green tea brewed?")
        print(answer.text, answer.citations[0].chunk.place)


if __name__ == "__main__":
    asyncio.run(main())
