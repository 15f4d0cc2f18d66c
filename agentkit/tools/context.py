"""RunContext and ToolContext: what instructions and tools can use of the run. The model does not
see it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from typing_extensions import TypeVar

from agentkit.documents import Chunk
from agentkit.events import Event
from agentkit.messages import Message, ToolCall, Usage

Deps = TypeVar("Deps", covariant=True, default=object)
"""The type of a run's dependencies. Without it any run fits, and `deps` is an `object`."""


class RunContext(Protocol[Deps]):
    """Passed to a function that writes the instructions of a run."""

    @property
    def deps(self) -> Deps:
        """The dependencies given to the run, such as a database handle; None without."""
        ...

    @property
    def session_id(self) -> str:
        """The id of the stored session, "" for a session in memory."""
        ...

    @property
    def prompt(self) -> str:
        """The text of the prompt that the run answers."""
        ...

    @property
    def messages(self) -> Sequence[Message]:
        """The conversation so far, the prompt included, as one that a model accepts: without the
        system message, and without a turn whose calls are still running."""
        ...

    @property
    def usage(self) -> Usage:
        """What the run has used so far."""
        ...

    @property
    def folder(self) -> Path | None:
        """The folder of the project, None without one."""
        ...


class ToolContext(RunContext[Deps], Protocol[Deps]):
    """Passed to a tool's function in the parameter annotated with this class."""

    @property
    def call(self) -> ToolCall:
        """The call that is running."""
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

    deps = None
    session_id = ""
    prompt = ""
    messages: Sequence[Message] = ()
    usage: Usage = Usage()
    folder: Path | None = None
    call: ToolCall = ToolCall("", "", {})
    room: int | None = None

    def cite(self, chunk: Chunk) -> str:
        return chunk.id

    def report(self, message: str, fraction: float | None = None) -> None:
        return None

    def nest(self, event: Event) -> None:
        return None

    def spend(self, usage: Usage, cost: float | None = None) -> None:
        return None
