"""Clients that want to hear when a document changes, in both protocol eras.

The index is looked at every few seconds, and only while somebody listens; who changed it, this
process or another, makes no difference.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
)
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, EmptyResult, SubscriptionsListenResult

from agentkit.errors import AgentkitError
from agentkit.mcp.addresses import read_address
from agentkit.mcp.library import not_found

if TYPE_CHECKING:
    from mcp.server.connection import Connection
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession
    from mcp_types import (
        SubscribeRequestParams,
        SubscriptionsListenRequestParams,
        UnsubscribeRequestParams,
    )

    from agentkit.knowledge.knowledge_base import KnowledgeBase

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
