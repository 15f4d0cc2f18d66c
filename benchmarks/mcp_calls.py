"""The time of a call to an MCP server over stdio: ours beside the bare SDK's, on one server.

    python benchmarks/mcp_calls.py [--calls 300] [--rounds 5]

Both call the same tool of the same script, which answers at once; they take turns, and the best
round of each counts. Ours adds names, bounds, timeouts and the marks around what came.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from agentkit.mcp.client import McpServers
from agentkit.mcp.config import ServerConfig

SERVER = Path(__file__).parents[1] / "tests" / "servers" / "full_server.py"
ARGUMENTS = {"who": "Ada"}


async def timed(call: Callable[[], Awaitable[object]], calls: int) -> float:
    """The median of a call, in milliseconds."""
    times = []
    for _ in range(calls):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


async def main(calls: int, rounds: int) -> None:
    from mcp import Client, StdioServerParameters

    with tempfile.TemporaryDirectory() as folder:
        args = [str(SERVER), folder]
        config = ServerConfig("full", command=sys.executable, args=tuple(args))
        bare = Client(StdioServerParameters(command=sys.executable, args=args))
        async with McpServers([config]) as servers, bare as client:
            greet = next(tool for tool in servers.tools if tool.name == "full__greet")
            ours, theirs = [], []
            for _ in range(rounds):
                theirs.append(await timed(lambda: client.call_tool("greet", ARGUMENTS), calls))
                ours.append(await timed(lambda: greet.run(ARGUMENTS), calls))
    print(f"bare SDK {min(theirs):.2f} ms, ours {min(ours):.2f} ms", end="")
    print(f": {min(ours) / min(theirs):.2f} times ({calls} calls, best of {rounds} rounds)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.calls, given.rounds))
