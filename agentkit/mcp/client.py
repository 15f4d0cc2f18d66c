"""The tools that MCP servers lend the agent.

A server that fails is named and left out; one that dies is started again at the next call. Tools
are listed once, when the servers start: later changes of a list are not followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from agentkit.errors import ToolError
from agentkit.mcp.config import ServerConfig
from agentkit.mcp.connection import Connection
from agentkit.mcp.results import result_text
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from mcp_types import Tool as ServedTool

CONNECT_TIMEOUT = 20.0
MOST_CHARACTERS = 50_000
LONGEST_NAME = 64


class McpServers:
    """Servers that run while the context is entered.

    `tools` are theirs, as `server__tool`; `problems` says in one line why a server was left out.
    """

    def __init__(
        self,
        configs: Iterable[ServerConfig],
        *,
        log_folder: Path | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        most_characters: int = MOST_CHARACTERS,
    ) -> None:
        self._connections = [
            Connection(config, _log(log_folder, config), connect_timeout)
            for config in configs
            if not config.disabled
        ]
        self._most_characters = most_characters
        self.tools: tuple[Tool, ...] = ()
        self.problems: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        try:
            outcomes = await asyncio.gather(
                *(connection.open() for connection in self._connections), return_exceptions=True
            )
        except BaseException:
            await self._close()
            raise
        self.problems = {
            connection.config.name: str(outcome) or type(outcome).__name__
            for connection, outcome in zip(self._connections, outcomes, strict=True)
            if isinstance(outcome, BaseException)
        }
        served = [
            (connection, tool)
            for connection, outcome in zip(self._connections, outcomes, strict=True)
            if not isinstance(outcome, BaseException)
            for tool in outcome
        ]
        self.tools = self._named(served)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    def _named(self, served: Sequence[tuple[Connection, ServedTool]]) -> tuple[Tool, ...]:
        names = unique_names([(connection.config.name, tool.name) for connection, tool in served])
        return tuple(
            _tool(name, connection, tool, self._most_characters)
            for name, (connection, tool) in zip(names, served, strict=True)
        )

    async def _close(self) -> None:
        await asyncio.gather(*(connection.close() for connection in self._connections))


def unique_names(pairs: Sequence[tuple[str, str]]) -> list[str]:
    """A name for each (server, tool): `server__tool` in `[A-Za-z0-9_-]`, at most 64 characters.

    A name that had to be cut, or that two tools share after cleaning, ends in a hash of both.
    """
    plain = [_cleaned(f"{server}__{tool}") for server, tool in pairs]
    return [
        name
        if len(name) <= LONGEST_NAME and plain.count(name) == 1
        else f"{name[: LONGEST_NAME - 9]}_{_hash(server, tool)}"
        for name, (server, tool) in zip(plain, pairs, strict=True)
    ]


def _tool(name: str, connection: Connection, served: ServedTool, most_characters: int) -> Tool:
    hints = served.annotations
    repeatable = bool(hints and (hints.read_only_hint or hints.idempotent_hint))

    async def call(**arguments: Any) -> str:
        result = await connection.call(served.name, arguments, repeatable=repeatable)
        text = result_text(result, most_characters)
        if result.is_error:
            raise ToolError(text or f"{name} failed and did not say why.", name)
        return text

    return Tool(
        name=name,
        description=served.description or served.title or "",
        parameters=served.input_schema,
        function=call,
    )


def _log(folder: Path | None, config: ServerConfig) -> Path | None:
    return folder / f"{_cleaned(config.name)}.log" if folder else None


def _cleaned(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:8]
