"""What becomes of a tool's function, however it ends."""

from __future__ import annotations

import sys

import pytest

from agentkit.errors import ToolError
from agentkit.tools.tool import tool


@tool
def leaves() -> str:
    """End the program, as a library for command lines does."""
    sys.exit("usage: leaves")


@tool
async def leaves_later() -> str:
    """The same, without a thread."""
    sys.exit(2)


async def test_a_tool_that_exits_fails_and_the_program_goes_on() -> None:
    with pytest.raises(ToolError, match="leaves failed: SystemExit: usage: leaves"):
        await leaves.run({})
    with pytest.raises(ToolError, match="leaves_later failed: SystemExit: 2"):
        await leaves_later.run({})
