"""Write sessions in a thread of their own, so that a slow disk or a lost database does not hold up
the answers that are being written.

Steps are made in their order, pieces of one answer together. A database that cannot be reached is
tried again for a while; what then cannot be written is an error of the session's next step, and of
`settle`, which the end of an answer waits for. Whoever reads waits for the steps before.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agentkit.agent.session_storage import SessionStorage, StoredRecords
from agentkit.errors import AgentkitError, StorageUnavailable
from agentkit.redaction import get_logger

log = get_logger(__name__)

RETRY_SECONDS = 60.0
"""How long a step is tried again while its storage is unavailable."""

PAUSE_SECONDS = 0.5
"""Between two tries."""

READ_SECONDS = 10.0
"""How long a reader waits for the steps before."""

MOST_CHARACTERS = 50_000_000
"""Characters that may wait to be written."""


class OwnedStorage(SessionStorage, Protocol):
    """A storage that is searched, and closed."""

    def search(self, words: Sequence[str], limit: int) -> Sequence[tuple[str, str]]: ...

    def close(self) -> None: ...


@dataclass
class _Step:
    """What is to be done in a session: `make` writes, unless the step is a piece of an answer."""

    session_id: str
    size: int
    make: Callable[[], None] | None = None
    draft: str = ""
    count: int = 1
    """How many steps it stands for."""


class BackgroundStorage:
    """A storage whose `write`, `draft` and `release` return at once. `lease` is in seconds: the
    reservations of sessions are prolonged here, since a run may be silent for longer."""

    def __init__(
        self, storage: OwnedStorage, *, lease: float = 60.0, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        self._storage = storage
        self._lease = lease
        self._retry_seconds = retry_seconds
        self._steps: deque[_Step] = deque()
        self._size = self._put_count = self._made_count = 0
        self._failed: dict[str, AgentkitError] = {}
        self._held: dict[str, str] = {}
        self._wakers: set[Callable[[], None]] = set()
        self._is_retrying = self._is_closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="session writer", daemon=True)
        self._thread.start()

    def write(self, session_id: str, fields: Mapping[str, str], records: Sequence[str]) -> None:
        size, kept = sum(map(len, records)), (dict(fields), list(records))
        self._put(_Step(session_id, size, lambda: self._storage.write(session_id, *kept)))

    def draft(self, session_id: str, text: str) -> None:
        self._put(_Step(session_id, len(text), draft=text))

    def read(self, session_id: str) -> StoredRecords | None:
        self._wait()
        return self._storage.read(session_id)

    def recent(self, limit: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        self._wait()
        return self._storage.recent(limit)

    def search(self, words: Sequence[str], limit: int) -> Sequence[tuple[str, str]]:
        self._wait()
        return self._storage.search(words, limit)

    def delete(self, session_id: str) -> None:
        self._wait()
        self._storage.delete(session_id)

    def acquire(self, session_id: str, holder: str, seconds: float) -> bool:
        if self._held.get(session_id) == holder:
            return True  # It is prolonged in the background.
        self._wait()
        if not self._storage.acquire(session_id, holder, self._lease):
            return False
        self._failed.pop(session_id, None)
        self._held[session_id] = holder
        return True

    def release(self, session_id: str, holder: str) -> None:
        def released() -> None:
            if self._held.get(session_id) == holder:
                del self._held[session_id]
            self._storage.release(session_id, holder)

        with self._changed:
            self._failed.pop(session_id, None)
        self._put(_Step(session_id, 0, released))

    async def settle(self, session_id: str) -> None:
        """Wait until the steps of a session so far are made. Raises what kept one from that."""
        loop, made, until = asyncio.get_running_loop(), asyncio.Event(), self._put_count

        def wake() -> None:
            loop.call_soon_threadsafe(made.set)

        with self._changed:
            self._wakers.add(wake)
        try:
            while self._made_count < until and session_id not in self._failed:
                await made.wait()
                made.clear()
        finally:
            with self._changed:
                self._wakers.discard(wake)
        self._raise_failure(session_id)

    def close(self) -> None:
        """Make the steps that wait, end the thread and close the storage."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join()
        self._storage.close()

    def _put(self, step: _Step) -> None:
        """Queue a step. Raises what kept an earlier one of its session from being made."""
        with self._changed:
            self._raise_failure(step.session_id)
            if self._size + step.size > MOST_CHARACTERS:
                raise StorageUnavailable("Too much waits to be stored. Ask again in a moment.")
            self._size += step.size
            self._put_count += 1
            self._steps.append(step)
            self._changed.notify_all()

    def _wait(self) -> None:
        """Wait until the steps so far are made. Raises StorageUnavailable where that takes long."""
        with self._changed:
            until = self._put_count
            self._changed.wait_for(
                lambda: self._made_count >= until or self._is_retrying, READ_SECONDS
            )
            if self._made_count < until:
                raise StorageUnavailable(
                    "The storage of the sessions cannot be used now. Try again in a moment."
                )

    def _raise_failure(self, session_id: str) -> None:
        if error := self._failed.get(session_id):
            raise error

    def _work(self) -> None:
        renewed = time.monotonic()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._steps or self._is_closed, self._lease / 4)
                if not self._steps and self._is_closed:
                    return
                step = self._taken() if self._steps else None
            if step:
                self._make(step)
            if time.monotonic() - renewed > self._lease / 4:
                renewed = time.monotonic()
                self._renew()

    def _taken(self) -> _Step:
        """The next step; a piece of an answer with the pieces that follow in the queue before
        another step of its session."""
        first = self._steps.popleft()
        if first.make:
            return first
        rest: deque[_Step] = deque()
        pieces, is_open = [first.draft], True
        for step in self._steps:
            is_own = step.session_id == first.session_id
            is_open = is_open and not (is_own and step.make)
            if is_own and is_open:
                pieces.append(step.draft)
                first.size, first.count = first.size + step.size, first.count + 1
            else:
                rest.append(step)
        self._steps, first.draft = rest, "".join(pieces)
        return first

    def _make(self, step: _Step) -> None:
        """Make a step; a session of which one cannot be made takes no further ones."""
        error = None if step.session_id in self._failed and step.size else self._tried(step)
        with self._changed:
            self._size -= step.size
            self._made_count += step.count
            self._is_retrying = False
            if error:
                log.warning("A session cannot be stored: %s", error)
                self._failed[step.session_id] = error
            self._changed.notify_all()
            for wake in self._wakers:
                wake()

    def _tried(self, step: _Step) -> AgentkitError | None:
        """Make a step, tried again while the storage is unavailable; what keeps it from that."""
        deadline = time.monotonic() + self._retry_seconds
        while True:
            try:
                if step.make:
                    step.make()
                else:
                    self._storage.draft(step.session_id, step.draft)
                return None
            except StorageUnavailable as error:
                if time.monotonic() > deadline or self._is_closed:
                    return error
                with self._changed:
                    self._is_retrying = True
                    self._changed.notify_all()
                time.sleep(PAUSE_SECONDS)
            except AgentkitError as error:
                return error
            except Exception as error:
                log.exception("A session cannot be stored")
                return StorageUnavailable(f"The session cannot be stored: {error}.")

    def _renew(self) -> None:
        """Prolong the reservations of the sessions that are open."""
        for session_id, holder in list(self._held.items()):
            try:
                if not self._storage.acquire(session_id, holder, self._lease):
                    log.warning("Session %s was opened elsewhere", session_id)
            except AgentkitError as error:
                log.warning("A session's reservation cannot be prolonged: %s", error)
                return
