"""An MCP server over a knowledge base, an agent and tools.

Tools that need approval are left out, for nobody here could be asked.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from agentkit.errors import ConfigError
from agentkit.mcp.offers import Answering, Knowledge, ask_tool, knowledge_tools
from agentkit.tools.tool import Tool

if TYPE_CHECKING:
    from mcp.server import MCPServer


def build_server(
    name: str,
    *,
    knowledge: Knowledge | None = None,
    agent: Answering | None = None,
    tools: Iterable[Tool] = (),
) -> MCPServer[Any]:
    """A server that offers search_knowledge, read_document and list_documents (of `knowledge`),
    ask (of `agent`) and `tools`. It is given what it serves and closes none of it.

    Raises ConfigError where two tools have one name.
    """
    from mcp.server import MCPServer

    from agentkit.mcp.served import served

    read = knowledge_tools(knowledge) if knowledge is not None else ()
    act = [ask_tool(agent)] if agent is not None else []
    act += [tool for tool in tools if not tool.needs_approval]
    offered = [served(tool, reads_only=True) for tool in read] + [served(tool) for tool in act]
    names = [tool.name for tool in offered]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"Two tools are called {min(twice)!r}: rename one.")
    return MCPServer(name, log_level="WARNING", tools=[*offered])


def claim_stdout() -> int:
    """Take the real stdout for the protocol, as a file descriptor for `serve_stdio`. For the rest
    of the process whatever is printed goes to stderr: call it before anything may print."""
    sys.stdout.flush()
    wire = os.dup(1)
    os.dup2(2, 1)
    return wire


async def serve_stdio(server: MCPServer[Any], wire: int | None = None) -> None:
    """Serve over stdin and stdout until stdin ends. `wire` comes from `claim_stdout`, for those
    who had to call it early; nothing but the protocol is written to it."""
    wire = claim_stdout() if wire is None else wire
    sys.stdout.flush()
    os.dup2(wire, 1)
    try:
        await server.run_stdio_async()
    finally:
        os.dup2(2, 1)
