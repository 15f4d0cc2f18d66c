"""What a tool may ask of the run that calls it. The model never sees any of it."""

from __future__ import annotations

from typing import Protocol

from agentkit.documents import Chunk


class ToolContext(Protocol):
    """Given to a tool's function in the parameter that is annotated with this class."""

    def cite(self, chunk: Chunk) -> str:
        """The marker that stands for this passage in answers: a number of the session's, given at
        the chunk's first appearance and never reused, or the chunk's id where there is none."""
        ...

    def report(self, message: str, fraction: float | None = None) -> None:
        """Tell the user how far the tool is; `fraction` from 0 to 1 where it knows."""
        ...


class NoContext:
    """A run outside any session, such as a stateless MCP call: chunk ids are the markers."""

    def cite(self, chunk: Chunk) -> str:
        return chunk.id

    def report(self, message: str, fraction: float | None = None) -> None:
        return None
