"""One configured MCP server, whose session is reopened at the next call after it was lost.

A server that fails to start is retried at later calls, each time after a longer delay.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentkit.errors import McpError, ToolError
from agentkit.mcp.client_features import ClientFeatures
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.session import McpSession, SessionLost
from agentkit.text.hidden import visible

if TYPE_CHECKING:
    import httpx2
    from mcp import Client
    from mcp.shared.dispatcher import ProgressFnT
    from mcp_types import CallToolResult
    from mcp_types import Tool as ServerTool

T = TypeVar("T")
OnTools = Callable[["RemoteServer", tuple["ServerTool", ...]], None]

FIRST_DELAY, MAX_DELAY = 0.5, 60.0
MAX_WAIT = 2.0
"""Seconds that a call waits for the next attempt; where it is longer, the call fails at once."""


class RemoteServer:
    """A server and its current session.

    `on_tools` gets the tools each time they were listed; `withheld` has the names of tools that
    may not be called, with the reason."""

    def __init__(
        self,
        config: ServerConfig,
        log: Path | None,
        connect_timeout: float,
        features: ClientFeatures,
        on_tools: OnTools,
        auth: httpx2.Auth | None = None,
    ) -> None:
        self.config = config
        self.withheld: Mapping[str, str] = {}
        self._log = log
        self._connect_timeout = connect_timeout
        self._features = features
        self._on_tools = on_tools
        self._auth = auth
        self.session: McpSession | None = None
        self._opening = asyncio.Lock()
        self._closed = False
        self._failures = 0
        self._not_before = 0.0

    async def open(self) -> None:
        """Start the server. Raises McpError with the reason."""
        await self._current_session()

    async def close(self) -> None:
        """End the server for good."""
        self._closed = True
        if self.session is not None:
            await self.session.close()

    @property
    def client(self) -> Client | None:
        """The SDK's client of the open session, for what the server reports about itself."""
        session = self.session
        return None if session is None or session.ended else session.client

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        repeatable: bool,
        on_progress: ProgressFnT | None = None,
    ) -> CallToolResult:
        """Call a tool. Raises ToolError with the server and the reason."""

        async def call(client: Client) -> CallToolResult:
            if tool in self.withheld:  # which a new session may have changed
                raise ToolError(self.withheld[tool])
            return await client.call_tool(tool, dict(arguments), progress_callback=on_progress)

        return await self.request(tool, call, repeatable=repeatable)

    async def request(
        self,
        name: str,
        request: Callable[[Client], Coroutine[Any, Any, T]],
        *,
        repeatable: bool = True,
    ) -> T:
        """Make a request, and once more where the session was lost and it is repeatable; `name` is
        for errors. Raises ToolError."""
        async with self._as_tool_error(name):
            try:
                return await (await self._current_session()).request(request)
            except SessionLost:
                if not repeatable:
                    raise
                return await (await self._current_session()).request(request)

    @asynccontextmanager
    async def _as_tool_error(self, request: str) -> AsyncIterator[None]:
        """Convert every error within to a ToolError for the model."""
        server = f"The MCP server {self.config.name!r}"
        try:
            yield
        except ToolError:
            raise
        except SessionLost as error:
            raise ToolError(
                f"{server} was lost during the call of {request}, which may or may not have taken "
                "effect. The next call starts it again."
            ) from error
        except TimeoutError as error:
            raise ToolError(
                f"{server} did not answer {request} within {self.config.timeout:g} s; the call was "
                'cancelled. Ask for less, or raise "timeout" in mcp.json.'
            ) from error
        except McpError as error:
            raise ToolError(str(error)) from error
        except Exception as error:
            reason = visible(" ".join(str(error).split()))[:500] or type(error).__name__
            raise ToolError(f"{server}: {request} failed: {reason}") from error

    async def _current_session(self) -> McpSession:
        async with self._opening:
            session = self.session
            if session is not None and not session.ended:
                return session
            if session is not None:
                await session.close()
            await self._wait_for_retry()
            if self._closed:
                raise McpError(f"The MCP server {self.config.name!r} is closed.", self.config.name)
            return await self._open_session()

    async def _wait_for_retry(self) -> None:
        left = self._not_before - time.monotonic()
        if left > MAX_WAIT:
            raise McpError(
                f"The MCP server {self.config.name!r} failed to start {self._failures} times; the "
                f"next attempt is in {left:.0f} s. Continue without it.",
                self.config.name,
            )
        if left > 0:
            await asyncio.sleep(left)

    async def _open_session(self) -> McpSession:
        if self.config.fault:
            raise McpError(self.config.fault, self.config.name)
        self.session = session = McpSession(
            self.config,
            self._log,
            self._features,
            lambda tools: self._on_tools(self, tools),
            self._auth,
        )
        try:
            await session.open(self._connect_timeout)
        except BaseException as error:
            await session.close()
            if isinstance(error, McpError):
                self._not_before = time.monotonic() + min(
                    MAX_DELAY, FIRST_DELAY * 2**self._failures
                )
                self._failures += 1
            raise
        self._failures = 0
        return session
