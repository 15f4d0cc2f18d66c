"""One session with an MCP server, in a task that both enters and leaves the SDK's client.

Callers wait outside of that task, so that a broken transport ends the task and never cancels them.
A session is opened once; after its end, create another.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentkit.errors import McpError
from agentkit.mcp.client_features import ClientFeatures, OpenQuestions
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.refusals import is_session_error
from agentkit.mcp.repairs import Repairs
from agentkit.mcp.stdio import ServerLog
from agentkit.redaction import display_url, redact
from agentkit.text.hidden import visible

if TYPE_CHECKING:
    import httpx2
    from mcp import Client
    from mcp_types import Tool as ServerTool

T = TypeVar("T")
MAX_PAGES, MAX_ITEMS = 1000, 10_000
CLOSE_SECONDS = 12.0
"""Time in which a child has ended for certain, by force if need be."""

RELIST_SECONDS = 0.2
"""Least time between two listings of a server that keeps changing its tools."""

TIMEOUT_STEP = 1.0
"""A call's time is counted in steps: those in which the user is asked do not count."""

SSE_SECONDS = 10.0
"""Most time in which an older server sends the address for messages."""


# Without a handler, Python would print every log message of the SDK on the terminal.
for _name in ("mcp", "client"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class SessionLost(Exception):
    """The server ended, or forgot the session, before it answered."""


class McpSession:
    """Started by `open`, ended by `close` or by the end of the server. `on_tools` gets the tools
    each time they were listed."""

    def __init__(
        self,
        config: ServerConfig,
        log: Path | None,
        features: ClientFeatures,
        on_tools: Callable[[tuple[ServerTool, ...]], None],
        auth: httpx2.Auth | None = None,
    ) -> None:
        self._config = config
        self._log = ServerLog(log, config.secrets)
        self._features = features
        self._on_tools = on_tools
        self._auth = auth
        self._questions = OpenQuestions()
        self._repairs = Repairs()
        self._leave = asyncio.Event()
        self._tools_changed = asyncio.Event()
        self._opened: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._owner: asyncio.Task[None] | None = None
        self.has_resources = False

    @property
    def ended(self) -> bool:
        """Whether the connection is closed."""
        return self._leave.is_set() or (self._owner is not None and self._owner.done())

    @property
    def notes(self) -> Sequence[str]:
        """What was left out of the server's lists, and why."""
        return self._repairs.notes

    @property
    def client(self) -> Client:
        """The SDK's client, once opened."""
        return self._opened.result()

    async def open(self, seconds: float) -> None:
        """Start the server, initialize and list its tools. Raises McpError with the reason."""
        self._owner = asyncio.create_task(self._run(seconds), name=f"mcp {self._config.name}")
        either: set[asyncio.Future[Any]] = {self._owner, self._opened}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not self._opened.done():
            error = None if self._owner.cancelled() else _first(self._owner.exception())
            raise McpError(_startup_error(self._config, self._log, error), self._config.name)

    async def request(self, request: Callable[[Client], Coroutine[Any, Any, T]]) -> T:
        """Make a request. Raises SessionLost, TimeoutError, or what the SDK raises."""
        assert self._owner is not None
        if self.ended:
            raise SessionLost
        call = asyncio.create_task(request(self.client))
        try:
            return await _wait_for_result(call, self._owner, self._config.timeout, self._questions)
        except Exception as error:
            if self.ended or (self._config.url and is_session_error(error)):
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
        await _wait_until_done(self._owner)

    async def _run(self, seconds: float) -> None:
        with self._log:
            try:
                await self._connect(self._config, seconds)
            except Exception as error:
                if self._opened.done() or not _refuses_messages(self._config, _first(error)):
                    raise
                # A server of the protocol's first version: it answers over an event stream.
                older = replace(self._config, transport="sse")
                self._leave.clear()
                try:
                    await self._connect(older, min(seconds, SSE_SECONDS))
                except Exception:
                    raise error from None

    async def _connect(self, config: ServerConfig, seconds: float) -> None:
        """Serve requests from the start to the end of a connection. Raises TimeoutError, or what
        the SDK raises."""
        from mcp import Client

        from agentkit.mcp.transport import transport

        async with asyncio.timeout(seconds) as startup:
            streams = transport(config, self._log, self._leave.set, self._auth, self._repairs)
            async with Client(streams, **self._client_options()) as client:
                # The SDK drops results that miss their schema; remote_tool notes the miss.
                client.session.validate_tool_result = _accept  # type: ignore[method-assign]
                if client.server_capabilities.resources is not None:
                    with suppress(Exception):  # many servers with the capability have none
                        self.has_resources = any(await all_resources(client, most=1))
                self._on_tools(await all_tools(client))
                startup.reschedule(None)
                self._opened.set_result(client)
                await self._follow_changes(client)

    async def _follow_changes(self, client: Client) -> None:
        """Until the end: list the tools again whenever the server reports a change."""
        async with asyncio.TaskGroup() as group:
            relisting = group.create_task(self._relist(client))
            listening = group.create_task(_listen(client, self._tools_changed.set))
            await self._leave.wait()
            relisting.cancel()
            listening.cancel()

    async def _relist(self, client: Client) -> None:
        while True:
            await self._tools_changed.wait()
            self._tools_changed.clear()
            with suppress(Exception):  # The old list stays; calls report what is wrong.
                async with asyncio.timeout(self._config.timeout):
                    self._on_tools(await all_tools(client))
            await asyncio.sleep(RELIST_SECONDS)

    def _client_options(self) -> dict[str, Any]:
        from mcp_types import Implementation

        from agentkit import __version__

        async def on_message(message: Any) -> None:
            if getattr(message, "method", "") == "notifications/tools/list_changed":
                self._tools_changed.set()

        async def on_log(params: Any) -> None:
            data = params.data
            text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
            self._log.write(f"[{params.level}] {text}\n".encode("utf-8", "replace"))

        return {
            "client_info": Implementation(name="agentkit", version=__version__),
            "message_handler": on_message,
            "logging_callback": on_log,
            **self._features.callbacks(self._config, self._questions),
        }


async def _accept(name: str, result: object) -> None:
    """Accept a tool's result, whatever its structured content."""


async def all_tools(client: Client) -> tuple[ServerTool, ...]:
    """The tools of all pages; of two with one name, the first."""
    tools: dict[str, ServerTool] = {}
    for tool in await all_pages(client.list_tools, "tools"):
        tools.setdefault(tool.name, tool)
    return tuple(tools.values())


async def all_resources(client: Client, most: int = MAX_ITEMS) -> tuple[list[Any], list[Any]]:
    """The resources, and the templates of resources, which many servers do not support."""
    from mcp import MCPError

    resources = await all_pages(client.list_resources, "resources", most)
    with suppress(MCPError):
        templates = await all_pages(client.list_resource_templates, "resource_templates", most)
        return resources, templates
    return resources, []


async def all_pages(
    fetch: Callable[..., Awaitable[Any]], name: str, most: int = MAX_ITEMS
) -> list[Any]:
    """The items of all pages of a list, up to a limit or until a cursor repeats."""
    found: list[Any] = []
    seen: set[str | None] = set()
    cursor: str | None = None
    while cursor not in seen and len(seen) < MAX_PAGES and len(found) < most:
        seen.add(cursor)
        page = await fetch(cursor=cursor)
        found += getattr(page, name)
        if not (cursor := page.next_cursor):
            break
    return found[:most]


async def _listen(client: Client, changed: Callable[[], None]) -> None:
    """Subscribe to changes of the tools, as protocol 2026-07-28 needs."""
    from mcp_types.version import MODERN_PROTOCOL_VERSIONS

    tools = client.server_capabilities.tools
    is_modern = client.protocol_version in MODERN_PROTOCOL_VERSIONS
    if not is_modern or not (tools and tools.list_changed):
        return
    with suppress(Exception):
        async with client.listen(tools_list_changed=True) as events:
            async for _ in events:
                changed()


async def _wait_for_result(
    call: asyncio.Task[T], owner: asyncio.Task[None], seconds: float, questions: OpenQuestions
) -> T:
    """Return the call's result. The call is cancelled, at the server too, at a timeout."""
    try:
        while not (call.done() or owner.done()) and seconds > 0:
            step = min(seconds, TIMEOUT_STEP)
            await asyncio.wait({call, owner}, timeout=step, return_when=asyncio.FIRST_COMPLETED)
            seconds -= 0 if questions.count else step
        if owner.done():
            await asyncio.wait({call}, timeout=1)
        if not call.done():
            raise TimeoutError
        if call.cancelled():
            raise SessionLost
        return call.result()
    finally:
        call.cancel()
        # Else asyncio logs a warning about an exception that nobody has read.
        call.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def _first(error: BaseException | None) -> BaseException | None:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _refuses_messages(config: ServerConfig, error: BaseException | None) -> bool:
    """Whether a server that was not configured as an older one may be one: messages that are posted
    to its address are refused."""
    refused = tuple(f"HTTP {status} " for status in (400, 404, 405, 406, 415))
    return config.transport == "http" and str(error).startswith(refused)


async def _wait_until_done(task: asyncio.Task[None]) -> None:
    """Wait for the task's end, since children must not outlive us, and only then pass on a
    cancellation. A task that takes too long to leave is cancelled."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            done, _ = await asyncio.wait({task}, timeout=CLOSE_SECONDS)
            if not done:
                task.cancel()
        except asyncio.CancelledError as error:
            cancelled = error
    if not task.cancelled():
        task.exception()
    if cancelled is not None:
        raise cancelled


def _startup_error(config: ServerConfig, log: ServerLog, error: BaseException | None) -> str:
    """One line for the user: what happened, and the next step."""
    from mcp import MCPError
    from mcp.client.auth import OAuthRegistrationError
    from mcp_types import CONNECTION_CLOSED

    name = f"The MCP server {config.name!r}"
    see_log = f", or see {log.path}" if log.path else ""
    text = redact(" ".join(str(error or "").split()), config.secrets)
    reason = visible(text)[:500] or type(error).__name__
    last = visible(log.last_line)[:500]
    if isinstance(error, McpError):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"{name} did not answer in time. Start it by hand to see why{see_log}."
    if isinstance(error, OAuthRegistrationError):
        return (
            f"{name} at {display_url(config.url)} wants a sign-in, and registers no clients. Set "
            '"headers" with an Authorization, or "oauth" with a clientId, in mcp.json.'
        )
    if config.url:
        url = display_url(config.url)
        return f"{name} cannot be used at {url}: {reason}. Check the URL and its headers."
    if config.cwd is not None and not config.cwd.is_dir():
        return f'{name}: the directory {config.cwd} does not exist. Correct its "cwd".'
    if isinstance(error, MCPError) and error.code != CONNECTION_CLOSED:
        return f"{name} cannot be used: {reason}. Start it by hand{see_log}."
    cause = f": {last}" if last else f" ({reason})"
    return f"{name} ended before it was ready{cause}. Start it by hand{see_log}."
