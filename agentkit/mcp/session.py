"""One life of one MCP server: a task that both enters and leaves the SDK's client.

Callers wait outside of that task, so that a transport that breaks ends the task and never them.
A session is not opened twice: after its end, make another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agentkit.errors import McpError
from agentkit.mcp.client_features import Host, Patience, callbacks
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.results import visible
from agentkit.mcp.stdio import ServerLog
from agentkit.mcp.transport import transport

if TYPE_CHECKING:
    import httpx2
    from mcp import Client
    from mcp_types import CallToolResult
    from mcp_types import Tool as ServedTool

T = TypeVar("T")
MOST_PAGES, MOST_LISTED = 1000, 10_000
GRACE = 12.0
"""Seconds in which a child is ended for certain, by force if need be."""

BETWEEN_LISTINGS = 0.2
"""Seconds that a server which keeps changing its tools is left alone."""

CLOSED = -32000
SESSION_CODES = (-32600, -32001)
"""What is reported over HTTP for a connection that closed, and for a session that is unknown: by
the SDK's, and by those of others. Both stand for other things too, which do not name a session."""


# Without a handler, Python would print the SDK's every complaint about a server on the terminal.
for _name in ("mcp", "client"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class Report(Protocol):
    """Hears a call's progress: how far, of how much, and a word on it."""

    async def __call__(self, progress: float, total: float | None, message: str | None) -> None: ...


class SessionLost(Exception):
    """The server ended, or forgot the session, before it answered."""


class Session:
    """Started by `open`, ended by `close` or by the server's own end. `heard` gets the tools each
    time that they were listed."""

    def __init__(
        self,
        config: ServerConfig,
        log: Path | None,
        host: Host,
        heard: Callable[[tuple[ServedTool, ...]], None],
        auth: httpx2.Auth | None = None,
    ) -> None:
        self._config = config
        self._log = log
        self._host = host
        self._heard = heard
        self._auth = auth
        self._patience = Patience()
        self._leave = asyncio.Event()
        self._changed = asyncio.Event()
        self._opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._owner: asyncio.Task[None] | None = None
        self.has_resources = False

    @property
    def ended(self) -> bool:
        """Whether a call would be in vain."""
        return self._leave.is_set() or (self._owner is not None and self._owner.done())

    @property
    def ready(self) -> bool:
        """Whether it was opened and has not ended."""
        return self._opened.done() and not self.ended

    @property
    def client(self) -> Client:
        """The SDK's client, once opened: for what the server said of itself."""
        return self._opened.result()

    async def open(self, seconds: float) -> None:
        """Start the server, shake hands and list its tools. Raises McpError that says why not."""
        self._owner = asyncio.create_task(self._own(seconds), name=f"mcp {self._config.name}")
        either: set[asyncio.Future[Any]] = {self._owner, self._opened}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._opened.done():
            raise McpError(_why_not(self._config, self._log, self._error()), self._config.name)

    async def call(
        self, tool: str, arguments: Mapping[str, Any], report: Report | None = None
    ) -> CallToolResult:
        """Call a tool. Raises SessionLost, TimeoutError, or what the SDK raises."""
        return await self.ask(
            lambda client: client.call_tool(tool, dict(arguments), progress_callback=report)
        )

    async def ask(self, request: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Make a request. Raises SessionLost, TimeoutError, or what the SDK raises."""
        assert self._owner is not None
        if self.ended:
            raise SessionLost
        call = asyncio.create_task(request(self.client))
        try:
            return await _outcome(call, self._owner, self._config.timeout, self._patience)
        except Exception as error:
            if self.ended or (self._config.url and _is_lost(error)):
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
            with ServerLog(self._log) as log:
                streams = transport(self._config, log, self._leave.set, self._auth)
                async with Client(streams, **self._seams(log)) as client:
                    self.has_resources = await _has_resources(client)
                    self._heard(await all_tools(client))
                    patience.reschedule(None)
                    self._opened.set_result(client)
                    await self._followed(client)

    async def _followed(self, client: Client) -> None:
        """Until the end: list the tools again whenever the server says that they changed."""
        tasks = [
            asyncio.create_task(self._relist(client)),
            asyncio.create_task(_listen(client, self._changed.set)),
        ]
        try:
            await self._leave.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _relist(self, client: Client) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            with suppress(Exception):  # The old list stays; calls say what is wrong.
                async with asyncio.timeout(self._config.timeout):
                    self._heard(await all_tools(client))
            await asyncio.sleep(BETWEEN_LISTINGS)

    def _seams(self, log: ServerLog) -> dict[str, Any]:
        """What the SDK's client takes: who we are, whom to tell, and what the host offers."""
        from mcp_types import Implementation

        from agentkit import __version__

        async def told(message: Any) -> None:
            if getattr(message, "method", "") == "notifications/tools/list_changed":
                self._changed.set()

        async def logged(params: Any) -> None:
            log.write(f"[{params.level}] {params.data}\n".encode("utf-8", "replace"))

        return {
            "client_info": Implementation(name="agentkit", version=__version__),
            "message_handler": told,
            "logging_callback": logged,
            **callbacks(self._host, self._config, self._patience),
        }

    def _error(self) -> BaseException | None:
        if self._owner is None or self._owner.cancelled():
            return None
        error = self._owner.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        return error


async def _listen(client: Client, changed: Callable[[], None]) -> None:
    """In the newer protocol, changes are told to those alone who asked to hear of them."""
    from mcp_types.version import MODERN_PROTOCOL_VERSIONS

    tools = client.server_capabilities.tools
    if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or not (
        tools and tools.list_changed
    ):
        return
    with suppress(Exception):
        async with client.listen(tools_list_changed=True) as events:
            async for _ in events:
                changed()


async def _outcome(
    call: asyncio.Task[T], owner: asyncio.Task[None], seconds: float, patience: Patience
) -> T:
    """The call's result. The call is cancelled, at the server too, where none comes in time."""
    until = patience.now() + seconds
    try:
        done: set[asyncio.Task[Any]] = set()
        while not done and (left := until - patience.now()) > 0:
            done, _ = await asyncio.wait(
                {call, owner}, timeout=left, return_when=asyncio.FIRST_COMPLETED
            )
        if owner in done:
            await asyncio.wait({call}, timeout=1)
        if not call.done():
            raise TimeoutError
        if call.cancelled():
            raise SessionLost
        return call.result()
    finally:
        if call.done():
            _ = call.cancelled() or call.exception()  # Else asyncio complains of it.
        else:
            call.cancel()
            call.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def _is_lost(error: Exception) -> bool:
    code = getattr(error, "code", 0)
    return code == CLOSED or (code in SESSION_CODES and "session" in str(error).lower())


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


async def _has_resources(client: Client) -> bool:
    """Whether there is anything to read: many servers say so that have nothing."""
    if client.server_capabilities.resources is None:
        return False
    with suppress(Exception):
        if (await client.list_resources()).resources:
            return True
        return bool((await client.list_resource_templates()).resource_templates)
    return False


async def all_tools(client: Client) -> tuple[ServedTool, ...]:
    """The tools of all pages; of two with one name, the first."""
    tools: dict[str, ServedTool] = {}
    for tool in await all_pages(lambda cursor: client.list_tools(cursor=cursor), "tools"):
        tools.setdefault(tool.name, tool)
    return tuple(tools.values())


async def all_pages(fetch: Callable[[str | None], Awaitable[Any]], name: str) -> list[Any]:
    """What all pages of a list hold, until there are too many or one comes back."""
    found: list[Any] = []
    seen: set[str] = set()
    cursor: str | None = None
    while len(seen) < MOST_PAGES and len(found) < MOST_LISTED:
        page = await fetch(cursor)
        found += getattr(page, name)
        cursor = page.next_cursor
        if not cursor or cursor in seen:
            break
        seen.add(cursor)
    return found[:MOST_LISTED]


def _why_not(config: ServerConfig, log: Path | None, error: BaseException | None) -> str:
    """One line for people: what happened, and the next step."""
    name = f"The MCP server {config.name!r}"
    if isinstance(error, McpError):
        return str(error)
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
    return visible(" ".join(str(error or "").split()))[:500] or type(error).__name__


def _see(log: Path | None) -> str:
    return f", or see {log}" if log else ""
