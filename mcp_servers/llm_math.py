"""The calculations of the lecture notes as an MCP server: `python mcp_servers/llm_math.py`.

It serves the tools of ../tools over stdin and stdout.
"""

import asyncio
import sys
from pathlib import Path

from agentkit.mcp.server import build_server, claim_stdout, serve_stdio
from agentkit.tools.loading import load_tools

PROJECT = Path(__file__).resolve().parents[1]


def main() -> None:
    protocol = claim_stdout()
    loaded = load_tools(PROJECT / "tools")
    for problem in loaded.problems:
        print(problem, file=sys.stderr)
    asyncio.run(serve_stdio(build_server("llm-math", tools=loaded.tools), protocol))


if __name__ == "__main__":
    main()
