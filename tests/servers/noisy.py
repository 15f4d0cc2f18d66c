"""Our server over stdio, with tools that print to stdout in every way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

from agentkit import tool
from agentkit.mcp.server import build_server, claim_stdout, serve_stdio


@tool
def shout(word: str) -> str:
    """Print a word in three ways, then give it back."""
    print(f"print {word}", end="")
    os.write(1, f"write {word}\n".encode())
    subprocess.run([sys.executable, "-c", "print('child')"], check=True)
    return word


def main() -> None:
    wire = claim_stdout()
    print("before the server is built")
    asyncio.run(serve_stdio(build_server("noisy", tools=[shout]), wire))
    print("after the end")


if __name__ == "__main__":
    main()
