"""Tests for implementations of agentkit's protocols, to call from a test of your own."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from agentkit.agent.session_storage import SessionStorage, StoredRecords
from agentkit.agent.session_store import SessionStore
from agentkit.errors import SessionBusy
from agentkit.messages import ImagePart, Message, TextPart, ToolCall

_TEXTS = ["line\nbreak\ttab \\ \" ' % _ $1", "中文 é é 🜚 \u202e", "", "x" * 1_000_000]
_RECORDS = [json.dumps({"text": text}, ensure_ascii=False) for text in _TEXTS]
_RECORD = _RECORDS[0]


def check_session_storage(make: Callable[[], SessionStorage]) -> None:
    """Check that a storage does what `SessionStorage` promises. `make` gives a storage of the same
    data each time, as another process would open it. Sessions of random ids are written and
    deleted. Raises AssertionError, which says what is wrong."""
    for check in (
        _check_records,
        _check_drafts,
        _check_recent,
        _check_reservations,
        _check_threads,
        _check_conversation,
    ):
        with _sessions(make()) as ids:
            check(make, *ids)


@contextmanager
def _sessions(storage: SessionStorage) -> Iterator[tuple[str, str]]:
    """Two ids that are not used, one the beginning of the other; deleted at the end."""
    first = f"check-{secrets.token_hex(8)}"
    ids = first, f"{first}:é/%2F*"
    try:
        yield ids
    finally:
        for each in ids:
            storage.delete(each)


def _check_records(make: Callable[[], SessionStorage], one: str, other: str) -> None:
    storage = make()
    assert storage.read(one) is None, "read gives None for an unknown session"
    storage.delete(one)
    storage.write(one, {"name": "first", "created": "2026"}, [])
    storage.write(one, {"name": _TEXTS[0]}, _RECORDS[:2])
    storage.write(one, {}, _RECORDS[2:])
    storage.write(other, {"name": "other"}, [_RECORD])
    for reader in (storage, make()):
        assert _read(reader, one).records == _RECORDS, "records are kept whole, in order"
        fields = dict(_read(reader, one).fields)
        assert fields == {"name": _TEXTS[0], "created": "2026"}, "write sets fields, keeps others"
    storage.delete(one)
    assert make().read(one) is None, "delete removes a session"
    assert _read(make(), other).records == [_RECORD], "delete leaves other sessions"
    storage.write(one, {"name": "again"}, [_RECORD])
    assert _read(storage, one) == StoredRecords({"name": "again"}, [_RECORD]), "it starts anew"


def _check_drafts(make: Callable[[], SessionStorage], one: str, other: str) -> None:
    storage = make()
    storage.write(one, {}, [_RECORD])
    storage.write(other, {}, [_RECORD])
    storage.draft(one, "half an ")
    storage.draft(one, "answer")
    storage.write(one, {"name": "renamed"}, [])
    draft = _read(make(), one).draft
    assert draft in ("", "half an answer"), "a draft is kept whole, or not at all"
    assert _read(make(), other).draft == "", "a draft belongs to one session"
    storage.write(one, {}, [_RECORD])
    assert _read(make(), one).draft == "", "records end the draft"


def _check_recent(make: Callable[[], SessionStorage], one: str, other: str) -> None:
    storage = make()
    storage.write(other, {"updated": "9999-01-01", "name": "old"}, [])
    storage.write(one, {"updated": "9999-01-02"}, [])
    storage.write(other, {"name": "new"}, [])
    found = [(id_, dict(fields)) for id_, fields in make().recent(2)]
    expected = [
        (one, {"updated": "9999-01-02"}),
        (other, {"updated": "9999-01-01", "name": "new"}),
    ]
    assert found == expected, "recent orders by the field updated"
    assert len(make().recent(1)) == 1, "recent gives at most so many"


def _check_reservations(make: Callable[[], SessionStorage], one: str, other: str) -> None:
    first, second = make(), make()
    assert first.acquire(one, "a", 60), "a free session can be acquired"
    assert first.acquire(one, "a", 60), "the holder can prolong its reservation"
    assert not second.acquire(one, "b", 60), "a reserved session is refused"
    assert not first.acquire(one, "b", 60), "a reserved session is refused to its own process"
    assert second.acquire(other, "b", 60), "another session is free"
    second.release(one, "b")
    assert not second.acquire(one, "b", 60), "only the holder can release"
    first.release(one, "a")
    assert second.acquire(one, "b", 60), "a released session can be acquired"
    second.release(one, "b")
    second.release(other, "b")


def _check_threads(make: Callable[[], SessionStorage], one: str, other: str) -> None:
    storage = make()

    def write(number: int) -> None:
        storage.write((one, other)[number % 2], {f"f{number}": "x"}, _pair(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(64)))
    stored = [_read(make(), each) for each in (one, other)]
    pairs = [list(each.records[at : at + 2]) for each in stored for at in range(0, 64, 2)]
    assert sorted(pairs) == sorted(map(_pair, range(64))), "no write is torn"
    assert sum(len(each.fields) for each in stored) == 64, "no field is lost"


def _pair(number: int) -> list[str]:
    return [json.dumps({"number": number, "half": half}) for half in (1, 2)]


def _check_conversation(make: Callable[[], SessionStorage], one: str, other: str) -> None:
    call = ToolCall("1", "add", {"a": 1})
    messages = [
        Message("user", (TextPart("look"), ImagePart(b"\x89PNG\0"))),
        Message("assistant", "", (call,)),
        Message("tool", "2", tool_call_id="1"),
    ]
    store = SessionStore(make())
    with store.session(one) as session:
        session.add(messages)
        session.compact([Message("system", "summary"), *messages[1:]])
        try:
            SessionStore(make()).open(one)
        except SessionBusy:
            pass
        else:
            raise AssertionError("a session is open in one place at a time")
        view = list(session.view)
    with SessionStore(make()).session(one) as again:
        assert (again.messages, again.view) == (messages, view), "a conversation is kept whole"
    copy = store.fork(one, messages=1)
    assert copy.messages == messages[:1], "a fork has the first messages"
    copy.close()
    store.delete(copy.id)


def _read(storage: SessionStorage, session_id: str) -> StoredRecords:
    stored = storage.read(session_id)
    assert stored is not None, "a session that was written can be read"
    return StoredRecords(dict(stored.fields), list(stored.records), stored.draft)
