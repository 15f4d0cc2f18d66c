"""ToolContext: what a tool can use of the run that calls it. The model does not see it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from agentkit.documents import Chunk
from agentkit.events import Event
from agentkit.messages import Usage


class ToolContext(Protocol):
    """Passed to a tool's function in the parameter annotated with this class."""

    @property
    def session_id(self) -> str:
        """The id of the stored session, "" for a session in memory."""
        ...

    @property
    def folder(self) -> Path | None:
        """The folder of the project, None without one."""
        ...

    @property
    def room(self) -> int | None:
        """How many tokens of a result fit into the model's context; None if unknown."""
        ...

    def cite(self, chunk: Chunk) -> str:
        """Return the marker by which answers cite a passage: its number in the session, or the
        chunk's id outside a session."""
        ...

    def report(self, message: str, fraction: float | None = None) -> None:
        """Show progress to the user; `fraction` is between 0 and 1."""
        ...

    def nest(self, event: Event) -> None:
        """Forward an event of a run inside this call, such as that of a subagent."""
        ...

    def spend(self, usage: Usage, cost: float | None = None) -> None:
        """Add tokens and cost that the tool used to those of the run."""
        ...


class NoContext:
    """The context of a call outside any run, such as a stateless MCP call; does nothing."""

    session_id = ""
    folder: Path | None = None
    room: int | None = None

    def cite(self, chunk: Chunk) -> str:
        return chunk.id

    def report(self, message: str, fraction: float | None = None) -> None:
        return None

    def nest(self, event: Event) -> None:
        return None

    def spend(self, usage: Usage, cost: float | None = None) -> None:
        return None
