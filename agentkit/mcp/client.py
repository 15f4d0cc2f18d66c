"""MCP servers whose tools, resources and prompts an agent uses.

A server that fails is reported and left out; one that ends is started again at the next call. A
tool whose description has changed since it was approved is withheld.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from agentkit._code import Code
from agentkit.errors import McpError
from agentkit.mcp.client_features import ClientFeatures, Elicit, OpenQuestions, Sample
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.oauth import auth_for, uses_oauth
from agentkit.mcp.pins import Pins, ToolChange, describe_changes, withheld_reasons
from agentkit.mcp.remote_server import RemoteServer
from agentkit.mcp.results import content_part, resource_content
from agentkit.mcp.stdio import log_path
from agentkit.mcp.tools import (
    RemotePrompt,
    RemoteResource,
    is_allowed,
    list_prompts,
    list_resources,
    remote_tool,
    resource_tool,
    unique_names,
)
from agentkit.messages import Content, Message
from agentkit.text.hidden import visible
from agentkit.tools.tool import Tool, as_content

if TYPE_CHECKING:
    import httpx2
    from mcp_types import Tool as ServerTool

T = TypeVar("T")
CONNECT_TIMEOUT = 30.0
MAX_CHARACTERS = 50_000
READ_RESOURCE = "read_resource"


class McpServers:
    """Servers that run while the context is entered.

    `features` is what they may ask for. With `pins`, tools that have changed are withheld.
    `on_change` is called when `tools` has changed after the start.
    """

    def __init__(
        self,
        configs: Iterable[ServerConfig],
        *,
        log_folder: Path | None = None,
        features: ClientFeatures = ClientFeatures(),
        pins: Pins | None = None,
        auths: Mapping[str, httpx2.Auth] | None = None,
        on_change: Callable[[], None] | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        self._servers = {
            config.name: RemoteServer(
                config,
                log_path(log_folder, config.name) if log_folder else None,
                connect_timeout,
                features,
                self._update_tools,
                (auths or {}).get(config.name),
            )
            for config in configs
            if not config.disabled
        }
        self._pins, self._features = pins, features
        self._max_characters = max_characters
        self._server_tools: dict[str, tuple[ServerTool, ...]] = {}
        self._tools: tuple[Tool, ...] | None = None
        self._on_change = on_change
        self._started = False
        self._failures: dict[str, str] = {}
        self.changes: dict[str, tuple[ToolChange, ...]] = {}

    async def __aenter__(self) -> Self:
        try:
            starts = (server.open() for server in self._servers.values())
            outcomes = await asyncio.gather(*starts, return_exceptions=True)
        except BaseException:
            await self._close()
            raise
        self._failures = {
            name: str(outcome) or type(outcome).__name__
            for name, outcome in zip(self._servers, outcomes, strict=True)
            if isinstance(outcome, BaseException)
        }
        self._started = True
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._close()

    @property
    def problems(self) -> Mapping[str, str]:
        """One line for each server that is left out, or some tools of which are."""
        found = {
            name: f"The MCP server {name!r}: {'; '.join(server.session.notes)}."
            for name, server in self._servers.items()
            if server.session and server.session.notes
        }
        for name, changes in self.changes.items():
            if changes and self._pins:
                changed = describe_changes(name, changes, self._pins.folder)
                found[name] = f"{found[name]} {changed}" if name in found else changed
        return found | self._failures

    @property
    def tools(self) -> tuple[Tool, ...]:
        """The current tools, each named `server__tool`."""
        if self._tools is None:
            self._tools = self._convert_tools()
        return self._tools

    @property
    def clients(self) -> Mapping[str, Any]:
        """The SDK's clients of the running servers, for what those report about themselves."""
        found = {name: server.client for name, server in self._servers.items()}
        return {name: client for name, client in found.items() if client is not None}

    def server_tools(self, server: str) -> tuple[ServerTool, ...]:
        """All allowed tools of a server as it describes them, the withheld ones included."""
        return self._server_tools.get(server, ())

    async def resources(self) -> tuple[RemoteResource, ...]:
        """The resources of all servers, without those of servers that fail."""
        return await self._collect(list_resources)

    async def read(self, server: str, uri: str) -> Content:
        """Read a resource, delimited for the model. Raises McpError, ToolError."""
        result = await self._server(server).request(uri, lambda client: client.read_resource(uri))
        origin = f"the MCP server {server!r}"
        return as_content(resource_content(result, origin, self._max_characters))

    async def prompts(self) -> tuple[RemotePrompt, ...]:
        """The prompts of all servers, without those of servers that fail."""
        return await self._collect(list_prompts)

    async def prompt(
        self, server: str, name: str, arguments: Mapping[str, str] | None = None
    ) -> tuple[Message, ...]:
        """Get a prompt filled with arguments. Raises McpError, ToolError."""
        given = dict(arguments or {})
        result = await self._server(server).request(
            name, lambda client: client.get_prompt(name, given)
        )
        return tuple(_convert_message(each) for each in result.messages)

    def _update_tools(self, server: RemoteServer, tools: tuple[ServerTool, ...]) -> None:
        config = server.config
        allowed = tuple(tool for tool in tools if is_allowed(config, tool.name))
        features = self._features.callbacks(config, OpenQuestions())
        changes = self._pins.changes(config, allowed, features) if self._pins else ()
        server.withheld = (
            withheld_reasons(config.name, changes, self._pins.folder) if self._pins else {}
        )
        self.changes[config.name] = changes
        is_same = self._server_tools.get(config.name) == allowed
        self._server_tools[config.name] = allowed
        self._tools = None
        if self._on_change is not None and self._started and not is_same:
            self._on_change()

    def _convert_tools(self) -> tuple[Tool, ...]:
        remote = [
            (server, tool)
            for name, server in self._servers.items()
            for tool in self.server_tools(name)
            if tool.name not in server.withheld
        ]
        servers = self._servers.values()
        readable = [each for each in servers if each.session and each.session.has_resources]
        names = iter(
            unique_names(
                [
                    *((server.config.name, tool.name) for server, tool in remote),
                    *((server.config.name, READ_RESOURCE) for server in readable),
                ]
            )
        )
        limit = self._max_characters
        tools = [remote_tool(next(names), server, tool, limit) for server, tool in remote]
        return (*tools, *(resource_tool(next(names), server, limit) for server in readable))

    async def _collect(self, fetch: Callable[[RemoteServer], Awaitable[list[T]]]) -> tuple[T, ...]:
        found = await asyncio.gather(*map(fetch, self._servers.values()), return_exceptions=True)
        return tuple(one for each in found if not isinstance(each, BaseException) for one in each)

    def _server(self, name: str) -> RemoteServer:
        if name not in self._servers:
            known = ", ".join(self._servers) or "none"
            raise McpError(f"There is no MCP server {name!r} here. Known: {known}.", name)
        return self._servers[name]

    async def _close(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers.values()))


def folder_servers(
    folder: Path,
    configs: Iterable[ServerConfig],
    *,
    elicit: Elicit | None = None,
    sample: Sample | None = None,
    on_change: Callable[[], None] | None = None,
    code: Callable[[], Code] | None = None,
) -> McpServers:
    """Servers with the pins, logs, sign-ins and root of a project; enter it to start them.
    Without `elicit` or `sample` servers cannot ask the user or model; `code` reads what of the
    folder may run, at each start."""
    active = [replace(config, code=code) for config in configs if not config.disabled]
    return McpServers(
        active,
        log_folder=logs_folder(folder),
        features=ClientFeatures(folder, elicit, sample),
        pins=Pins(folder),
        auths={
            config.name: auth_for(config, folder=folder) for config in active if uses_oauth(config)
        },
        on_change=on_change,
    )


def logs_folder(folder: Path) -> Path:
    """The directory of the logs of a project's servers."""
    return folder / ".agentkit" / "logs"


def _convert_message(message: Any) -> Message:
    part = content_part(message.content)
    return Message(message.role, as_content(visible(part) if isinstance(part, str) else [part]))
