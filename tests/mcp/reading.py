"""Helpers to read the results of MCP servers."""

from __future__ import annotations

from agentkit.messages import Content, text_of


def inside(content: Content) -> str:
    """What stands between the two lines that mark data from outside."""
    first, *lines, last = text_of(content).split("\n")
    mark = first.split()[1]
    assert first.startswith(f"[data {mark} from the MCP server ")
    assert last == f"[end of data {mark}]"
    return "\n".join(lines)
