"""What a knowledge base and an agent offer to MCP clients: tools with described results.

Each call stands alone, so a passage is marked by its chunk's id, never by a session's number.

Our tools as the SDK serves them: with their own schemas, checks, words and approval.

Importing this loads the SDK, which takes a second: import it where a server is built.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterable, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Protocol, get_type_hints

import mcp_types as sdk
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field

from agentkit.answers import Answer, Citation
from agentkit.documents import Document
from agentkit.errors import ConfigError, KnowledgeError, ToolError
from agentkit.events import Event, Finished, ToolProgress, ToolStarted
from agentkit.knowledge.citations.markers import markers
from agentkit.knowledge.search.filters import Filters
from agentkit.mcp.server.approval import approved, can_ask
from agentkit.mcp.server.resources import links, pages
from agentkit.mcp.server.results import (
    CitedAnswer,
    Count,
    DocumentEntry,
    DocumentList,
    DocumentText,
    Passage,
    Passages,
    Place,
    Places,
)
from agentkit.messages import Content, ImagePart, text_of
from agentkit.tools.context import NoContext, ToolContext
from agentkit.tools.tool import Tool, tool

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

    from agentkit.knowledge.index.catalog import DocumentInfo
    from agentkit.knowledge.knowledge_base import KnowledgeBase
    from agentkit.knowledge.search.occurrences import Occurrences

MOST_CHARACTERS = 20_000
PAGE = 100
PLACES = 20
ASKS_AT_ONCE = 8
"""More questions than these wait, so that many clients do not become many model runs."""

Query = Annotated[str, Field(min_length=1, max_length=2000)]
Glob = Annotated[str, Field(max_length=500)]
Page = Annotated[int, Field(ge=1, le=100_000)]


class Answering(Protocol):
    """What of an Agent is offered."""

    def stream(self, prompt: str) -> AsyncGenerator[Event, None]: ...


def knowledge_tools(knowledge: KnowledgeBase) -> tuple[Tool, ...]:
    """search_knowledge, find_all, read_document and list_documents; all of them only read."""

    @tool(idempotent=True)
    async def search_knowledge(
        query: Query,
        k: Annotated[int, Field(ge=1, le=50)] = 5,
        source: Glob = "",
        tags: Annotated[list[str] | None, Field(max_length=20)] = None,
        after: date | None = None,
        before: date | None = None,
    ) -> Passages:
        """Search the documents for the passages that answer a question.

        Cite a passage by its id in square brackets. Read on around it with read_document.

        Args:
            query: A question or keywords, in any language.
            k: How many passages to return.
            source: Only documents of this source or glob, such as "reports/**/*.pdf".
            tags: Only documents that bear all of these tags.
            after: Only documents dated on this day (2024-12-31) or later.
            before: Only documents dated on this day or earlier.
        """
        sources = (source,) if source else ()
        filters = Filters(sources, "", tuple(tags or ()), after=after, before=before)
        hits = await knowledge.search(query, k, filters=filters)
        return Passages(hits=[Passage.of(hit) for hit in hits])

    @tool(idempotent=True)
    async def find_all(
        text: Annotated[str, Field(min_length=1, max_length=200)],
        source: Glob = "",
        page: Page = 1,
    ) -> Places:
        """Find every sentence that holds a word or phrase, word for word, and count them.

        For questions such as "how many" and "list all"; what is meant is found by
        search_knowledge.

        Args:
            text: The word or phrase itself, not a question.
            source: Only documents of this source or glob, such as "reports/**/*.pdf".
            page: Which page of the places to return; each has 20.
        """
        filters = Filters((source,) if source else ())
        return _places(await knowledge.find_all(text, filters=filters), page)

    @tool(idempotent=True)
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
        return part_of(await knowledge.document(source), start, end)

    @tool(idempotent=True)
    async def list_documents(
        containing: Annotated[str, Field(max_length=500)] = "", page: Page = 1
    ) -> DocumentList:
        """List the documents that can be searched and read, 100 a page.

        Args:
            containing: Only those whose source or title contains this.
            page: Which page to return.
        """
        wanted = containing.casefold()
        found = [
            info
            for info in await knowledge.documents()
            if wanted in f"{info.source}\n{info.title}".casefold()
        ]
        return DocumentList(
            documents=[_entry(info) for info in found[(page - 1) * PAGE : page * PAGE]],
            total=len(found),
            next_page=_next(page, PAGE, len(found)),
        )

    return search_knowledge, find_all, read_document, list_documents


def ask_tool(agent: Answering) -> Tool:
    """ask: a whole run of the agent, its steps reported as progress."""
    turns = asyncio.Semaphore(ASKS_AT_ONCE)

    @tool
    async def ask(
        question: Annotated[str, Field(min_length=1, max_length=20_000)], context: ToolContext
    ) -> CitedAnswer:
        """Ask the agent, which searches its documents and answers with citations.

        Each question stands alone. The agent calls no tool that needs a person's approval.

        Args:
            question: The question, in any language.
        """
        if turns.locked():
            context.report("waits for other questions to be answered")
        async with turns:
            answer = await _answer(agent, question, context)
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


def part_of(document: Document, start: int, end: int | None) -> DocumentText:
    """A range of a document, at most MOST_CHARACTERS. Raises KnowledgeError for one past its
    end."""
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


async def _answer(agent: Answering, question: str, context: ToolContext) -> Answer:
    async with aclosing(agent.stream(question)) as events:
        async for event in events:
            match event:
                case ToolStarted(call):
                    context.report(f"calls {call.name}")
                case ToolProgress(call, message):
                    context.report(f"{call.name}: {message}")
                case Finished(answer):
                    return answer
    raise ToolError("The agent stopped before it had an answer. Ask again.", "ask")


def _places(occurrences: Occurrences, page: int) -> Places:
    counts = sorted(occurrences.by_source().items(), key=lambda pair: (-pair[1], pair[0]))
    shown = occurrences.found[(page - 1) * PLACES : page * PLACES]
    return Places(
        times=occurrences.times,
        documents=[Count(source=source, times=times) for source, times in counts[:PAGE]],
        places=[Place.at(occurrence.chunk) for occurrence in shown],
        unread=len(occurrences.unread),
        next_page=_next(page, PLACES, len(occurrences.found)),
    )


def _entry(info: DocumentInfo) -> DocumentEntry:
    return DocumentEntry(
        source=info.source, title=info.title, characters=info.characters, chunks=info.chunks
    )


def _next(page: int, size: int, count: int) -> int | None:
    return page + 1 if page * size < count else None


ASKS = "Runs only after the user has approved the call, which the client asks for."


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool as it is offered. One that `needs_approval` is only there for clients that can ask
    their user; one that `reads_only` changes nothing and stays within the folder. The result of a
    `linked` one holds passages, and gets the addresses of their places."""

    tool: Tool
    title: str = ""
    reads_only: bool = False
    needs_approval: bool = False
    linked: bool = False

    def listed(self) -> sdk.Tool:
        """What a client is told of it."""
        tool = self.tool
        return sdk.Tool(
            name=tool.name,
            title=self.title or None,
            description=f"{tool.description}\n\n{ASKS}"
            if self.needs_approval
            else tool.description,
            input_schema=dict(tool.parameters),
            output_schema=output_schema(tool),
            annotations=sdk.ToolAnnotations(
                read_only_hint=self.reads_only,
                destructive_hint=not self.reads_only,
                idempotent_hint=self.reads_only or tool.idempotent,
                open_world_hint=not self.reads_only,
            ),
        )


class ServedTools:
    """The handlers of tools/*. Raises ConfigError where two tools have one name."""

    def __init__(self, offers: Iterable[Offer]) -> None:
        self._offers: dict[str, Offer] = {}
        self._listed: dict[str, sdk.Tool] = {}
        for offer in offers:
            if offer.tool.name in self._offers:
                raise ConfigError(f"Two tools are called {offer.tool.name!r}: rename one.")
            self._offers[offer.tool.name] = offer
            self._listed[offer.tool.name] = offer.listed()

    async def listing(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.PaginatedRequestParams | None
    ) -> sdk.ListToolsResult:
        tools = [
            self._listed[n] for n, offer in self._offers.items() if _is_for(offer, ctx.session)
        ]
        page, cursor = pages(tools, params, lambda tool: tool.name)
        return sdk.ListToolsResult(tools=page, next_cursor=cursor)

    async def call(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.CallToolRequestParams
    ) -> sdk.CallToolResult | sdk.InputRequiredResult:
        """Run a tool. A failure is told to the model in words; one that is not there is the
        client's mistake and an error of the protocol."""
        offer = self._offers.get(params.name)
        if offer is None:
            raise MCPError(sdk.INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            if offer.needs_approval and (question := await approved(ctx, params)):
                return question
            return await self._ran(offer, params.arguments or {}, ctx)
        except ToolError as error:
            return sdk.CallToolResult(content=[_text(str(error))], is_error=True)

    def schema(self, name: str) -> dict[str, Any] | None:
        """A tool's parameters, by which the SDK checks what HTTP headers say of a call."""
        tool = self._listed.get(name)
        return tool.input_schema if tool else None

    async def _ran(
        self, offer: Offer, arguments: dict[str, Any], ctx: ServerRequestContext[Any, Any]
    ) -> sdk.CallToolResult:
        progress = Progress(ctx.session)
        try:
            result = await offer.tool.run(arguments, progress)
        finally:
            await progress.sent()
        if self._listed[offer.tool.name].output_schema is None:
            return sdk.CallToolResult(content=_blocks(result))
        structured = json.loads(text_of(result))
        found = links(structured) if offer.linked else []
        return sdk.CallToolResult(content=[*_blocks(result), *found], structured_content=structured)


class Progress(NoContext):
    """What a tool reports, sent to the client in order, from whatever thread it comes."""

    def __init__(self, session: ServerSession) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._reports: list[Future[None]] = []
        self._steps = 0

    def report(self, message: str, fraction: float | None = None) -> None:
        self._steps += 1
        said = message if fraction is None else f"{message} ({fraction:.0%})"
        sending = self._session.report_progress(self._steps, None, said)
        self._reports.append(asyncio.run_coroutine_threadsafe(sending, self._loop))

    async def sent(self) -> None:
        """Wait until every report has gone out, or failed to."""
        await asyncio.gather(*map(asyncio.wrap_future, self._reports), return_exceptions=True)


def output_schema(tool: Tool) -> dict[str, Any] | None:
    """The schema of a result that is a pydantic model of an object; others are plain text."""
    result = get_type_hints(tool.function).get("return")
    if not isinstance(result, type) or not issubclass(result, BaseModel):
        return None
    schema = result.model_json_schema(mode="serialization")
    return schema if schema.get("type") == "object" else None


def _is_for(offer: Offer, session: ServerSession) -> bool:
    return not offer.needs_approval or can_ask(session)


def _blocks(result: Content) -> list[Any]:
    if isinstance(result, str):
        return [_text(result)]
    return [
        sdk.ImageContent(data=b64encode(part.data).decode(), mime_type=part.media_type)
        if isinstance(part, ImagePart)
        else _text(part.text)
        for part in result
    ]


def _text(text: str) -> sdk.TextContent:
    return sdk.TextContent(text=text)
