"""What an agent may ask of a knowledge base: search it, read a document, list the documents."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from agentkit.documents import Chunk, Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.passages import Passage, write_passages
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool, tool

SEARCH = "search_knowledge"
READ_LIMIT = 8000
"""Most characters that one `read_document` gives."""

NOTHING_FOUND = "No passage was found. The documents do not seem to hold this."


def knowledge_tools(knowledge: KnowledgeBase, results: int = 5) -> tuple[Tool, ...]:
    """The tools over a knowledge base; `results` is how many passages a search gives."""

    @tool(name=SEARCH)
    async def search(
        query: Annotated[str, Field(min_length=1, max_length=2000)],
        context: ToolContext,
        k: Annotated[int, Field(ge=1, le=50)] = results,
    ) -> str:
        """Search the documents. Gives the passages that best match, each with an id to cite.

        Args:
            query: What to look for, as a full question or statement in any language.
            k: How many passages to give.
        """
        hits = await knowledge.search(query, k)
        passages = [_passage(hit.chunk, context, hit.score) for hit in hits]
        return write_passages(passages) or NOTHING_FOUND

    @tool
    async def read_document(
        source: str,
        context: ToolContext,
        start: Annotated[int, Field(ge=0)] = 0,
        end: Annotated[int | None, Field(ge=1)] = None,
    ) -> str:
        """Read a document, or a range of it, as it stands.

        Args:
            source: The document's source, as a search or list_documents names it.
            start: The first character to read.
            end: The character to stop before. At most 8000 characters are given at once.
        """
        return _read(await knowledge.document(source), start, end, context)

    @tool
    async def list_documents() -> str:
        """List every document: its source, its title and its length in characters."""
        found = await knowledge.documents()
        lines = [f"{d.source}: {d.title} ({d.characters} characters)" for d in found]
        return "\n".join(lines) or "There are no documents."

    return search, read_document, list_documents


def range_of(document: Document, start: int, end: int | None) -> Chunk:
    """A range of a document as a chunk, at most READ_LIMIT long. Raises KnowledgeError for a
    range that is empty."""
    size = len(document.text)
    stop = min(size, end if end is not None else size, start + READ_LIMIT)
    if start >= stop and size:
        raise KnowledgeError(
            f"{document.source} has {size} characters: there is nothing from {start} to "
            f"{end if end is not None else size}."
        )
    identity = f"{document.id}:{start}-{stop}"
    text = document.text[start:stop]
    return Chunk(identity, document.id, document.source, document.title, "", text, start, stop)


def _read(document: Document, start: int, end: int | None, context: ToolContext) -> str:
    chunk = range_of(document, start, end)
    text = write_passages([_passage(chunk, context, None)])
    left = len(document.text) - chunk.end
    return f"{text}\n({left} more characters: read on with start={chunk.end}.)" if left else text


def _passage(chunk: Chunk, context: ToolContext, relevance: float | None) -> Passage:
    marker = context.cite(chunk)
    return Passage(marker, chunk.source, chunk.heading, chunk.text, chunk.page, relevance)
