"""A conversation kept in memory. `session_store` keeps conversations in a file."""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.agent.loop import Pending
from agentkit.knowledge.citations.passages import Sources
from agentkit.messages import Message


class Session:
    """A conversation that several runs continue.

    `messages` is the full history. `view` is what the next request starts with: the history, or
    its compacted form. `pending` is a turn with calls that wait for approval.
    """

    def __init__(self, id: str = "") -> None:  # noqa: A002
        self.id = id
        self.messages: list[Message] = []
        self.view: list[Message] = []
        self.sources = Sources()
        self.pending: Pending | None = None

    def add(self, messages: Sequence[Message]) -> None:
        """Append messages to the history and the view."""
        self.messages += messages
        self.view += messages

    def compact(self, view: Sequence[Message]) -> None:
        """Start the next request with this view."""
        self.view = list(view)

    def wait(self, pending: Pending | None) -> None:
        """Set the turn that waits for approval, None for none."""
        self.pending = pending

    def draft(self, text: str) -> None:
        """Keep a piece of an answer that is being written, where a crash must not lose it."""
        return None
