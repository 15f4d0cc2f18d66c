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
from agentkit.mcp.server import approval
from agentkit.mcp.server.resources import paginate, resource_links
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
from agentkit.messages import Content, ImagePart
from agentkit.tools.context import NoContext, ToolContext
from agentkit.tools.tool import Tool, tool

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

    from agentkit.knowledge.index.catalog import DocumentInfo
    from agentkit.knowledge.knowledge_base import KnowledgeBase
    from agentkit.knowledge.search.lookup import Occurrences

MOST_CHARACTERS = 20_000
PAGE = 100
PLACES = 20
ASKS_AT_ONCE = 8
"""More questions than these wait, so that many clients do not become many model runs."""

Query = Annotated[str, Field(min_length=1, max_length=2000)]
Glob = Annotated[str, Field(max_length=500)]
Page = Annotated[int, Field(ge=1, le=100_000)]


class AgentRunner(Protocol):
    """The method of an Agent that `ask` needs."""

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


def ask_tool(agent: AgentRunner) -> Tool:
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


async def _answer(agent: AgentRunner, question: str, context: ToolContext) -> Answer:
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


@dataclass(frozen=True, slots=True)
class PublishedTool:
    """A tool with its MCP annotations. One that `needs_approval` is listed only for clients that
    can ask their user; a `read_only` one changes nothing and uses nothing outside the folder. The
    result of one that `has_passages` gets links to the places of its passages."""

    tool: Tool
    title: str = ""
    read_only: bool = False
    needs_approval: bool = False
    has_passages: bool = False

    def definition(self) -> sdk.Tool:
        """The tool as tools/list returns it."""
        description = self.tool.description
        if self.needs_approval:
            description += f"\n\n{approval.NOTE}"
        return sdk.Tool(
            name=self.tool.name,
            title=self.title or None,
            description=description,
            input_schema=dict(self.tool.parameters),
            output_schema=_output_schema(self.tool),
            annotations=sdk.ToolAnnotations(
                read_only_hint=self.read_only,
                destructive_hint=not self.read_only,
                idempotent_hint=self.read_only or self.tool.idempotent,
                open_world_hint=not self.read_only,
            ),
        )


class ToolHandlers:
    """The handlers of tools/list and tools/call. Raises ConfigError where two tools have one
    name."""

    def __init__(self, tools: Iterable[PublishedTool]) -> None:
        self._tools: dict[str, PublishedTool] = {}
        self._definitions: dict[str, sdk.Tool] = {}
        for published in tools:
            name = published.tool.name
            if name in self._tools:
                raise ConfigError(f"Two tools are called {name!r}: rename one.")
            self._tools[name] = published
            self._definitions[name] = published.definition()

    async def list_tools(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.PaginatedRequestParams | None
    ) -> sdk.ListToolsResult:
        tools = [
            self._definitions[name]
            for name, published in self._tools.items()
            if not published.needs_approval or approval.can_ask(ctx.session)
        ]
        page, cursor = paginate(tools, params, lambda tool: tool.name)
        return sdk.ListToolsResult(tools=page, next_cursor=cursor)

    async def call_tool(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.CallToolRequestParams
    ) -> sdk.CallToolResult | sdk.InputRequiredResult:
        """Run a tool. A failure is a result for the model; an unknown tool is an error of the
        protocol."""
        published = self._tools.get(params.name)
        if published is None:
            raise MCPError(sdk.INVALID_PARAMS, f"Unknown tool: {params.name}")
        try:
            if published.needs_approval:
                question = await approval.request_approval(ctx, params)
                if question is not None:
                    return question
            return await self._run(published, params.arguments or {}, ctx)
        except ToolError as error:
            return sdk.CallToolResult(content=[_text_block(str(error))], is_error=True)

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """A tool's parameters, with which the SDK checks the HTTP headers of a call."""
        definition = self._definitions.get(name)
        return definition.input_schema if definition else None

    async def _run(
        self,
        published: PublishedTool,
        arguments: dict[str, Any],
        ctx: ServerRequestContext[Any, Any],
    ) -> sdk.CallToolResult:
        context = _ProgressContext(ctx.session)
        try:
            result = await published.tool.run(arguments, context)
        finally:
            await context.finish()
        if self._definitions[published.tool.name].output_schema is None:
            return sdk.CallToolResult(content=_content_blocks(result.prompt_content))
        structured = json.loads(result.text)
        links: list[Any] = []
        if published.has_passages:
            links += resource_links([*structured.get("hits", ()), *structured.get("citations", ())])
        return sdk.CallToolResult(
            content=[*_content_blocks(result.content), *links], structured_content=structured
        )


class _ProgressContext(NoContext):
    """Sends a tool's progress to the client in order, from whatever thread it comes."""

    def __init__(self, session: ServerSession) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._reports: list[Future[None]] = []

    def report(self, message: str, fraction: float | None = None) -> None:
        text = message if fraction is None else f"{message} ({fraction:.0%})"
        sending = self._session.report_progress(len(self._reports) + 1, None, text)
        self._reports.append(asyncio.run_coroutine_threadsafe(sending, self._loop))

    async def finish(self) -> None:
        """Wait until every report was sent, or failed."""
        await asyncio.gather(*map(asyncio.wrap_future, self._reports), return_exceptions=True)


def _output_schema(tool: Tool) -> dict[str, Any] | None:
    """The schema of a result that is a pydantic model of an object, None for other results."""
    result = get_type_hints(tool.function).get("return")
    if not isinstance(result, type) or not issubclass(result, BaseModel):
        return None
    schema = result.model_json_schema(mode="serialization")
    return schema if schema.get("type") == "object" else None


def _content_blocks(content: Content) -> list[Any]:
    if isinstance(content, str):
        return [_text_block(content)]
    return [
        sdk.ImageContent(data=b64encode(part.data).decode(), mime_type=part.media_type)
        if isinstance(part, ImagePart)
        else _text_block(part.text)
        for part in content
    ]


def _text_block(text: str) -> sdk.TextContent:
    return sdk.TextContent(text=text)
