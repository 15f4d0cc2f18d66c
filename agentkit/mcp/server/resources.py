"""Documents of a knowledge base as MCP resources: listed, read, completed and watched.

A resource is a document or a part of it, at its address (see `agentkit.knowledge.addresses`). For
subscribers in both versions of the protocol, and for clients that listed the resources, the index
is compared every few seconds, whichever process changes it.
"""

from __future__ import annotations

import asyncio
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import mcp_types as sdk
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
)
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from agentkit._sync import in_background
from agentkit.documents import Document, Passage
from agentkit.errors import AgentkitError
from agentkit.knowledge.addresses import PREFIX, Address, parse_address

if TYPE_CHECKING:
    from mcp.server.connection import Connection
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession

    from agentkit.knowledge.knowledge_base import KnowledgeBase

T = TypeVar("T")
TEMPLATE = f"{PREFIX}{{+source}}"
PAGE_SIZE = 100
MAX_CHARACTERS = 1_000_000
"""Most characters that one read of a resource returns."""

MAX_COMPLETIONS = 100
MAX_LINKS = 50
MAX_WATCHED = 1000
"""Most documents that are watched for all clients together."""

NOTIFY_SECONDS = 5.0
"""A client that does not take a notification in this time is unsubscribed."""


class Resources:
    """The handlers of resources/list, resources/templates/list and resources/read."""

    def __init__(self, knowledge: KnowledgeBase) -> None:
        self._knowledge = knowledge

    async def list_resources(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.PaginatedRequestParams | None
    ) -> sdk.ListResourcesResult:
        infos = await self._knowledge.documents()
        page, cursor = paginate(infos, params, lambda info: info.source)
        resources = [
            sdk.Resource(
                uri=str(Address(info.source)),
                name=info.source,
                title=info.title or None,
                description=f"{info.characters} characters",
                mime_type=_mime_type(info.source),
            )
            for info in page
        ]
        return sdk.ListResourcesResult(resources=resources, next_cursor=cursor)

    async def list_templates(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.PaginatedRequestParams | None
    ) -> sdk.ListResourceTemplatesResult:
        template = sdk.ResourceTemplate(
            uri_template=TEMPLATE,
            name="document",
            title="A document",
            description="A document by its source; add #char=START,END for a part of it.",
        )
        return sdk.ListResourceTemplatesResult(resource_templates=[template])

    async def read(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.ReadResourceRequestParams
    ) -> sdk.ReadResourceResult:
        uri = str(params.uri)
        address = parse_address(uri)
        if address is None:
            raise _not_found(uri, f"Unknown resource {uri!r}: the resources are {TEMPLATE}.")
        try:
            document = await self._knowledge.document(address.source)
        except AgentkitError as error:
            raise _not_found(uri, str(error)) from error
        return sdk.ReadResourceResult(contents=[read(document, address, uri)])

    async def complete_source(self, value: str) -> sdk.Completion:
        """The sources that contain a text, those that begin with it first."""
        typed = value.casefold()
        infos = await self._knowledge.documents()
        found = [info.source for info in infos if typed in info.source.casefold()]
        found.sort(key=lambda source: (not source.casefold().startswith(typed), source))
        return completion(found)


class Listers:
    """Clients of the older protocol that got a list, to be notified when it changes."""

    def __init__(self) -> None:
        self._sessions: dict[Connection, ServerSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, ctx: ServerRequestContext[Any, Any]) -> None:
        """Remember who asks, until its connection ends."""
        connection = ctx.session._connection
        is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        if not is_modern and connection not in self._sessions and len(self) < MAX_WATCHED:
            self._sessions[connection] = ctx.session
            connection.exit_stack.callback(self._sessions.pop, connection, None)

    async def notify(self, send: Callable[[ServerSession], Awaitable[None]]) -> None:
        """Notify all; who does not take it in time is forgotten."""
        for connection, session in list(self._sessions.items()):
            if not await _delivered(send(session)):
                self._sessions.pop(connection, None)


class Subscriptions:
    """The handlers of resources/subscribe, resources/unsubscribe and subscriptions/listen."""

    def __init__(
        self, knowledge: KnowledgeBase, bus: InMemorySubscriptionBus, seconds: float = 2.0
    ) -> None:
        self._knowledge = knowledge
        self._seconds = seconds
        self._bus = bus
        self._handler = ListenHandler(bus, max_subscriptions=MAX_WATCHED)
        self._listening: dict[object, Sequence[str]] = {}
        self._subscribed: dict[Connection, dict[str, ServerSession]] = {}
        self._hashes: dict[str, str] = {}
        self._listers = Listers()
        self._sources: list[str] | None = None
        self._generation = -1

    @asynccontextmanager
    async def lifespan(self, server: object) -> AsyncIterator[dict[str, Any]]:
        """Compare the index regularly while a server runs."""
        async with in_background(self._watch()):
            yield {}

    async def subscribe(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.SubscribeRequestParams
    ) -> sdk.EmptyResult:
        uri = str(params.uri)
        if parse_address(uri) is None:
            raise _not_found(uri, f"Unknown resource {uri!r}: the resources are {TEMPLATE}.")
        await self._remember([uri])
        # The SDK has no other way to observe a connection's end.
        connection = ctx.session._connection
        if connection not in self._subscribed:
            self._subscribed[connection] = {}
            connection.exit_stack.callback(self._subscribed.pop, connection, None)
        self._subscribed[connection][uri] = ctx.session
        return sdk.EmptyResult()

    async def follow(self, ctx: ServerRequestContext[Any, Any]) -> None:
        """Notify a client of the older protocol when the list that it got changes."""
        self._listers.add(ctx)
        if self._listers and self._sources is None:
            self._sources = await self._list_sources()

    async def unsubscribe(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.UnsubscribeRequestParams
    ) -> sdk.EmptyResult:
        self._subscribed.get(ctx.session._connection, {}).pop(str(params.uri), None)
        return sdk.EmptyResult()

    async def listen(
        self, ctx: ServerRequestContext[Any, Any], params: sdk.SubscriptionsListenRequestParams
    ) -> sdk.SubscriptionsListenResult:
        """Stream changes until the client leaves."""
        uris = list(dict.fromkeys(params.notifications.resource_subscriptions or ()))
        await self._remember(uris)
        token = object()
        self._listening[token] = uris
        try:
            return await self._handler(ctx, params)
        finally:
            del self._listening[token]

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self._compare()
            except AgentkitError:  # another process holds the index: retried at the next turn
                continue

    async def _compare(self) -> None:
        """Notify subscribers of what changed since the last comparison."""
        watched = self._watched()
        if not (watched or self._listening or self._listers):
            self._hashes, self._sources = {}, None
            return
        generation = await asyncio.to_thread(lambda: self._knowledge.generation)
        if generation == self._generation:
            return
        self._generation = generation
        self._hashes = {uri: value for uri, value in self._hashes.items() if uri in watched}
        for uri in watched:
            value = await self._hash(uri)
            if self._hashes.setdefault(uri, value) != value:
                self._hashes[uri] = value
                await self._notify(uri)
        sources = await self._list_sources()
        if self._sources is not None and sources != self._sources:
            await self._bus.publish(ResourcesListChanged())
            await self._listers.notify(lambda session: session.send_resource_list_changed())
        self._sources = sources

    async def _remember(self, uris: Sequence[str]) -> None:
        """Store the current state of documents before the client learns that it is subscribed."""
        if len(self._watched() | set(uris)) > MAX_WATCHED:
            raise MCPError(sdk.INVALID_PARAMS, f"At most {MAX_WATCHED} resources are watched.")
        for uri in uris:
            if uri not in self._hashes:
                self._hashes.setdefault(uri, await self._hash(uri))
        if self._sources is None:
            self._sources = await self._list_sources()

    async def _notify(self, uri: str) -> None:
        await self._bus.publish(ResourceUpdated(uri))
        for uris in list(self._subscribed.values()):
            if uri in uris and not await _delivered(uris[uri].send_resource_updated(uri)):
                uris.pop(uri, None)

    def _watched(self) -> set[str]:
        return {
            uri for uris in (*self._listening.values(), *self._subscribed.values()) for uri in uris
        }

    async def _hash(self, uri: str) -> str:
        """Hash a document's text; "" where there is none."""
        address = parse_address(uri)
        if address is None:
            return ""
        try:
            document = await self._knowledge.document(address.source)
        except AgentkitError:
            return ""
        return hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()

    async def _list_sources(self) -> list[str]:
        return [info.source for info in await self._knowledge.documents()]


async def _delivered(notification: Awaitable[None]) -> bool:
    """Whether a client took a notification in time."""
    try:
        async with asyncio.timeout(NOTIFY_SECONDS):
            await notification
    except Exception:
        return False
    return True


def read(document: Document, address: Address, uri: str) -> sdk.TextResourceContents:
    """Return a document, or the part of it at an address. Raises MCPError where it is larger than
    MAX_CHARACTERS, or the part does not exist."""
    size = len(document.text)
    start, end = (0, size) if address.start is None else (address.start, address.end or 0)
    if not start <= end <= size:
        raise _not_found(uri, f"{document.source} has {size} characters, not {start} to {end}.")
    if end - start > MAX_CHARACTERS:
        part = Address(document.source, 0, MAX_CHARACTERS)
        raise MCPError(
            sdk.INVALID_PARAMS,
            f"{end - start} characters are too many for one read. Read parts, such as {part}.",
            {"uri": uri},
        )
    return sdk.TextResourceContents(
        uri=uri, mime_type=_mime_type(document.source), text=document.text[start:end]
    )


def resource_links(passages: Sequence[Passage]) -> list[sdk.ResourceLink]:
    """Links to the ranges of passages, each range once."""
    found: dict[str, sdk.ResourceLink] = {}
    for chunk in (passage.chunk for passage in passages):
        address = Address(chunk.source, chunk.start, chunk.end)
        found[str(address)] = sdk.ResourceLink(
            uri=str(address),
            name=address.source,
            title=chunk.heading or None,
            mime_type=_mime_type(address.source),
        )
    return list(found.values())[:MAX_LINKS]


def paginate(
    items: Sequence[T],
    params: sdk.PaginatedRequestParams | None,
    key: Callable[[T], str],
    size: int = PAGE_SIZE,
) -> tuple[list[T], str | None]:
    """Return a page of the items by their keys' order, and the cursor of the next page. A cursor
    names the last item, so that a changed list repeats and skips nothing. Raises MCPError for an
    invalid cursor."""
    cursor = params.cursor if params else None
    ordered = sorted(items, key=key)
    first = bisect_right(ordered, _decode_cursor(cursor), key=key) if cursor else 0
    page = ordered[first : first + size]
    if first + size >= len(ordered):
        return page, None
    return page, urlsafe_b64encode(key(page[-1]).encode("utf-8", "surrogatepass")).decode()


def _decode_cursor(cursor: str) -> str:
    try:
        return urlsafe_b64decode(cursor.encode("ascii")).decode("utf-8", "surrogatepass")
    except ValueError as error:
        raise MCPError(
            sdk.INVALID_PARAMS, "Invalid cursor. List again from the beginning."
        ) from error


def completion(found: list[str]) -> sdk.Completion:
    """As many values as a completion may have."""
    values = found[:MAX_COMPLETIONS]
    return sdk.Completion(values=values, total=len(found), has_more=len(found) > len(values))


def _mime_type(source: str) -> str:
    """The type of a document's text, whatever its file was."""
    return "text/markdown" if source.lower().endswith((".md", ".markdown")) else "text/plain"


def _not_found(uri: str, message: str) -> MCPError:
    return MCPError(sdk.INVALID_PARAMS, message, {"uri": uri})
