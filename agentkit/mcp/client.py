"""What MCP servers lend the agent: tools, resources and prompts.

A server that fails is named and left out; one that dies is started again at the next call. A tool
that is not as the user agreed to is withheld.

The servers of a project, with all that keeps them in bounds: pins, logs, sign-ins, one root.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agentkit.agent.approval import Policy
from agentkit.errors import McpError
from agentkit.mcp.client_features import Elicit, Host, Sample
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.connection import Connection
from agentkit.mcp.oauth import auth_for, uses_oauth
from agentkit.mcp.pins import Change, Pins, changed_line, withheld_reasons
from agentkit.mcp.results import part, resource_content, visible
from agentkit.mcp.stdio import MOST_DEPTH, depth, log_path
from agentkit.mcp.tools import (
    Prompt,
    Resource,
    is_lent,
    lent_tool,
    listed_prompts,
    listed_resources,
    resource_tool,
    two_tools,
    unique_names,
)
from agentkit.messages import Content, Message
from agentkit.tools.tool import Tool, as_content

if TYPE_CHECKING:
    import httpx2
    from mcp_types import Tool as ServedTool

CONNECT_TIMEOUT = 30.0
MOST_CHARACTERS = 50_000
MOST_TOOLS = 40
READ_RESOURCE = "read_resource"


class McpServers:
    """Servers that run while the context is entered.

    `host` is what they may ask of us. With `pins`, tools that have changed are withheld. With a
    `policy`, more than `most_tools` tools become two: one that finds, one that calls. `on_change`
    is called when `tools` has changed since they all were started.
    """

    def __init__(
        self,
        configs: Iterable[ServerConfig],
        *,
        log_folder: Path | None = None,
        host: Host = Host(),
        pins: Pins | None = None,
        policy: Policy | None = None,
        auths: Mapping[str, httpx2.Auth] | None = None,
        on_change: Callable[[], None] | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        most_characters: int = MOST_CHARACTERS,
        most_tools: int = MOST_TOOLS,
    ) -> None:
        self._connections = [
            Connection(
                config,
                log_path(log_folder, config.name) if log_folder else None,
                connect_timeout,
                host,
                self._heard,
                (auths or {}).get(config.name),
            )
            for config in configs
            if not config.disabled
        ]
        self._pins = pins
        self._policy = policy
        self._most_characters = most_characters
        self._most_tools = most_tools
        self._served: dict[str, tuple[ServedTool, ...]] = {}
        self._tools: tuple[Tool, ...] | None = None
        self._on_change = on_change
        self._started = False
        self._failures: dict[str, str] = {}
        self.changes: dict[str, tuple[Change, ...]] = {}

    async def __aenter__(self) -> Self:
        try:
            outcomes = await asyncio.gather(
                *(self._start(connection) for connection in self._connections),
                return_exceptions=True,
            )
        except BaseException:
            await self._close()
            raise
        self._failures = {
            connection.config.name: str(outcome) or type(outcome).__name__
            for connection, outcome in zip(self._connections, outcomes, strict=True)
            if isinstance(outcome, BaseException)
        }
        self._started = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    @property
    def problems(self) -> Mapping[str, str]:
        """In one line for each server concerned, why it or some of its tools are left out."""
        changed = {name: changed_line(name, found) for name, found in self.changes.items() if found}
        return changed | self._failures

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What is lent now, each as `server__tool`, or the two that stand for very many."""
        every = self.every_tool
        if self._policy is None or len(every) <= self._most_tools:
            return every
        return two_tools(lambda: self.every_tool, self._policy)

    @property
    def every_tool(self) -> tuple[Tool, ...]:
        """What is lent now, however much it is."""
        if self._tools is None:
            self._tools = self._named()
        return self._tools

    @property
    def clients(self) -> Mapping[str, Any]:
        """The SDK's clients of the servers that run, for what they say of themselves."""
        found = {each.config.name: each.client for each in self._connections}
        return {name: client for name, client in found.items() if client is not None}

    def served(self, server: str) -> tuple[ServedTool, ...]:
        """All tools of a server as it describes them, the withheld ones too."""
        return self._served.get(server, ())

    async def resources(self) -> tuple[Resource, ...]:
        """What the servers let us read; one that fails meanwhile lets us read nothing."""
        found = await asyncio.gather(
            *(listed_resources(each) for each in self._connections), return_exceptions=True
        )
        return tuple(r for each in found if not isinstance(each, BaseException) for r in each)

    async def read(self, server: str, uri: str) -> Content:
        """A resource as a model reads it, delimited. Raises McpError, ToolError."""
        connection = self._named_connection(server)
        result = await connection.ask(uri, lambda client: client.read_resource(uri))
        return as_content(
            resource_content(result, f"the MCP server {server!r}", self._most_characters)
        )

    async def prompts(self) -> tuple[Prompt, ...]:
        """The prompts that the servers have ready; one that fails meanwhile has none."""
        found = await asyncio.gather(
            *(listed_prompts(each) for each in self._connections), return_exceptions=True
        )
        return tuple(p for each in found if not isinstance(each, BaseException) for p in each)

    async def prompt(
        self, server: str, name: str, arguments: Mapping[str, str] | None = None
    ) -> tuple[Message, ...]:
        """A prompt with its blanks filled. Raises McpError, ToolError."""
        connection = self._named_connection(server)
        given = dict(arguments or {})
        result = await connection.ask(name, lambda client: client.get_prompt(name, given))
        return tuple(_message(each) for each in result.messages)

    async def _start(self, connection: Connection) -> None:
        config = connection.config
        if config.transport == "stdio" and depth() >= MOST_DEPTH:
            raise McpError(
                f"The MCP server {config.name!r} is not started: {depth()} agents above this one "
                "have each started the next. Take the one that calls itself out of mcp.json.",
                config.name,
            )
        await connection.open()

    def _heard(self, connection: Connection, tools: tuple[ServedTool, ...]) -> None:
        """A server's tools were listed, now or again."""
        config = connection.config
        lent = tuple(tool for tool in tools if is_lent(config, tool.name))
        changes = self._pins.changes(config, lent) if self._pins else ()
        connection.withheld = withheld_reasons(config.name, changes)
        self.changes[config.name] = changes
        is_same = self._served.get(config.name) == lent
        self._served[config.name] = lent
        self._tools = None
        if self._on_change is not None and self._started and not is_same:
            self._on_change()

    def _named(self) -> tuple[Tool, ...]:
        served = [
            (connection, tool)
            for connection in self._connections
            for tool in self.served(connection.config.name)
            if tool.name not in connection.withheld
        ]
        readable = [each for each in self._connections if each.has_resources]
        pairs = [(connection.config.name, tool.name) for connection, tool in served]
        names = unique_names([*pairs, *((each.config.name, READ_RESOURCE) for each in readable)])
        most = self._most_characters
        return (
            *(lent_tool(n, c, tool, most) for n, (c, tool) in zip(names, served, strict=False)),
            *(resource_tool(n, c, most) for n, c in _rest(names, len(served), readable)),
        )

    def _named_connection(self, server: str) -> Connection:
        for connection in self._connections:
            if connection.config.name == server:
                return connection
        known = ", ".join(each.config.name for each in self._connections) or "none"
        raise McpError(f"There is no MCP server {server!r} here. There is: {known}.", server)

    async def _close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self._connections))


def _rest(
    names: Sequence[str], start: int, connections: Sequence[Connection]
) -> Iterable[tuple[str, Connection]]:
    return zip(names[start:], connections, strict=True)


def _message(message: Any) -> Message:
    said = part(message.content)
    return Message(message.role, as_content(visible(said) if isinstance(said, str) else [said]))


def folder_servers(
    folder: Path,
    configs: Iterable[ServerConfig],
    *,
    policy: Policy | None = None,
    elicit: Elicit | None = None,
    sample: Sample | None = None,
    on_change: Callable[[], None] | None = None,
) -> McpServers:
    """Servers as a project uses them: enter it to start them. `policy` is the agent's, `elicit`
    asks the user, `sample` the model; without the last two servers may not ask. `on_change` is
    called when the tools are others than before."""
    active = [config for config in configs if not config.disabled]
    return McpServers(
        active,
        log_folder=logs_folder(folder),
        host=Host(folder, elicit, sample),
        pins=Pins(folder),
        policy=policy,
        auths={config.name: auth_for(config) for config in active if uses_oauth(config)},
        on_change=on_change,
    )


def logs_folder(folder: Path) -> Path:
    """Where the logs of a folder's servers are."""
    return folder / ".agentkit" / "logs"
