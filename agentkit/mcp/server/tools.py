"""Publish `Tool`s over MCP, and the tool `ask` that runs the agent.

A result with passages gets `structuredContent` of the tool's output schema. Each call stands alone:
a passage is cited by a short id, which `read_document` takes.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from base64 import b64encode
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import mcp_types as sdk
from mcp.server.subscriptions import InMemorySubscriptionBus, ToolsListChanged
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field, ValidationError

from agentkit.answers import Answer, Citation
from agentkit.documents import Chunk, Passage
from agentkit.errors import ConfigError, Retry, ToolError
from agentkit.events import Event, Finished, ToolProgress, ToolStarted
from agentkit.knowledge.addresses import Address, passage_id
from agentkit.knowledge.citations.markers import markers
from agentkit.knowledge.records import Record
from agentkit.mcp.server import approval
from agentkit.mcp.server.indexing import BackgroundIndex
from agentkit.mcp.server.resources import Listers, paginate, resource_links
from agentkit.messages import Content, ImagePart, ToolCall, ToolResult
from agentkit.tools.context import NoContext, ToolContext
from agentkit.tools.repair import fit_arguments
from agentkit.tools.schema import json_schema
from agentkit.tools.tool import Tool, as_text, log_failure, tool

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

MAX_CONCURRENT_QUESTIONS = 8
"""Further questions wait, so that many clients do not become many model runs."""


PROGRESS_SECONDS = 3.0
"""Most time between two reports of progress of a question."""


class CitationRecord(Record):
    """A citation of an answer: characters `start` to `end` of `source`. `quote` is their text;
    without one no sentence there supports the answer."""

    marker: str
    uri: str
    source: str
    heading: str
    page: int = 0
    start: int
    end: int
    quote: str = ""
    supported: bool


class CitedAnswer(Record):
    """An answer, and the passages that its markers stand for."""

    answer: str
    citations: list[CitationRecord]
    model: str
    stop_reason: str
    note: str = Field(default="", description="What limits the answer.")


class AgentRunner(Protocol):
    """The method of an Agent that `ask` needs."""

    def stream(self, prompt: str) -> AsyncGenerator[Event, None]: ...


def ask_tool(agent: AgentRunner, progress_seconds: float = PROGRESS_SECONDS) -> Tool:
    """A tool that runs the agent and reports its steps as progress, or the time at least every few
    seconds."""
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
        clock = asyncio.create_task(_report_time(context, progress_seconds))
        try:
            async with turns:
                answer = await _run_agent(agent, question, context)
        finally:
            clock.cancel()
        text = use_chunk_ids(answer.text, answer.citations)
        structured = CitedAnswer(
            answer=text,
            citations=[_citation_record(citation) for citation in answer.citations],
            model=answer.model,
            stop_reason=answer.stop_reason,
        )
        return ToolResult(text, tuple(map(_quoted_passage, answer.citations)), structured)

    return ask


async def _report_time(context: ToolContext, seconds: float) -> None:
    """Report progress until cancelled, so that a client with a timeout goes on waiting."""
    began = time.monotonic()
    while True:
        await asyncio.sleep(seconds)
        context.report(f"still working, {time.monotonic() - began:.0f} s")


def use_chunk_ids(text: str, citations: Sequence[Citation]) -> str:
    """Replace a session's citation numbers by the ids of the passages."""
    ids = {citation.marker: passage_id(citation.chunk) for citation in citations}
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
    chunk = citation.chunk
    return CitationRecord(
        marker=passage_id(chunk),
        uri=str(Address(chunk.source, citation.start, citation.end)),
        source=chunk.source,
        heading=chunk.heading,
        page=chunk.page or 0,
        start=citation.start,
        end=citation.end,
        quote=citation.quote or "",
        supported=citation.supported,
    )


def _quoted_passage(citation: Citation) -> Passage:
    chunk = citation.chunk
    text = citation.quote or chunk.text
    return Passage(chunk.id, replace(chunk, text=text, start=citation.start, end=citation.end))


@dataclass(frozen=True, slots=True)
class PublishedTool:
    """A tool with its MCP annotations. One that `needs_approval` is listed only for clients that
    can ask their user. One without `effects` only reads the folder's documents; one with effects
    "outside" changes nothing either, but may reach other machines; of others nothing is known.
    With `links`, a result gets links to the resources of its passages."""

    tool: Tool
    title: str = ""
    effects: Literal["none", "outside", "any"] = "any"
    needs_approval: bool = False
    links: bool = False

    def definition(self) -> sdk.Tool:
        """The tool as tools/list returns it."""
        description = self.tool.description
        if self.needs_approval:
            description += f"\n\n{approval.NOTE}"
        output = self.tool.output
        schema = output_schema(output) if output else {}
        return sdk.Tool(
            name=self.tool.name,
            title=self.title or None,
            description=description,
            input_schema=dict(self.tool.parameters),
            output_schema=schema if schema.get("type") == "object" else None,
            annotations=sdk.ToolAnnotations(
                read_only_hint=self.effects == "none",
                destructive_hint=self.effects == "any",
                idempotent_hint=self.effects == "none" or self.tool.idempotent,
                open_world_hint=self.effects != "none",
            ),
        )


class ToolHandlers:
    """The handlers of tools/list and tools/call. Raises ConfigError where two tools have one
    name."""

    def __init__(
        self,
        tools: Iterable[PublishedTool],
        bus: InMemorySubscriptionBus,
        indexing: BackgroundIndex | None = None,
    ) -> None:
        self._bus = bus
        self._indexing = indexing
        self._listers = Listers()
        self._tools = _by_name(tools)
        self._definitions = {name: each.definition() for name, each in self._tools.items()}

    async def replace(self, tools: Iterable[PublishedTool]) -> None:
        """Offer these tools from now on, and notify clients where they are described differently.
        Raises ConfigError."""
        self._tools, before = _by_name(tools), self._definitions
        self._definitions = {name: each.definition() for name, each in self._tools.items()}
        if self._definitions != before:
            await self._bus.publish(ToolsListChanged())
            await self._listers.notify(lambda session: session.send_tool_list_changed())

    async def list_tools(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.PaginatedRequestParams | None
    ) -> sdk.ListToolsResult:
        self._listers.add(ctx)
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
        tool = published.tool
        arguments = fit_arguments(params.arguments or {}, tool.parameters)
        context = _ProgressContext(ctx.session)
        try:
            if published.needs_approval:
                question = await approval.request_approval(ctx, params)
                if question is not None:
                    return question
            result = await self._run(tool, arguments, context)
        except ToolError as error:
            log_failure(ToolCall(str(ctx.request_id), tool.name, arguments), error)
            text = _argument_error(error, tool) or str(error)
            return sdk.CallToolResult(content=[_text_block(text)], is_error=True)
        finally:
            await context.finish()
        links = resource_links(result.passages) if published.links else []
        if self._definitions[tool.name].output_schema is None:
            return sdk.CallToolResult(content=[*_content_blocks(result.prompt_content), *links])
        text = result.text if result.structured is None else as_text(result.structured)
        return sdk.CallToolResult(
            content=[_text_block(text), *links], structured_content=json.loads(text)
        )

    async def _run(self, tool: Tool, arguments: dict[str, Any], context: ToolContext) -> ToolResult:
        """Run a tool; a result that rests on the documents says how many are indexed so far."""
        of_documents = tool.output is not None and issubclass(tool.output, Record)
        if self._indexing is None or not of_documents:
            return await tool.run(arguments, context)
        await self._indexing.settle()
        note = self._indexing.note
        result = await tool.run(arguments, context)
        if not note or not isinstance(result.structured, Record):
            return result
        notes = " ".join(filter(None, (getattr(result.structured, "note", ""), note)))
        structured = result.structured.model_copy(update={"note": notes})
        return replace(result, structured=structured)

    def input_schema(self, name: str) -> dict[str, Any] | None:
        """A tool's parameters, with which the SDK checks the HTTP headers of a call."""
        definition = self._definitions.get(name)
        return definition.input_schema if definition else None


def _by_name(tools: Iterable[PublishedTool]) -> dict[str, PublishedTool]:
    found: dict[str, PublishedTool] = {}
    for each in tools:
        if each.tool.name in found:
            raise ConfigError(f"Two tools are called {each.tool.name!r}: rename one.")
        found[each.tool.name] = each
    return found


class _ProgressContext(NoContext):
    """Sends a tool's progress to the client in order, from whatever thread it comes."""

    def __init__(self, session: ServerSession) -> None:
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._reports: list[Future[None]] = []

    def cite(self, chunk: Chunk) -> str:
        return passage_id(chunk)

    def report(self, message: str, fraction: float | None = None) -> None:
        text = message if fraction is None else f"{message} ({fraction:.0%})"
        sending = self._session.report_progress(len(self._reports) + 1, None, text)
        self._reports.append(asyncio.run_coroutine_threadsafe(sending, self._loop))

    async def finish(self) -> None:
        """Wait until every report was sent, or failed."""
        await asyncio.gather(*map(asyncio.wrap_future, self._reports), return_exceptions=True)


def output_schema(output: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema of a tool's structured results, without what the names say already."""
    schema: dict[str, Any] = json_schema(output, mode="serialization")
    for definition in schema.get("$defs", {}).values():
        definition.pop("description", None)
    return schema


def _argument_error(error: ToolError, tool: Tool) -> str:
    """What is wrong with each argument, "" for an error that is not about arguments."""
    if not isinstance(error, Retry) or not isinstance(error.__cause__, ValidationError):
        return ""
    known: Mapping[str, Any] = tool.parameters.get("properties", {})
    faults = []
    for fault in error.__cause__.errors(include_url=False):
        name = str(fault["loc"][0]) if fault["loc"] else "arguments"
        about = known.get(name, {}).get("description", "")
        faults.append(f"{name}: {fault['msg']}" + (f" ({about})" if about else ""))
    unknown = any(fault["type"] == "extra_forbidden" for fault in error.__cause__.errors())
    hint = f" Its arguments are: {', '.join(known) or 'none'}." if unknown else ""
    return f"Invalid arguments for {tool.name}: {'; '.join(faults)}.{hint}"


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
