"""A server as raw messages: what is asked of it, and what it answers, as they are on the wire.

A request has one answer. What the server asks or tells of its own accord is left out.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from agentkit.errors import McpError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.logs import ServerLog
from agentkit.mcp.transports import transport

if TYPE_CHECKING:
    import httpx2

OPEN_SECONDS = 30.0
NO_ANSWER, ENDED = -32001, -32000


class Relay:
    """One life of a server, from `open` to `close`. Requests get ids of ours on their way."""

    def __init__(self, config: ServerConfig, auth: httpx2.Auth | None = None) -> None:
        self._config = config
        self._auth = auth
        self._leave = asyncio.Event()
        self._ready: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked = 0
        self._owner: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Start the server. Raises McpError."""
        self._owner = asyncio.create_task(self._own(), name=f"mcp relay {self._config.name}")
        either: set[asyncio.Future[Any]] = {self._owner, self._ready}
        await asyncio.wait(either, timeout=OPEN_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done():
            await self.close()
            raise McpError(
                f"The MCP server {self._config.name!r} does not start. See why with: "
                f"agentkit mcp inspect {self._config.name}",
                self._config.name,
            )

    async def close(self) -> None:
        """End the server."""
        self._leave.set()
        if self._owner is not None:
            await asyncio.wait({self._owner})
            _ = self._owner.cancelled() or self._owner.exception()  # Else asyncio complains of it.

    async def tell(self, message: dict[str, Any]) -> None:
        """Hand on what has no answer. Raises ValueError for what is no message."""
        from mcp.shared.message import SessionMessage
        from mcp_types import jsonrpc_message_adapter

        read = jsonrpc_message_adapter.validate_python(message, by_name=False)
        await self._ready.result().send(SessionMessage(read))

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to a request; an error in its place where none comes."""
        self._asked += 1
        number = self._asked
        self._waiting[number] = answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._config.timeout):
                await self.tell({**request, "id": number})
                told = await answer
        except TimeoutError:
            told = _error(NO_ANSWER, "no answer in time")
        finally:
            del self._waiting[number]
        return {**told, "id": request["id"]}

    async def _own(self) -> None:
        """Both enter and leave the server, in one task."""
        with ServerLog(None) as log:
            streams = transport(self._config, log, self._leave.set, self._auth)
            async with streams as (reading, writing):
                self._ready.set_result(writing)
                hearing = asyncio.create_task(self._hear(reading))
                await self._leave.wait()
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
        for number in self._waiting:
            self._answered(number, _error(ENDED, "the server ended"))

    async def _hear(self, reading: Any) -> None:
        async for item in reading:
            told = item.message.model_dump(mode="json", by_alias=True, exclude_unset=True)
            if "method" not in told:
                self._answered(told.get("id"), told)

    def _answered(self, number: Any, told: dict[str, Any]) -> None:
        waiting = self._waiting.get(number)
        if waiting is not None and not waiting.done():
            waiting.set_result(told)


def _error(code: int, words: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": {"code": code, "message": words}}
