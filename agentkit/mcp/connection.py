"""One MCP server over all its lives: what became of a call, in words, whatever becomes of it.

A server that will not start again is tried at later calls, each time after a longer wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentkit.errors import McpError, ToolError
from agentkit.mcp.client_features import Host
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.results import visible
from agentkit.mcp.session import Report, Session, SessionLost

if TYPE_CHECKING:
    import httpx2
    from mcp import Client
    from mcp_types import CallToolResult
    from mcp_types import Tool as ServedTool

T = TypeVar("T")
Heard = Callable[["Connection", tuple["ServedTool", ...]], None]

FIRST_WAIT, LONGEST_WAIT = 0.5, 60.0
WORTH_WAITING = 2.0
"""Seconds that a call waits for the next attempt; where it is longer, the call fails at once."""


class Connection:
    """A server whose session is opened anew, at the next call, where the last one was lost.

    `heard` is told the tools whenever they were listed; `withheld` says which may not be called,
    and why not."""

    def __init__(
        self,
        config: ServerConfig,
        log: Path | None,
        connect_timeout: float,
        host: Host,
        heard: Heard,
        auth: httpx2.Auth | None = None,
    ) -> None:
        self.config = config
        self.log = log
        self.withheld: Mapping[str, str] = {}
        self._connect_timeout = connect_timeout
        self._host = host
        self._heard = heard
        self._auth = auth
        self._session: Session | None = None
        self._reopening = asyncio.Lock()
        self._closed = False
        self._failures = 0
        self._not_before = 0.0

    async def open(self) -> None:
        """Start the server. Raises McpError that says why not."""
        await self._live()

    async def close(self) -> None:
        """End the server for good."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    @property
    def client(self) -> Client | None:
        """The SDK's client of a session that lives, for what the server said of itself."""
        session = self._session
        return None if session is None or session.ended else session.client

    @property
    def has_resources(self) -> bool:
        """Whether there is something to read."""
        return self._session is not None and self._session.has_resources

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        repeatable: bool,
        report: Report | None = None,
    ) -> CallToolResult:
        """Call a tool, and once more where the server was lost and the call may be repeated.

        Raises ToolError that names the server and says what happened.
        """

        async def once() -> CallToolResult:
            session = await self._live()
            if tool in self.withheld:
                raise ToolError(self.withheld[tool])
            return await session.call(tool, arguments, report)

        async with self._explained(tool):
            try:
                return await once()
            except SessionLost:
                if not repeatable:
                    raise
                return await once()

    async def ask(self, what: str, request: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Make a request that only reads, `what` in words. Raises ToolError."""
        async with self._explained(what):
            try:
                return await (await self._live()).ask(request)
            except SessionLost:
                return await (await self._live()).ask(request)

    @asynccontextmanager
    async def _explained(self, what: str) -> AsyncIterator[None]:
        """Whatever goes wrong within is a ToolError that says what it was."""
        name = self.config.name
        try:
            yield
        except ToolError:
            raise
        except SessionLost as error:
            raise ToolError(
                f"The MCP server {name!r} was lost during the call of {what}, which "
                "may or may not have taken effect. The next call starts it again."
            ) from error
        except TimeoutError as error:
            raise ToolError(
                f"The MCP server {name!r} did not answer {what} within "
                f"{self.config.timeout:g} s; the call was cancelled. Ask for less, or raise "
                '"timeout" in mcp.json.'
            ) from error
        except McpError as error:
            raise ToolError(str(error)) from error
        except Exception as error:
            said = visible(" ".join(str(error).split()))[:500] or type(error).__name__
            raise ToolError(f"The MCP server {name!r} could not do {what}: {said}") from error

    async def _live(self) -> Session:
        session = self._session
        if session is not None and session.ready:
            return session
        async with self._reopening:
            session = self._session
            if session is not None and not session.ended:
                return session
            if session is not None:
                await session.close()
            await self._waited()
            if self._closed:
                raise McpError(f"The MCP server {self.config.name!r} is closed.", self.config.name)
            return await self._opened()

    async def _waited(self) -> None:
        left = self._not_before - time.monotonic()
        if left > WORTH_WAITING:
            raise McpError(
                f"The MCP server {self.config.name!r} failed to start {self._failures} times; it "
                f"is tried again in {left:.0f} s. Go on without it.",
                self.config.name,
            )
        if left > 0:
            await asyncio.sleep(left)

    async def _opened(self) -> Session:
        self._session = session = Session(
            self.config, self.log, self._host, lambda tools: self._heard(self, tools), self._auth
        )
        try:
            await session.open(self._connect_timeout)
        except BaseException as error:
            await session.close()
            if isinstance(error, McpError):
                wait = min(LONGEST_WAIT, FIRST_WAIT * 2**self._failures)
                self._failures += 1
                self._not_before = time.monotonic() + wait
            raise
        self._failures = 0
        return session
