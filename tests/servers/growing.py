"""An MCP server of the SDK, in the stateless protocol, that gains a tool when one is called."""

from __future__ import annotations

from mcp.server import MCPServer
from mcp.server.mcpserver import Context

server = MCPServer("growing")


def double(number: int) -> int:
    """Double a number."""
    return 2 * number


@server.tool()
async def grow(context: Context) -> str:
    """Offer one more tool."""
    server.add_tool(double)
    await context.notify_tools_changed()
    return "grown"


if __name__ == "__main__":
    server.run("stdio")
