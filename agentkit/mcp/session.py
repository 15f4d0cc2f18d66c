"""One life of one MCP server: a task that both enters and leaves the SDK's client.

Callers wait outside of that task, so that a transport that breaks ends the task and never them.
A session is not opened twice: after its end, make another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentkit.errors import McpError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.transports import errors_to, transport

if TYPE_CHECKING:
    from mcp import Client
    from mcp_types import CallToolResult
    from mcp_types import Tool as ServedTool

MOST_PAGES = 1000
GRACE = 10.0
"""Seconds in which the SDK ends a child for certain, by force if need be."""

LOST_CODES = (-32000, -32600)
"""What the SDK reports over HTTP for a connection that closed and a session that is unknown."""


# Without a handler, Python would print the SDK's every complaint about a server on the terminal.
logging.getLogger("mcp").addHandler(logging.NullHandler())


class SessionLost(Exception):
    """The server ended, or forgot the session, before it answered."""


class Session:
    """Started by `open`, ended by `close` or by the server's own end."""

    def __init__(self, config: ServerConfig, log: Path | None) -> None:
        self._config = config
        self._log = log
        self._leave = asyncio.Event()
        self._opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._owner: asyncio.Task[None] | None = None
        self.tools: tuple[ServedTool, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether a call would be in vain."""
        return self._leave.is_set() or (self._owner is not None and self._owner.done())

    async def open(self, seconds: float) -> None:
        """Start the server, shake hands and list its tools. Raises McpError that says why not."""
        self._owner = asyncio.create_task(self._own(seconds), name=f"mcp {self._config.name}")
        either: set[asyncio.Future[Any]] = {self._owner, self._opened}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._opened.done():
            raise McpError(_why_not(self._config, self._log, self._error()), self._config.name)

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> CallToolResult:
        """Call a tool. Raises SessionLost, TimeoutError, or what the SDK raises."""
        assert self._owner is not None
        if self.ended:
            raise SessionLost
        client = self._opened.result()
        call = asyncio.create_task(client.call_tool(tool, dict(arguments)))
        try:
            return await _outcome(call, self._owner, self._config.timeout)
        except Exception as error:
            if self.ended or (self._config.url and getattr(error, "code", 0) in LOST_CODES):
                self._leave.set()
                raise SessionLost from error
            raise

    async def close(self) -> None:
        """End the server and wait until it has ended, also when cancelled meanwhile."""
        if self._owner is None:
            return
        if self._opened.done():
            self._leave.set()
        else:
            self._owner.cancel()
        await _wait_whatever_comes(self._owner)

    async def _own(self, seconds: float) -> None:
        from mcp import Client

        async with asyncio.timeout(seconds) as patience:
            with errors_to(self._log) as errors:
                async with Client(transport(self._config, errors, self._leave.set)) as client:
                    self.tools = await _all_tools(client)
                    patience.reschedule(None)
                    self._opened.set_result(client)
                    await self._leave.wait()

    def _error(self) -> BaseException | None:
        if self._owner is None or self._owner.cancelled():
            return None
        error = self._owner.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return error


async def _outcome(
    call: asyncio.Task[CallToolResult], owner: asyncio.Task[None], seconds: float
) -> CallToolResult:
    """The call's result. The call is cancelled, at the server too, where none comes in time."""
    try:
        done, _ = await asyncio.wait(
            {call, owner}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
        )
        if owner in done:
            await asyncio.wait({call}, timeout=1)
        if not call.done():
            raise TimeoutError
        if call.cancelled():
            raise SessionLost
        return call.result()
    finally:
        if not call.done():
            call.cancel()
        call.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def _wait_whatever_comes(task: asyncio.Task[None]) -> None:
    """Children must not outlive us: a cancellation waits for the task's end, then goes on. A task
    that takes too long to leave is cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            done, _ = await asyncio.wait({task}, timeout=GRACE)
            if not done:
                task.cancel()
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled():
        task.exception()
    if cancelled is not None:
        raise cancelled


async def _all_tools(client: Client) -> tuple[ServedTool, ...]:
    """The tools of all pages; of two with one name, the first."""
    tools: dict[str, ServedTool] = {}
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        for tool in page.tools:
            tools.setdefault(tool.name, tool)
        cursor = page.next_cursor
        if not cursor:
            break
    return tuple(tools.values())


def _why_not(config: ServerConfig, log: Path | None, error: BaseException | None) -> str:
    """One line for people: what happened, and the next step."""
    name = f"The MCP server {config.name!r}"
    if isinstance(error, TimeoutError):
        return f"{name} did not answer in time. Start it by hand to see why{_see(log)}."
    if config.url:
        place = config.url.partition("?")[0]
        return f"{name} cannot be used at {place}: {_said(error)}. Check the URL and its headers."
    if config.cwd is not None and not config.cwd.is_dir():
        return f'{name} has the folder {config.cwd}, which is not there. Correct its "cwd".'
    if isinstance(error, FileNotFoundError):
        return f"{name} has the command {config.command!r}, which is not found. Install it."
    return f"{name} ended before it was ready ({_said(error)}). Start it by hand{_see(log)}."


def _said(error: BaseException | None) -> str:
    return " ".join(str(error or "").split()) or type(error).__name__


def _see(log: Path | None) -> str:
    return f", or see {log}" if log else ""
