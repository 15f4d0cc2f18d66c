"""The structured results of the knowledge tools, whose schemas MCP clients read.

Empty fields are left out: a client's model pays for each.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from agentkit.documents import Chunk, Passage
from agentkit.knowledge.addresses import Address


class Record(BaseModel):
    """A result, or a part of one, without its empty fields."""

    model_config = ConfigDict(frozen=True)

    @model_serializer(mode="wrap")
    def _without_empty(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {
            name: value
            for name, value in serialize(self).items()
            if fields[name].is_required() or value not in (None, "", 0, [], False)
        }


class PassageRecord(Record):
    """Characters `start` to `end` of the document `source`, and their text."""

    id: str = Field(description="Cite the passage by this id in square brackets.")
    uri: str = Field(description="The passage as a resource.")
    source: str
    title: str
    heading: str = Field(description="The headings above it.")
    page: int = 0
    part: str = Field(default="", description="Such as slide 3 or rows 2-9.")
    start: int
    end: int
    text: str


class SearchHit(PassageRecord):
    """A passage that a search found."""

    score: float = Field(description="The probability that it is about the query.")


class SearchResult(Record):
    """The passages that a search found, best first."""

    hits: list[SearchHit]
    note: str = Field(default="", description="What limits the result.")


class SourceCount(Record):
    """How often a text occurs in a document."""

    source: str
    times: int


class FindResult(Record):
    """Where a text occurs word for word: `times` in all, and one page of the sentences."""

    times: int
    documents: list[SourceCount] = Field(description="Most occurrences first.")
    places: list[PassageRecord]
    unread: int = Field(default=0, description="Documents not searched: there were too many.")
    next_page: int | None = Field(description="Null on the last page.")
    note: str = Field(default="", description="What limits the result.")


class HeadingRecord(Record):
    """A heading of a document and the character at which its section starts."""

    heading: str
    start: int


class Outline(Record):
    """A document's size in characters, its headings, and its beginning."""

    source: str
    title: str
    characters: int
    headings: list[HeadingRecord]
    opening: PassageRecord
    note: str = Field(default="", description="What limits the result.")


class DocumentText(PassageRecord):
    """A range of a document that has `characters` of them."""

    characters: int
    note: str = Field(default="", description="What limits the result.")


class DocumentRecord(Record):
    """A document of the knowledge base: its size, its date and its tags."""

    source: str
    title: str
    characters: int
    chunks: int
    date: str = ""
    tags: list[str] = Field(default=[])


class DocumentList(Record):
    """A page of the documents by source; `total` is how many match."""

    documents: list[DocumentRecord]
    total: int
    next_page: int | None = Field(description="Null on the last page.")
    note: str = Field(default="", description="What limits the result.")


def passage_fields(passage: Passage) -> dict[str, Any]:
    """The fields of a PassageRecord."""
    chunk: Chunk = passage.chunk
    names = ("source", "title", "heading", "part", "start", "end", "text")
    return {
        "id": passage.marker,
        "uri": str(Address(chunk.source, chunk.start, chunk.end)),
        "page": chunk.page or 0,
        **{name: getattr(chunk, name) for name in names},
    }
