"""A knowledge base's documents as MCP resources: listed in pages, read whole or in part, their
names completed. Reading looks a source up in the index: no path of the disk is ever opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    Completion,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceLink,
    ResourceTemplate,
    TextResourceContents,
)

from agentkit.documents import Document
from agentkit.errors import AgentkitError
from agentkit.mcp.addresses import TEMPLATE, Address, read_address
from agentkit.mcp.paging import page_of

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

    from agentkit.knowledge.catalog import DocumentInfo
    from agentkit.knowledge.knowledge_base import KnowledgeBase

MOST_CHARACTERS = 1_000_000
"""Most characters that one read of a resource gives."""

MOST_COMPLETIONS = 100
MOST_LINKS = 50


class Library:
    """The handlers of resources/* over one knowledge base."""

    def __init__(self, knowledge: KnowledgeBase) -> None:
        self._knowledge = knowledge

    async def listing(
        self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        infos = await self._knowledge.documents()
        page, cursor = pages(infos, params, lambda info: info.source)
        return ListResourcesResult(resources=[_resource(info) for info in page], next_cursor=cursor)

    async def templates(
        self, ctx: ServerRequestContext[Any, Any], params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        template = ResourceTemplate(
            uri_template=TEMPLATE,
            name="document",
            title="A document",
            description="A document by its source; add #char=START,END for a part of it.",
        )
        return ListResourceTemplatesResult(resource_templates=[template])

    async def read(
        self, ctx: ServerRequestContext[Any, Any], params: ReadResourceRequestParams
    ) -> ReadResourceResult:
        uri = str(params.uri)
        address = read_address(uri)
        if address is None:
            raise not_found(uri, f"{uri!r} is no resource of this server; they are {TEMPLATE}.")
        try:
            document = await self._knowledge.document(address.source)
        except AgentkitError as error:
            raise not_found(uri, str(error)) from error
        return ReadResourceResult(contents=[contents(document, address, uri)])

    async def sources(self, begun: str) -> Completion:
        """The sources that contain what was typed, those that begin with it first."""
        typed = begun.casefold()
        found = [
            d.source for d in await self._knowledge.documents() if typed in d.source.casefold()
        ]
        found.sort(key=lambda source: (not source.casefold().startswith(typed), source))
        return completion(found)


def contents(document: Document, address: Address, uri: str) -> TextResourceContents:
    """A document, or the part of it that an address names. Raises MCPError where it is larger
    than a read gives, or the part is not there."""
    size = len(document.text)
    start, end = (0, size) if address.start is None else (address.start, address.end or 0)
    if not start <= end <= size:
        raise not_found(uri, f"{document.source} has {size} characters: {start} to {end} are none.")
    if end - start > MOST_CHARACTERS:
        part = Address(document.source, 0, MOST_CHARACTERS)
        raise MCPError(
            INVALID_PARAMS,
            f"{end - start} characters are more than a read gives. Read parts, such as {part}.",
            {"uri": uri},
        )
    kind = mime_type(document.source)
    return TextResourceContents(uri=uri, mime_type=kind, text=document.text[start:end])


def links(structured: dict[str, Any]) -> list[ResourceLink]:
    """Where the passages and citations of a tool's result stand, each place once."""
    found: dict[str, ResourceLink] = {}
    for passage in [*structured.get("hits", ()), *structured.get("citations", ())]:
        address = Address(passage["source"], passage["start"], passage["end"])
        found[str(address)] = ResourceLink(
            uri=str(address),
            name=address.source,
            title=passage["heading"] or None,
            mime_type=mime_type(address.source),
        )
    return list(found.values())[:MOST_LINKS]


def pages(items: Any, params: PaginatedRequestParams | None, key: Any) -> tuple[list[Any], Any]:
    """A page of a list, and the next cursor. Raises MCPError for a cursor that is none."""
    try:
        return page_of(items, params.cursor if params else None, key)
    except ValueError as error:
        raise MCPError(INVALID_PARAMS, str(error)) from error


def completion(found: list[str]) -> Completion:
    """As many of what was found as a completion may hold."""
    shown = found[:MOST_COMPLETIONS]
    return Completion(values=shown, total=len(found), has_more=len(found) > len(shown))


def mime_type(source: str) -> str:
    """Of a document's text, which is text whatever its file was."""
    return "text/markdown" if source.lower().endswith((".md", ".markdown")) else "text/plain"


def not_found(uri: str, words: str) -> MCPError:
    """The protocol's word for a resource that is not there."""
    return MCPError(INVALID_PARAMS, words, {"uri": uri})


def _resource(info: DocumentInfo) -> Resource:
    return Resource(
        uri=str(Address(info.source)),
        name=info.source,
        title=info.title or None,
        description=f"{info.characters} characters",
        mime_type=mime_type(info.source),
    )
