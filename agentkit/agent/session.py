"""A conversation kept in memory. `session_store` keeps conversations in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from agentkit.agent.pending import PausedAgent, Pending
from agentkit.errors import AlreadyDecided
from agentkit.knowledge.citations.passages import Sources
from agentkit.messages import Message, ToolCall


class Session:
    """A conversation that several runs continue.

    `messages` is the full history. `view` is what the next request starts with: the history, or
    its compacted form. `pending` is a turn with calls that wait for approval.
    """

    def __init__(self, id: str = "") -> None:  # noqa: A002
        self.id = id
        self.messages: list[Message] = []
        self.view: list[Message] = []
        self.sources: Sources = Sources()
        self.pending: Pending | None = None
        self._is_resumed = False

    @property
    def waiting(self) -> tuple[ToolCall, ...]:
        """The calls that wait for approval, those in sub-agents included."""
        return self.pending.waiting if self.pending else ()

    @contextmanager
    def decide(self, verdicts: Iterable[str]) -> Iterator[Pending]:
        """The turn that waits, for the one run that resumes it. Raises AlreadyDecided where no
        turn waits, another run resumes it, or one of the calls does not wait."""
        if self.pending is None:
            raise AlreadyDecided("No call of this session waits for a decision.")
        if self._is_resumed:
            raise AlreadyDecided("Another run has the decision on the calls of this session.")
        self.pending.check(verdicts)
        self._is_resumed = True
        try:
            yield self.pending
        finally:
            self._is_resumed = False

    def add(self, messages: Sequence[Message]) -> None:
        """Append a prompt or a complete turn to the history and the view. A turn that waited for
        approval is over then."""
        self.messages += messages
        self.view += messages
        self.pending = None

    def compact(self, view: Sequence[Message]) -> None:
        """Start the next request with this view."""
        self.view = list(view)

    def wait(self, pending: Pending | None) -> None:
        """Set the turn that waits for approval, None for none."""
        self.pending = pending

    def draft(self, text: str) -> None:
        """Keep a piece of an answer that is being written, where a crash must not lose it."""
        return None


def pause_session(session: Session) -> PausedAgent | None:
    """The conversation of a sub-agent as a value; None where no call of it waits."""
    if session.pending is None:
        return None
    chunks = tuple(chunk for n in session.sources.numbers() if (chunk := session.sources.find(n)))
    return PausedAgent(tuple(session.messages), tuple(session.view), chunks, session.pending)


def resume_session(paused: PausedAgent) -> Session:
    """The conversation of a sub-agent that waits."""
    session = Session()
    session.messages, session.view = list(paused.messages), list(paused.view)
    for chunk in paused.chunks:
        session.sources.mark(chunk)
    session.pending = paused.pending
    return session
