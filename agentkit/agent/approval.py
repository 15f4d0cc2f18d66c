"""The user's word on a tool that needs it. Nobody to ask means no."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool

Approve = Callable[[Tool, ToolCall], Awaitable[bool]]
"""Asked before a tool marked `needs_approval` runs with these arguments."""


async def deny(tool: Tool, call: ToolCall) -> bool:
    """The default: nobody is there to ask."""
    return False


async def allow(tool: Tool, call: ToolCall) -> bool:
    """For programs whose author has decided beforehand."""
    return True
