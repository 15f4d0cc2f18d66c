"""The results of what we offer over MCP, as models whose schemas clients read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from agentkit.answers import Answer, Citation
from agentkit.documents import Hit


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Passage(_Value):
    """A passage that a search found: `text` is characters `start` to `end` of `source`."""

    id: str = Field(description="Cite the passage by this id, in square brackets.")
    source: str
    title: str
    heading: str = Field(description="The path of headings above the passage.")
    page: int | None
    start: int
    end: int
    score: float = Field(description="Relevance from 0 to 1.")
    text: str

    @classmethod
    def of(cls, hit: Hit) -> Passage:
        chunk = hit.chunk
        return cls(
            id=chunk.id,
            source=chunk.source,
            title=chunk.title,
            heading=chunk.heading,
            page=chunk.page,
            start=chunk.start,
            end=chunk.end,
            score=hit.score,
            text=chunk.text,
        )


class Passages(_Value):
    """The passages that a search found, best first."""

    hits: list[Passage]


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
    """The documents of the knowledge base, by source."""

    documents: list[DocumentEntry]


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
