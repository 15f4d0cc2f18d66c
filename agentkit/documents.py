"""Documents, the chunks they are cut into, and the hits a search finds. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Document:
    """A text and where it comes from.

    `text` is the decoded file as it stands, so that offsets into it are offsets into the file.
    `id` is empty until a knowledge base gives it one; `source` names the document there.
    """

    source: str
    text: str
    title: str = ""
    id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document: `document.text[start:end] == chunk.text`, always.

    `heading` is the path of headings above it, outermost first, joined by " > ".
    """

    id: str
    document_id: str
    source: str
    title: str
    heading: str
    text: str
    start: int
    end: int
    page: int | None = None

    @property
    def place(self) -> str:
        """Where it stands, for people: file, page and the headings below the title."""
        page = f" p. {self.page}" if self.page is not None else ""
        path = self.heading.split(" > ")
        below = path[1:] if path[0].startswith(self.title) else path
        return " > ".join([f"{self.source}{page}", *(name for name in below if name)])


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search found. `score` is a relevance from 0 to 1, comparable across queries;
    the ranks are its places (from 1) in the two legs, None where a leg did not find it."""

    chunk: Chunk
    score: float
    dense_rank: int | None = None
    keyword_rank: int | None = None
