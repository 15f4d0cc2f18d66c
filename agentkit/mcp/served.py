"""Our tools as the SDK serves them: with their own schemas, checks, words and approval.

Importing this loads the SDK, which takes a second: import it where a server is built.
"""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

import mcp_types as sdk
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from agentkit.errors import ConfigError, ToolError
from agentkit.mcp.approving import approved, can_ask
from agentkit.mcp.library import links, pages
from agentkit.messages import Content, ImagePart, text_of
from agentkit.tools.context import NoContext
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

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
