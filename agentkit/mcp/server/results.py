"""The results of what we offer over MCP, as models whose schemas clients read."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from agentkit.answers import Answer, Citation
from agentkit.documents import Chunk, Hit


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Place(_Value):
    """Characters `start` to `end` of `source`, and their text."""

    id: str = Field(description="Cite the passage by this id, in square brackets.")
    source: str
    title: str
    heading: str = Field(description="The path of headings above the passage.")
    page: int | None
    start: int
    end: int
    text: str

    @classmethod
    def at(cls, chunk: Chunk) -> Place:
        return cls(**_fields(chunk))


class Passage(Place):
    """A passage that a search found: `text` is characters `start` to `end` of `source`."""

    score: float = Field(description="Relevance from 0 to 1.")

    @classmethod
    def of(cls, hit: Hit) -> Passage:
        return cls(**_fields(hit.chunk), score=hit.score)


class Passages(_Value):
    """The passages that a search found, best first."""

    hits: list[Passage]


class Count(_Value):
    """How often a text stands in a document."""

    source: str
    times: int


class Places(_Value):
    """Where a text stands word for word: `times` in all, and one page of the sentences."""

    times: int
    documents: list[Count] = Field(description="The documents it stands in, most often first.")
    places: list[Place]
    unread: int = Field(description="Documents not looked through, for there were too many.")
    next_page: int | None = Field(description="Null where this is the last page.")


class DocumentText(_Value):
    """Characters `start` to `end` of a document that has `characters` of them."""

    source: str
    title: str
    start: int
    end: int
    characters: int
    text: str


class DocumentEntry(_Value):
    """A document of the knowledge base, and its size."""

    source: str
    title: str
    characters: int
    chunks: int


class DocumentList(_Value):
    """A page of the documents that were asked for, by source; `total` is how many there are."""

    documents: list[DocumentEntry]
    total: int
    next_page: int | None = Field(description="Null where this is the last page.")


class CitedPassage(_Value):
    """Where a marker of an answer leads. `quote` is a substring of the source, or null where no
    sentence of it supports what is said."""

    marker: str
    source: str
    heading: str
    page: int | None
    start: int
    end: int
    quote: str | None
    supported: bool

    @classmethod
    def of(cls, citation: Citation) -> CitedPassage:
        chunk = citation.chunk
        return cls(
            marker=chunk.id,
            source=chunk.source,
            heading=chunk.heading,
            page=chunk.page,
            start=citation.start,
            end=citation.end,
            quote=citation.quote,
            supported=citation.supported,
        )


class CitedAnswer(_Value):
    """An answer, and the passages that its markers stand for."""

    answer: str
    citations: list[CitedPassage]
    model: str
    stop_reason: str

    @classmethod
    def of(cls, answer: Answer, text: str) -> CitedAnswer:
        return cls(
            answer=text,
            citations=[CitedPassage.of(citation) for citation in answer.citations],
            model=answer.model,
            stop_reason=answer.stop_reason,
        )


def _fields(chunk: Chunk) -> dict[str, Any]:
    names = ("id", "source", "title", "heading", "page", "start", "end", "text")
    return {name: getattr(chunk, name) for name in names}
