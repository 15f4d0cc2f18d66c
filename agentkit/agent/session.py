"""A conversation kept in memory, and as JSON. `session_store` keeps conversations elsewhere."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager

from agentkit._sync import Closeable
from agentkit.agent.approval import Verdict
from agentkit.agent.pending import PausedAgent, Pending
from agentkit.agent.session_record import (
    VERSION,
    Changes,
    Note,
    changes_record,
    check_prompt,
    invalid_session,
    read_changes,
    read_json,
)
from agentkit.documents import Chunk
from agentkit.errors import AlreadyDecided, ConfigError, SessionBusy
from agentkit.knowledge.citations.passages import Sources
from agentkit.messages import Message, Record, ToolCall

_POLL_SECONDS = 0.01


class Session(Closeable):
    """A conversation that several runs continue, one after the other.

    `messages` is the full history. `view` is what the next request starts with: the history, or
    its compacted form. `pending` is a turn with calls that wait for approval, `notes` are what the
    application keeps with the conversation. A run on a session that another run has is refused with
    SessionBusy, or waits for it up to `wait` seconds.
    """

    def __init__(self, id: str = "", *, wait: float = 0.0) -> None:  # noqa: A002
        self.id = id
        self.messages: list[Message] = []
        self.view: list[Message] = []
        self.sources: Sources = Sources()
        self.pending: Pending | None = None
        self.notes: list[Note] = []
        self._is_resumed = False
        self._is_closed = False
        self._wait = wait
        self._runs = deque[object]()
        self._lock = threading.Lock()

    @property
    def waiting(self) -> tuple[ToolCall, ...]:
        """The calls that wait for approval, those in sub-agents included."""
        return self.pending.waiting if self.pending else ()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Hold the session for one run, in the order of the calls, on any event loop. Raises
        SessionBusy, and ConfigError for a closed session."""
        self.check_open()
        run = object()
        with self._lock:
            self._runs.append(run)
        deadline = time.monotonic() + self._wait
        try:
            while self._runs[0] is not run:
                if time.monotonic() >= deadline:
                    raise SessionBusy(
                        f"Another run has the session {self.id or '(in memory)'}. Start this one "
                        "when that has ended, use a session for each conversation, or let runs "
                        "wait for each other: wait=60, in seconds, where the session is opened."
                    )
                await asyncio.sleep(_POLL_SECONDS)
            self.check_open()
            yield
        finally:
            with self._lock:
                self._runs.remove(run)

    @contextmanager
    def decide(self, verdicts: Mapping[str, Verdict]) -> Iterator[Pending]:
        """The turn that waits, for the one run that resumes it. Raises AlreadyDecided where no
        turn waits, another run resumes it, or one of the calls does not wait, and ConfigError where
        a call is allowed whose arguments changed."""
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
        if messages:
            self._change(Changes(messages))

    def compact(self, view: Sequence[Message]) -> None:
        """Start the next request with this view."""
        self._change(Changes(view=view))

    def pause(self, pending: Pending) -> None:
        """Keep a turn that waits for approval."""
        self._change(Changes(pending=pending))

    def note(self, record: Record) -> None:
        """Keep a JSON object with the conversation, behind its last message. No model reads it."""
        self._change(Changes(notes=[Note(len(self.messages), record)]))

    def rewind(self, count: int) -> None:
        """Drop all messages after the first `count`, their notes, and a turn that waits. Markers
        of passages are not given again."""
        self._change(Changes(kept=count))

    def _change(self, changes: Changes) -> None:
        """Continue the open session by changes, and keep them. Raises ConfigError."""
        self.check_open()
        self.apply(changes)

    def draft(self, text: str) -> None:
        """Keep a piece of an answer that is being written, where a crash must not lose it."""
        return None

    def close(self) -> None:
        """End the use of the session: another run raises ConfigError."""
        self._is_closed = True

    def check_open(self) -> None:
        """Raise ConfigError after `close`."""
        if self._is_closed:
            raise ConfigError(
                f"The session {self.id or '(in memory)'} is closed: open it again from its store."
            )

    def to_json(self) -> str:
        """The whole session as JSON, for `from_json`: messages with images, passages by number,
        the compacted view, and the turn that waits for approval."""
        return json.dumps(self.record(), ensure_ascii=False, default=str)

    @staticmethod
    def from_json(text: str | bytes, *, wait: float = 0.0) -> Session:
        """A session in memory, as `to_json` wrote it. Raises ConfigError for any other text, and
        for one of a newer version."""
        record = read_json(text)
        if not record.keys() & {"version", "messages"}:
            raise invalid_session("neither version nor messages")
        _check_text(record)
        session = Session(record.get("id", ""), wait=wait)
        session.apply(read_changes(record))
        return session

    def record(self) -> Record:
        """The session as a JSON object."""
        return {"version": VERSION, "id": self.id, **changes_record(self.changes())}

    def changes(self) -> Changes:
        """All that the session holds."""
        view = self.view if self.view != self.messages else None
        return Changes(self.messages, self.passages(), view, self.pending, self.notes)

    def passages(self) -> dict[str, Chunk]:
        """The passages that were shown to the model, by marker."""
        numbers = self.sources.numbers()
        return {n: chunk for n in numbers if (chunk := self.sources.find(n)) is not None}

    def apply(self, changes: Changes) -> None:
        """Continue the session by recorded changes. Raises ConfigError where they do not fit."""
        if changes.kept is not None:
            self.messages = self.messages[: changes.kept]
            self.view = list(self.messages)
            self.notes = [note for note in self.notes if note.after <= changes.kept]
            self.pending = None
        for marker, chunk in changes.sources.items():
            if self.sources.mark(chunk) != marker:
                raise invalid_session(f"passage {marker} is out of order or stands there twice")
        if changes.messages:
            self.messages += changes.messages
            self.view += changes.messages
            self.pending = None
        if changes.view is not None:
            self.view = list(changes.view)
        if changes.pending is not None:
            check_prompt(changes.pending, self.messages)
            self.pending = changes.pending
        self.notes += changes.notes


def _check_text(record: Record) -> None:
    """Raise ConfigError for half of a surrogate pair, which stores refuse."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise invalid_session(str(error)) from None


def pause_session(session: Session) -> PausedAgent | None:
    """The conversation of a sub-agent as a value; None where no call of it waits."""
    if session.pending is None:
        return None
    chunks = tuple(session.passages().values())
    return PausedAgent(tuple(session.messages), tuple(session.view), chunks, session.pending)


def resume_session(paused: PausedAgent) -> Session:
    """The conversation of a sub-agent that waits."""
    session = Session()
    session.messages, session.view = list(paused.messages), list(paused.view)
    for chunk in paused.chunks:
        session.sources.mark(chunk)
    session.pending = paused.pending
    return session
