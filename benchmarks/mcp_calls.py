"""The time of a call to an MCP server over stdio: the bare SDK's, through our guard, and ours.

    python benchmarks/mcp_calls.py [--calls 300] [--rounds 5]

All call the same tool of the same script, which answers at once; they take turns, and the best
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

from agentkit.mcp import guard
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
        command = [sys.executable, str(SERVER), folder]
        config = ServerConfig("full", command=command[0], args=tuple(command[1:]))
        bare = Client(StdioServerParameters(command=command[0], args=command[1:]))
        through = ["-I", "-S", guard.__file__, *command]
        guarded = Client(StdioServerParameters(command=sys.executable, args=through))
        async with McpServers([config]) as servers, bare, guarded:
            greet = next(tool for tool in servers.tools if tool.name == "full__greet")
            made: dict[str, Callable[[], Awaitable[object]]] = {
                "bare SDK": lambda: bare.call_tool("greet", ARGUMENTS),
                "with the guard": lambda: guarded.call_tool("greet", ARGUMENTS),
                "ours": lambda: greet.run(ARGUMENTS),
            }
            times: dict[str, list[float]] = {name: [] for name in made}
            for _ in range(rounds):
                for name, call in made.items():
                    times[name].append(await timed(call, calls))
    best = {name: min(found) for name, found in times.items()}
    for name, time_ in best.items():
        print(f"{name} {time_:.2f} ms, {time_ / best['bare SDK']:.2f} times")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    asyncio.run(main(given.calls, given.rounds))
