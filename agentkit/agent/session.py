"""A conversation: what was said, how the model last saw it, and the passages it has seen.

This one is kept in memory; `sessions` keeps them in a file.
"""

from __future__ import annotations

from collections.abc import Sequence

from agentkit.agent.loop import Pending
from agentkit.knowledge.citations.passages import Sources
from agentkit.messages import Message


class Session:
    """Give the same one to several runs, and each goes on from the last.

    `messages` is all that was said. `view` is what the next request begins with: the same, or
    what a compaction made of it. `pending` is a turn of which calls wait for the user's word.
    """

    def __init__(self, id: str = "") -> None:  # noqa: A002
        self.id = id
        self.messages: list[Message] = []
        self.view: list[Message] = []
        self.sources = Sources()
        self.pending: Pending | None = None

    def add(self, messages: Sequence[Message]) -> None:
        """What was said goes to the end of both."""
        self.messages += messages
        self.view += messages

    def compact(self, view: Sequence[Message]) -> None:
        """The next request begins with this."""
        self.view = list(view)

    def wait(self, pending: Pending | None) -> None:
        """Calls wait for the user's word, or no longer do."""
        self.pending = pending

    def draft(self, text: str) -> None:
        """A piece of an answer that is being written; kept where a crash must not lose it."""
        return None
