"""What the tests use that is published for Node alone, pinned: `python -m tests.node` installs it
into build/node. Where npm is not at hand or has nothing to take from, those tests are skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentkit.errors import McpError
from agentkit.mcp.node import NODE, NodeFolder
from agentkit.mcp.suite import SUITE

ROOT = Path(__file__).parents[1]
PACKAGES = (
    NODE,
    SUITE,
    "@modelcontextprotocol/sdk@1.32.2",
    "@modelcontextprotocol/client@2.4.0",
    "@modelcontextprotocol/server-everything@2026.8.31",
    "@modelcontextprotocol/server-filesystem@2026.8.31",
    "@modelcontextprotocol/server-memory@2026.8.31",
)
FOLDER = NodeFolder(ROOT / "build" / "node", PACKAGES)
BIN = FOLDER.modules / ".bin"
PATH = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
"""The environment in which the packages' commands find Node."""

with_node = pytest.mark.skipif(
    not FOLDER.is_ready, reason="npm has not brought Node's packages: python -m tests.node"
)


def main() -> None:
    try:
        FOLDER.install()
    except McpError as error:
        print(f"The tests of Node's peers are skipped: {error}")


if __name__ == "__main__":
    main()
