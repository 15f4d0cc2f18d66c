"""Stored conversations: created, opened, listed, forked and searched.

Every step of a run is written as it happens, pieces of text included, so that a crash loses nothing
that was shown. A session is open in one place at a time.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agentkit._sync import Closeable
from agentkit.agent.session import Session
from agentkit.agent.session_record import Changes, changes_record, read_changes, read_json
from agentkit.agent.session_storage import (
    SearchableStorage,
    SessionStorage,
    SqliteStorage,
    StoredRecords,
)
from agentkit.errors import ConfigError, SessionBusy, SessionNotFound
from agentkit.findings import name_project
from agentkit.messages import Message
from agentkit.text.terms import terms
from agentkit.tools.repair import join_surrogates

LAST = "last"
_LONGEST_NAME = 80
_LONGEST_ID = 100
_LISTED = 1000
_POLL_SECONDS = 0.05
_LEASE = 300.0


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session without its messages. `name` is the user's, else its beginning."""

    id: str
    name: str
    created: str
    updated: str
    messages: int
    parent: str = ""
    turns: int = 0


class SessionStore(Closeable):
    """Sessions in a SQLite file, or in a storage of your own. `lease` is how many seconds a session
    stays reserved after the last step of a run, where the storage cannot tell that its process has
    died. Threads and event loops may share a store. Raises ConfigError if the file cannot be used,
    and after `close`."""

    def __init__(self, storage: str | Path | SessionStorage, *, lease: float = _LEASE) -> None:
        self.path = Path(storage) if isinstance(storage, (str, Path)) else None
        if isinstance(storage, (str, Path)):
            storage = SqliteStorage(Path(storage))
        self._kept: SessionStorage = storage
        self._lease = lease
        self._open: dict[str, StoredSession] = {}
        self._is_closed = False

    @property
    def storage(self) -> SessionStorage:
        """Where the sessions are kept. Raises ConfigError after `close`."""
        if self._is_closed:
            raise ConfigError(
                f"The session store {self.path or ''} is closed: make a new SessionStore."
            )
        return self._kept

    def create(self, name: str = "", *, id: str = "") -> StoredSession:  # noqa: A002
        """Create a session and open it, under an id of your own or a new one. It can be opened by
        its id before it has messages. Raises ConfigError for an id that is taken or invalid."""
        if id and self.storage.read(_checked_id(id)) is not None:
            raise ConfigError(f"There is a session {id!r} already: open it.")
        session_id = id or f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        return self._opened(session_id, name=_one_line(name))

    def open(self, which: str = LAST) -> StoredSession:
        """Open a session by id, by name, by the beginning of either, or the last one used. Raises
        ConfigError where none or several match, SessionBusy where it is open elsewhere. For ids
        that come from outside use `session`, which takes whole ids only."""
        return self._opened(self.find(which).id)

    def session(self, session_id: str, *, wait: float = 0.0, create: bool = True) -> OpeningSession:
        """The session of a whole id, for the length of a `with` or `async with` block, created
        where there is none unless `create` is False. Where it is open elsewhere, waits up to `wait`
        seconds, then raises SessionBusy. Raises ConfigError for an invalid or unknown id."""
        checked = _checked_id(session_id)

        def opened() -> StoredSession:
            if not create and self.storage.read(checked) is None:
                raise SessionNotFound(f"No session has the id {checked!r}. Create it first.")
            return self._opened(checked, wait)

        return OpeningSession(opened, wait)

    def read(self, which: str = LAST) -> Session:
        """A copy of a session in memory, with the text of an answer that is being written as its
        last message: the session may be open elsewhere, and nothing is written."""
        session = Session(self.find(which).id)
        _fill(session, self._stored(session.id))
        return session

    def find(self, which: str = LAST) -> SessionInfo:
        """Find a session. Raises ConfigError like `open`."""
        known = self._infos(_LISTED)
        if which == LAST and (used := [info for info in known if info.messages]):
            return used[0]
        exact = [s for s in known if s.id == which] or [s for s in known if s.name == which]
        found = exact or [s for s in known if s.id.startswith(which) or s.name.startswith(which)]
        if len(found) == 1 and which:
            return found[0]
        if not found and (stored := self.storage.read(which)) is not None:
            return _info(which, stored.fields)
        if not known or which == LAST:
            step = self._step("Start one: agentkit chat")
            raise SessionNotFound(f"There are no sessions yet. {step}")
        matches = "No session is" if not found else f"{len(found)} sessions are"
        step = self._step("See them: agentkit sessions list")
        raise SessionNotFound(f"{matches} called {which!r}. {step}")

    def recent(self, limit: int = _LISTED, *, with_empty: bool = False) -> list[SessionInfo]:
        """The sessions with messages, the most recently used first, and those without."""
        return [info for info in self._infos(limit) if info.messages or with_empty]

    def rename(self, which: str, name: str) -> None:
        """Rename a session."""
        self.storage.write(self.find(which).id, {"name": _one_line(name)}, [])

    def delete(self, which: str) -> None:
        """Delete a session. Raises SessionBusy if it is open."""
        session_id, holder = self.find(which).id, secrets.token_hex(8)
        self._acquire(session_id, holder)
        try:
            self.storage.delete(session_id)
        finally:
            self.storage.release(session_id, holder)

    def fork(self, which: str, name: str = "", messages: int | None = None) -> StoredSession:
        """Create a session with the first messages of another one, which may be open elsewhere."""
        source = self.find(which)
        copy = self.read(source.id)
        copy.pending = None
        if messages is not None and messages < len(copy.messages):
            copy.rewind(messages)
        new = self.create(name or f"{source.name} (fork)")
        self.storage.write(new.id, {"parent": source.id}, [])
        new._change(copy.changes())
        return new

    def search(self, query: str, limit: int = 20) -> list[tuple[SessionInfo, str]]:
        """Sessions with a message that contains all words, and that message; the best first."""
        wanted = list(dict.fromkeys(terms(query)))
        if not wanted:
            return []
        known = {info.id: info for info in self._infos(_LISTED)}
        hits = (
            self.storage.search(wanted, 10 * limit)
            if isinstance(self.storage, SearchableStorage)
            else self._scan(wanted, known)
        )
        found: dict[str, str] = {}
        for session_id, text in hits:
            if session_id in known:
                found.setdefault(session_id, text)
        return [(known[session_id], text) for session_id, text in found.items()][:limit]

    def close(self) -> None:
        """Close the sessions that are open, and the file."""
        for session in list(self._open.values()):
            session.close()
        self._is_closed = True
        if isinstance(self._kept, SqliteStorage):
            self._kept.close()

    def _step(self, text: str) -> str:
        """A next step for the project that the sessions belong to."""
        return name_project(text, self.path) if self.path else text

    def _infos(self, limit: int) -> list[SessionInfo]:
        return [_info(session_id, fields) for session_id, fields in self.storage.recent(limit)]

    def _stored(self, session_id: str) -> StoredRecords:
        return self.storage.read(session_id) or StoredRecords({})

    def _scan(
        self, wanted: Sequence[str], known: Mapping[str, SessionInfo]
    ) -> list[tuple[str, str]]:
        """Ids and texts of the messages that contain all words, in sessions read one by one."""
        found = []
        for session_id in known:
            session = Session()
            _fill(session, self._stored(session_id))
            texts = [m.text for m in session.messages if m.role in ("user", "assistant")]
            found += [(session_id, text) for text in texts if set(wanted) <= set(terms(text))]
        return found

    def _opened(self, session_id: str, wait: float = 0.0, name: str = "") -> StoredSession:
        """Open a session, created where there is none. Raises SessionBusy."""
        holder = secrets.token_hex(8)
        self._acquire(session_id, holder)
        try:
            stored = self.storage.read(session_id)
            if stored is None:
                now = _now()
                fields = {"created": now, "updated": now, "name": name}
                self.storage.write(session_id, fields, [])
            newest = max((info.updated for info in self._infos(1)), default="")
            records = stored or StoredRecords({})
            session = StoredSession(
                self.storage, session_id, holder, records, self._lease, wait, newest
            )
        except BaseException:
            self.storage.release(session_id, holder)
            raise
        session.on_close = lambda: self._open.pop(session_id, None)
        self._open[session_id] = session
        return session

    def _acquire(self, session_id: str, holder: str) -> None:
        if self.storage.acquire(session_id, holder, self._lease):
            return
        if session_id in self._open:
            raise SessionBusy(
                f"The session {session_id} is open already. Close it first, or wait for it: "
                "SessionStore.session(id, wait=60), in seconds."
            )
        raise SessionBusy(
            f"The session {session_id} is open in another process. Close it there, or go on "
            f"from a copy: {self._step(f'agentkit sessions fork {session_id}')}"
        )


class OpeningSession:
    """A session for the length of a block, opened at its beginning and closed at its end."""

    def __init__(self, opened: Callable[[], StoredSession], wait: float) -> None:
        self._opened, self._wait = opened, wait
        self._session: StoredSession | None = None

    def __enter__(self) -> StoredSession:
        deadline = time.monotonic() + self._wait
        while True:
            if session := self._try(deadline):
                return session
            time.sleep(_POLL_SECONDS)

    def __exit__(self, *_: object) -> None:
        if self._session:
            self._session.close()

    async def __aenter__(self) -> StoredSession:
        deadline = time.monotonic() + self._wait
        while True:
            if session := self._try(deadline):
                return session
            await asyncio.sleep(_POLL_SECONDS)

    async def __aexit__(self, *_: object) -> None:
        self.__exit__()

    def _try(self, deadline: float) -> StoredSession | None:
        """The session, None where it is open elsewhere and there is time left."""
        try:
            self._session = self._opened()
        except SessionBusy:
            if time.monotonic() >= deadline:
                raise
        return self._session


class StoredSession(Session):
    """A session that is stored as it continues. Close it so that others can open it."""

    def __init__(
        self,
        storage: SessionStorage,
        session_id: str,
        holder: str,
        stored: StoredRecords,
        lease: float,
        wait: float,
        newest: str,
    ) -> None:
        super().__init__(session_id, wait=wait)
        self._updated = newest
        self.on_close: Callable[[], object] = lambda: None
        self._storage = storage
        self.holder, self._lease, self._renewed = holder, lease, time.monotonic()
        _fill(self, replace(stored, draft=""))
        self._stored_passages = self.passages()
        if stored.draft:
            self.add([Message("assistant", stored.draft)])

    def _change(self, changes: Changes) -> None:
        super()._change(changes)
        self._write(changes)

    def draft(self, text: str) -> None:
        self.check_open()
        self._renew()
        self._storage.draft(self.id, text)

    def close(self) -> None:
        """Release the session, so that others can open it."""
        if not self._is_closed:
            super().close()
            self._storage.release(self.id, self.holder)
            self.on_close()

    def _write(self, changes: Changes) -> None:
        """Store changes, with the passages that are new or have grown."""
        self._renew()
        passages = self.passages()
        known = self._stored_passages
        changes.sources = {n: c for n, c in passages.items() if known.get(n) is not c}
        fields = {}
        if changes.messages or changes.kept is not None:
            self._updated = _now(after=self._updated)
            fields = {"updated": self._updated, "messages": str(len(self.messages))}
            fields["turns"] = str(sum(each.role == "user" for each in self.messages))
        if len(changes.messages) == len(self.messages):
            fields["beginning"] = _one_line(self.messages[0].text) if self.messages else ""
        body = json.dumps(changes_record(changes), ensure_ascii=False, default=str)
        self._storage.write(self.id, fields, [body])
        self._stored_passages = passages

    def _renew(self) -> None:
        """Prolong the reservation in time. Raises SessionBusy where another one has taken it."""
        now = time.monotonic()
        if now - self._renewed < self._lease / 4:
            return
        if not self._storage.acquire(self.id, self.holder, self._lease):
            raise SessionBusy(
                f"The session {self.id} was opened elsewhere, because no step of its run was "
                f"stored for {self._lease:g} seconds. Give SessionStore a longer lease."
            )
        self._renewed = now


def _fill(session: Session, stored: StoredRecords) -> None:
    """Make an empty session what was stored. Raises ConfigError for damaged records."""
    for record in stored.records:
        session.apply(read_changes(read_json(record)))
    if stored.draft:
        session.apply(Changes([Message("assistant", stored.draft)]))


def _info(session_id: str, fields: Mapping[str, str]) -> SessionInfo:
    return SessionInfo(
        session_id,
        fields.get("name") or fields.get("beginning", ""),
        fields.get("created", ""),
        fields.get("updated") or fields.get("created", ""),
        _read_count(fields, "messages"),
        fields.get("parent", ""),
        _read_count(fields, "turns"),
    )


def _read_count(fields: Mapping[str, str], name: str) -> int:
    """A field that is a number, 0 where it is damaged."""
    value = fields.get(name, "0")
    return int(value) if value.isdecimal() else 0


def _checked_id(session_id: str) -> str:
    """An id that any storage can take. Raises ConfigError."""
    is_printable = not any(unicodedata.category(c)[0] in "CZ" for c in session_id)
    if not session_id or len(session_id) > _LONGEST_ID or not is_printable:
        raise ConfigError(
            f"{session_id[:_LONGEST_ID]!a} cannot be the id of a session. Use 1 to {_LONGEST_ID} "
            "characters without spaces and control characters."
        )
    return session_id


def _one_line(name: str) -> str:
    return " ".join(join_surrogates(name).split())[:_LONGEST_NAME]


def _now(after: str = "") -> str:
    """The time, or just after another one that is later: the clock may have gone back, and what was
    used last stays the last."""
    now = datetime.now(UTC)
    with suppress(ValueError, OverflowError, TypeError):
        now = max(now, datetime.fromisoformat(after) + timedelta(milliseconds=1))
    return now.isoformat(timespec="milliseconds")
