"""Use the tools of an MCP server in an agent.

The server is this same file, started as a child process. `ServerConfig(name, url=...)` connects to
one over HTTP.
"""

import asyncio
import sys

from agentkit import Agent, McpServers, Policy, ScriptedModel, ServerConfig, ToolCall, tool
from agentkit.mcp.server import build_server, serve_stdio


@tool
def convert(celsius: float) -> float:
    """Convert degrees Celsius to Fahrenheit."""
    return celsius * 9 / 5 + 32


async def serve() -> None:
    await serve_stdio(build_server("units", tools=[convert]))


async def main() -> None:
    config = ServerConfig("units", command=sys.executable, args=(__file__, "serve"))
    async with McpServers([config]) as servers:
        print([(tool.name, tool.description) for tool in servers.tools])
        model = ScriptedModel([ToolCall("1", "units__convert", {"celsius": 20}), "68 degrees."])
        # Tools of MCP servers ask for approval by default; the policy allows those of this server.
        agent = Agent(model, tools=servers.tools, policy=Policy(allow=("units__*",)))
        answer = await agent.run("20 degrees Celsius in Fahrenheit?")
        print(answer.tool_calls, answer.text)


if __name__ == "__main__":
    asyncio.run(serve() if sys.argv[1:] == ["serve"] else main())
