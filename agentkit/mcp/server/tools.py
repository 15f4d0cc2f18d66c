"""Publish `Tool`s over MCP, and the tool `ask` that runs the agent.

A result with passages gets `structuredContent` of the tool's output schema, and links to the
resources that it quotes. Each call stands alone: a passage is cited by its chunk's id.
"""

from __future__ import annotations

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterable, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import mcp_types as sdk
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ConfigDict, Field

from agentkit.answers import Answer, Citation
from agentkit.documents import Passage
from agentkit.errors import ConfigError, ToolError
from agentkit.events import Event, Finished, ToolProgress, ToolStarted
from agentkit.knowledge.citations.markers import markers
from agentkit.mcp.server import approval
from agentkit.mcp.server.resources import paginate, resource_links
from agentkit.messages import Content, ImagePart, ToolCall, ToolResult
from agentkit.tools.context import NoContext, ToolContext
from agentkit.tools.tool import Tool, as_text, log_failure, tool

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

MAX_CONCURRENT_QUESTIONS = 8
"""Further questions wait, so that many clients do not become many model runs."""


class CitationRecord(BaseModel):
    """A citation of an answer: characters `start` to `end` of `source`. `quote` is their text, or
    null where no sentence there supports the answer."""

    model_config = ConfigDict(frozen=True)

    marker: str
    source: str
    heading: str
    page: int | None
    start: int
    end: int
    quote: str | None
    supported: bool


class CitedAnswer(BaseModel):
    """An answer, and the passages that its markers stand for."""

    model_config = ConfigDict(frozen=True)

    answer: str
    citations: list[CitationRecord]
    model: str
    stop_reason: str


class AgentRunner(Protocol):
    """The method of an Agent that `ask` needs."""

    def stream(self, prompt: str) -> AsyncGenerator[Event, None]: ...


def ask_tool(agent: AgentRunner) -> Tool:
    """A tool that runs the agent and reports its steps as progress."""
    turns = asyncio.Semaphore(MAX_CONCURRENT_QUESTIONS)

    @tool(output=CitedAnswer)
    async def ask(
        question: Annotated[str, Field(min_length=1, max_length=20_000)], context: ToolContext
    ) -> ToolResult:
        """Ask the agent, which searches its documents and answers with citations.

        Each question stands alone. The agent calls no tool that needs a person's approval.

        Args:
            question: The question, in any language.
        """
        if turns.locked():
            context.report("waits for other questions to be answered")
        async with turns:
            answer = await _run_agent(agent, question, context)
        text = use_chunk_ids(answer.text, answer.citations)
        structured = CitedAnswer(
            answer=text,
            citations=[_citation_record(citation) for citation in answer.citations],
            model=answer.model,
            stop_reason=answer.stop_reason,
        )
        return ToolResult(text, tuple(map(_quoted_passage, answer.citations)), structured)

    return ask


def use_chunk_ids(text: str, citations: Sequence[Citation]) -> str:
    """Replace a session's citation numbers by the ids of the chunks."""
    ids = {citation.marker: citation.chunk.id for citation in citations}
    pieces, reached = [], 0
    for match in markers(text, [citation.chunk.text for citation in citations]):
        group = re.sub(r"\d+", lambda number: ids.get(number[0], number[0]), match[0])
        pieces += [text[reached : match.start()], group]
        reached = match.end()
    return "".join([*pieces, text[reached:]])


async def _run_agent(agent: AgentRunner, question: str, context: ToolContext) -> Answer:
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


def _citation_record(citation: Citation) -> CitationRecord:
    return CitationRecord(
        marker=citation.chunk.id,
        source=citation.chunk.source,
        heading=citation.chunk.heading,
        page=citation.chunk.page,
        start=citation.start,
        end=citation.end,
        quote=citation.quote,
        supported=citation.supported,
    )


def _quoted_passage(citation: Citation) -> Passage:
    chunk = citation.chunk
    text = citation.quote or chunk.text
    return Passage(chunk.id, replace(chunk, text=text, start=citation.start, end=citation.end))


@dataclass(frozen=True, slots=True)
class PublishedTool:
    """A tool with its MCP annotations. One that `needs_approval` is listed only for clients that
    can ask their user; a `read_only` one changes nothing and uses nothing outside the folder. With
    `links`, a result gets links to the resources of its passages."""

    tool: Tool
    title: str = ""
    read_only: bool = False
    needs_approval: bool = False
    links: bool = False

    def definition(self) -> sdk.Tool:
        """The tool as tools/list returns it."""
        description = self.tool.description
        if self.needs_approval:
            description += f"\n\n{approval.NOTE}"
        output = self.tool.output
        schema = output.model_json_schema(mode="serialization") if output else {}
        return sdk.Tool(
            name=self.tool.name,
            title=self.title or None,
            description=description,
            input_schema=dict(self.tool.parameters),
            output_schema=schema if schema.get("type") == "object" else None,
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
        context = _ProgressContext(ctx.session)
        try:
            if published.needs_approval:
                question = await approval.request_approval(ctx, params)
                if question is not None:
                    return question
            result = await published.tool.run(params.arguments or {}, context)
        except ToolError as error:
            log_failure(ToolCall(str(ctx.request_id), params.name, params.arguments or {}), error)
            return sdk.CallToolResult(content=[_text_block(str(error))], is_error=True)
        finally:
            await context.finish()
        links = resource_links(result.passages) if published.links else []
        if self._definitions[params.name].output_schema is None:
            return sdk.CallToolResult(content=[*_content_blocks(result.prompt_content), *links])
        text = result.text if result.structured is None else as_text(result.structured)
        return sdk.CallToolResult(
            content=[_text_block(text), *links], structured_content=json.loads(text)
        )

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """A tool's parameters, with which the SDK checks the HTTP headers of a call."""
        definition = self._definitions.get(name)
        return definition.input_schema if definition else None


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
