"""One MCP server over all its lives: what became of a call, in words, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.errors import McpError, ToolError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.session import Session, SessionLost

if TYPE_CHECKING:
    from mcp_types import CallToolResult
    from mcp_types import Tool as ServedTool


class Connection:
    """A server whose session is opened anew, at the next call, where the last one was lost."""

    def __init__(self, config: ServerConfig, log: Path | None, connect_timeout: float) -> None:
        self.config = config
        self._log = log
        self._connect_timeout = connect_timeout
        self._session: Session | None = None
        self._reopening = asyncio.Lock()
        self._closed = False

    async def open(self) -> tuple[ServedTool, ...]:
        """Start the server; its tools. Raises McpError that says why not."""
        return (await self._live()).tools

    async def close(self) -> None:
        """End the server for good."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    async def call(
        self, tool: str, arguments: Mapping[str, Any], *, repeatable: bool
    ) -> CallToolResult:
        """Call a tool, and once more where the server was lost and the call may be repeated.

        Raises ToolError that names the server and says what happened.
        """
        try:
            try:
                return await (await self._live()).call(tool, arguments)
            except SessionLost:
                if not repeatable:
                    raise
                return await (await self._live()).call(tool, arguments)
        except SessionLost as error:
            raise ToolError(
                f"The MCP server {self.config.name!r} was lost during the call of {tool}, which "
                "may or may not have taken effect. The next call starts it again."
            ) from error
        except TimeoutError as error:
            raise ToolError(
                f"The MCP server {self.config.name!r} did not answer {tool} within "
                f"{self.config.timeout:g} s; the call was cancelled. Ask for less, or raise "
                '"timeout" in mcp.json.'
            ) from error
        except McpError as error:
            raise ToolError(str(error)) from error
        except Exception as error:
            raise ToolError(
                f"The MCP server {self.config.name!r} could not do {tool}: {error}"
            ) from error

    async def _live(self) -> Session:
        async with self._reopening:
            session = self._session
            if session is not None and not session.ended:
                return session
            if session is not None:
                await session.close()
            if self._closed:
                raise McpError(f"The MCP server {self.config.name!r} is closed.", self.config.name)
            return await self._opened()

    async def _opened(self) -> Session:
        self._session = session = Session(self.config, self._log)
        try:
            await session.open(self._connect_timeout)
        except BaseException:
            await session.close()
            raise
        return session
