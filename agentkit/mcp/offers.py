"""What a knowledge base and an agent offer to MCP clients: tools with described results.

Each call stands alone, so a passage is marked by its chunk's id, never by a session's number.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import Field

from agentkit.answers import Answer, Citation
from agentkit.documents import Document, Hit
from agentkit.errors import KnowledgeError, ToolError
from agentkit.events import Event, Finished, ToolProgress, ToolStarted
from agentkit.knowledge.markers import markers
from agentkit.mcp.shapes import (
    CitedAnswer,
    DocumentEntry,
    DocumentList,
    DocumentText,
    Passage,
    Passages,
)
from agentkit.tools.context import ToolContext
from agentkit.tools.tool import Tool, tool

if TYPE_CHECKING:
    from agentkit.knowledge.catalog import DocumentInfo

MOST_CHARACTERS = 20_000


class Knowledge(Protocol):
    """What of a KnowledgeBase is offered."""

    async def search(self, query: str, k: int = 5) -> list[Hit]: ...

    async def document(self, source: str) -> Document: ...

    async def documents(self) -> Sequence[DocumentInfo]: ...


class Answering(Protocol):
    """What of an Agent is offered."""

    def stream(self, prompt: str) -> AsyncIterator[Event]: ...


def knowledge_tools(knowledge: Knowledge) -> tuple[Tool, ...]:
    """search_knowledge, read_document and list_documents; all of them only read."""

    @tool
    async def search_knowledge(query: str, k: Annotated[int, Field(ge=1, le=50)] = 5) -> Passages:
        """Search the documents for the passages that answer a question.

        Cite a passage by its id in square brackets. Read on around it with read_document.

        Args:
            query: A question or keywords, in any language.
            k: How many passages to return.
        """
        return Passages(hits=[Passage.of(hit) for hit in await knowledge.search(query, k)])

    @tool
    async def read_document(
        source: str,
        start: Annotated[int, Field(ge=0)] = 0,
        end: Annotated[int, Field(ge=0)] | None = None,
    ) -> DocumentText:
        """Read a document's text, at most 20000 characters at once.

        Where the result's `end` is below its `characters`, read on with it as the next `start`.

        Args:
            source: The document, as search_knowledge and list_documents name it.
            start: First character.
            end: The character after the last one; the end of the document if left out.
        """
        return _part(await knowledge.document(source), start, end)

    @tool
    async def list_documents() -> DocumentList:
        """List the documents that can be searched and read."""
        entries = [
            DocumentEntry(
                source=info.source,
                title=info.title,
                characters=info.characters,
                chunks=info.chunks,
            )
            for info in await knowledge.documents()
        ]
        return DocumentList(documents=entries)

    return search_knowledge, read_document, list_documents


def ask_tool(agent: Answering) -> Tool:
    """ask: a whole run of the agent, its steps reported as progress."""

    @tool
    async def ask(question: str, context: ToolContext) -> CitedAnswer:
        """Ask the agent, which searches its documents and answers with citations.

        Args:
            question: The question, in any language.
        """
        answer: Answer | None = None
        async for event in agent.stream(question):
            match event:
                case ToolStarted(call):
                    context.report(f"calls {call.name}")
                case ToolProgress(call, message):
                    context.report(f"{call.name}: {message}")
                case Finished(answer):
                    pass
        if answer is None:
            raise ToolError("The agent stopped before it had an answer. Ask again.", "ask")
        return CitedAnswer.of(answer, marked_by_id(answer.text, answer.citations))

    return ask


def marked_by_id(text: str, citations: Sequence[Citation]) -> str:
    """The text with a session's numbers replaced by the ids of the chunks they stand for."""
    ids = {citation.marker: citation.chunk.id for citation in citations}
    pieces, reached = [], 0
    for match in markers(text, [citation.chunk.text for citation in citations]):
        group = re.sub(r"\d+", lambda number: ids.get(number[0], number[0]), match[0])
        pieces += [text[reached : match.start()], group]
        reached = match.end()
    return "".join([*pieces, text[reached:]])


def _part(document: Document, start: int, end: int | None) -> DocumentText:
    characters = len(document.text)
    if start > characters:
        raise KnowledgeError(
            f"{document.source} has {characters} characters: start before them, not at {start}."
        )
    last = min(characters if end is None else end, start + MOST_CHARACTERS, characters)
    return DocumentText(
        source=document.source,
        title=document.title,
        start=start,
        end=max(start, last),
        characters=characters,
        text=document.text[start:last],
    )
