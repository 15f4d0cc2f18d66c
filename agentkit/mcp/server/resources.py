"""A knowledge base's documents as MCP resources: listed in pages, read whole or in part, their
names completed. Reading looks a source up in the index: no path of the disk is ever opened.

Documents as MCP resources are called: knowledge:///SOURCE, and #char=START,END for a part of
one, as RFC 5147 writes it. A source is a name in the index and never a path on the disk.

Long lists a page at a time. A cursor names the last item given, so that a list which changes
between two pages neither repeats nor skips what stays in it.

Clients that want to hear when a document changes, in both protocol eras.

The index is looked at every few seconds, and only while somebody listens; who changed it, this
process or another, makes no difference.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, unquote

from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
)
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    Completion,
    EmptyResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceLink,
    ResourceTemplate,
    SubscriptionsListenResult,
    TextResourceContents,
)

from agentkit.documents import Document
from agentkit.errors import AgentkitError

if TYPE_CHECKING:
    from mcp.server.connection import Connection
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession
    from mcp_types import (
        SubscribeRequestParams,
        SubscriptionsListenRequestParams,
        UnsubscribeRequestParams,
    )

    from agentkit.knowledge.index.catalog import DocumentInfo
    from agentkit.knowledge.knowledge_base import KnowledgeBase

PREFIX = "knowledge:///"
TEMPLATE = "knowledge:///{+source}"
_RANGE = re.compile(r"#char=(\d{1,12}),(\d{1,12})")


@dataclass(frozen=True, slots=True)
class Address:
    """A document, or characters `start` to `end` of it."""

    source: str
    start: int | None = None
    end: int | None = None

    def __str__(self) -> str:
        path = quote(self.source, safe="/")
        part = "" if self.start is None else f"#char={self.start},{self.end}"
        return f"{PREFIX}{path}{part}"


def read_address(uri: str) -> Address | None:
    """What a URI names, None where it is no address of a document."""
    if not uri.startswith(PREFIX) or len(uri) == len(PREFIX):
        return None
    path, mark, fragment = uri[len(PREFIX) :].partition("#")
    found = _RANGE.fullmatch(mark + fragment)
    if found:
        return Address(unquote(path), int(found[1]), int(found[2]))
    return Address(unquote(uri[len(PREFIX) :]))


PAGE = 100

T = TypeVar("T")


def page_of(
    items: Sequence[T], cursor: str | None, key: Callable[[T], str], size: int = PAGE
) -> tuple[list[T], str | None]:
    """The items after the cursor by their keys' order, and the cursor of the next page if there
    is one. Raises ValueError for a cursor that is none."""
    ordered = sorted(items, key=key)
    first = bisect_right(ordered, _key_of(cursor), key=key) if cursor else 0
    page = ordered[first : first + size]
    more = first + size < len(ordered)
    return page, _cursor_of(key(page[-1])) if more else None


def _cursor_of(key: str) -> str:
    return urlsafe_b64encode(key.encode("utf-8", "surrogatepass")).decode()


def _key_of(cursor: str) -> str:
    try:
        return urlsafe_b64decode(cursor.encode("ascii")).decode("utf-8", "surrogatepass")
    except ValueError as error:
        raise ValueError("The cursor is none of this list's. List from the beginning.") from error


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


MOST_WATCHED = 1000
"""Most documents that are watched for all clients together."""

PATIENCE = 5.0
"""A client that takes longer to hear of a change is left out of it."""


class Changes:
    """The handlers of resources/subscribe, resources/unsubscribe and subscriptions/listen."""

    def __init__(self, knowledge: KnowledgeBase, seconds: float = 2.0) -> None:
        self._knowledge = knowledge
        self._seconds = seconds
        self._bus = InMemorySubscriptionBus()
        self._handler = ListenHandler(self._bus, max_subscriptions=MOST_WATCHED)
        self._listening: dict[object, Sequence[str]] = {}
        self._subscribed: dict[Connection, dict[str, ServerSession]] = {}
        self._seen: dict[str, str] = {}
        self._sources: list[str] | None = None
        self._looking = asyncio.Lock()

    @asynccontextmanager
    async def watched(self, server: object) -> AsyncIterator[dict[str, Any]]:
        """Look for changes while a server runs: its lifespan."""
        task = asyncio.create_task(self._watch(), name="mcp changes")
        try:
            yield {}
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def subscribe(
        self, ctx: ServerRequestContext[Any, Any], params: SubscribeRequestParams
    ) -> EmptyResult:
        uri = str(params.uri)
        if read_address(uri) is None:
            raise not_found(uri, f"{uri!r} is no resource of this server.")
        await self._remember([uri])
        # The one way the SDK has to hear of a connection's end.
        connection = ctx.session._connection
        if connection not in self._subscribed:
            self._subscribed[connection] = {}
            connection.exit_stack.callback(self._subscribed.pop, connection, None)
        self._subscribed[connection][uri] = ctx.session
        return EmptyResult()

    async def unsubscribe(
        self, ctx: ServerRequestContext[Any, Any], params: UnsubscribeRequestParams
    ) -> EmptyResult:
        self._subscribed.get(ctx.session._connection, {}).pop(str(params.uri), None)
        return EmptyResult()

    async def listen(
        self, ctx: ServerRequestContext[Any, Any], params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """One stream of changes, until the client leaves."""
        uris = list(dict.fromkeys(params.notifications.resource_subscriptions or ()))
        await self._remember(uris)
        token = object()
        self._listening[token] = uris
        try:
            return await self._handler(ctx, params)
        finally:
            del self._listening[token]

    async def look(self) -> None:
        """Compare the index with what was seen last, and tell of what changed."""
        async with self._looking:
            wanted = self._wanted()
            if not wanted and not self._listening:
                self._seen, self._sources = {}, None
                return
            self._seen = {uri: mark for uri, mark in self._seen.items() if uri in wanted}
            for uri in wanted:
                mark = await self._mark(uri)
                if self._seen.setdefault(uri, mark) != mark:
                    self._seen[uri] = mark
                    await self._tell(uri)
            await self._look_at_list()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self.look()
            except AgentkitError:  # an index that another process holds is looked at again
                continue

    async def _remember(self, uris: Sequence[str]) -> None:
        """Note how documents are now, before the client is told that it will hear of changes."""
        if len(self._wanted() | set(uris)) > MOST_WATCHED:
            raise MCPError(INVALID_PARAMS, f"At most {MOST_WATCHED} resources are watched.")
        for uri in uris:
            if uri not in self._seen:
                self._seen.setdefault(uri, await self._mark(uri))
        if self._sources is None:
            self._sources = await self._listed()

    async def _look_at_list(self) -> None:
        sources = await self._listed()
        if self._sources is not None and sources != self._sources:
            await self._bus.publish(ResourcesListChanged())
        self._sources = sources

    async def _tell(self, uri: str) -> None:
        await self._bus.publish(ResourceUpdated(uri))
        for uris in list(self._subscribed.values()):
            if uri in uris:
                try:
                    async with asyncio.timeout(PATIENCE):
                        await uris[uri].send_resource_updated(uri)
                except Exception:
                    uris.pop(uri, None)

    def _wanted(self) -> set[str]:
        listening = [*self._listening.values(), *self._subscribed.values()]
        return {uri for uris in listening for uri in uris}

    async def _mark(self, uri: str) -> str:
        """What a document is, in short; "" where there is none."""
        address = read_address(uri)
        if address is None:
            return ""
        try:
            document = await self._knowledge.document(address.source)
        except AgentkitError:
            return ""
        return hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()

    async def _listed(self) -> list[str]:
        return [info.source for info in await self._knowledge.documents()]
