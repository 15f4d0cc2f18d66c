"""What a tool may ask of the run that calls it. The model never sees any of it."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from agentkit.documents import Chunk
from agentkit.events import Event
from agentkit.messages import Usage


class ToolContext(Protocol):
    """Given to a tool's function in the parameter that is annotated with this class."""

    @property
    def session_id(self) -> str:
        """The stored session that the run belongs to, "" where it is kept in memory."""
        ...

    @property
    def folder(self) -> Path | None:
        """The project's folder, None outside one."""
        ...

    @property
    def room(self) -> int | None:
        """How many tokens of a result the model can still read; None where nobody knows."""
        ...

    def cite(self, chunk: Chunk) -> str:
        """The marker that stands for this passage in answers: a number of the session's, given at
        the chunk's first appearance and never reused, or the chunk's id where there is none."""
        ...

    def report(self, message: str, fraction: float | None = None) -> None:
        """Tell the user how far the tool is; `fraction` from 0 to 1 where it knows."""
        ...

    def nest(self, event: Event) -> None:
        """Show what happens in a run inside this call, such as another agent's."""
        ...

    def spend(self, usage: Usage, cost: float | None = None) -> None:
        """Count tokens that the tool used, and what they cost, towards the run's."""
        ...


class NoContext:
    """A run outside any session, such as a stateless MCP call: chunk ids are the markers."""

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
