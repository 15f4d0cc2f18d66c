"""A conversation: its messages so far and the passages it has seen. Kept in memory."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentkit.knowledge.citations import Sources
from agentkit.messages import Message


@dataclass(slots=True)
class Session:
    """Give the same one to several runs, and each goes on from the last."""

    messages: list[Message] = field(default_factory=list)
    sources: Sources = field(default_factory=Sources)
