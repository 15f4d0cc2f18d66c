"""Sessions written in the background: order, outages, failures, and what readers see."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agentkit import Message, SessionStore
from agentkit.agent.session_storage import SqliteStorage
from agentkit.errors import StorageFull, StorageUnavailable
from agentkit.server.background_storage import BackgroundStorage


class FaultyStorage(SqliteStorage):
    """Raises what `fault` gives, at each write, and notes the pieces of answers."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.fault: Callable[[], Exception | None] = lambda: None
        self.pieces: list[str] = []
        self.entered, self.go = threading.Event(), threading.Event()
        self.go.set()

    def write(self, session_id: str, fields: Mapping[str, str], records: Sequence[str]) -> None:
        self._fail()
        super().write(session_id, fields, records)

    def draft(self, session_id: str, text: str) -> None:
        self._fail()
        self.pieces.append(text)
        super().draft(session_id, text)

    def _fail(self) -> None:
        self.entered.set()
        self.go.wait()
        if error := self.fault():
            raise error


@contextmanager
def background(
    tmp_path: Path, retry_seconds: float = 30.0
) -> Iterator[tuple[FaultyStorage, BackgroundStorage]]:
    storage = FaultyStorage(tmp_path / "sessions.sqlite")
    with closing(BackgroundStorage(storage, retry_seconds=retry_seconds)) as kept:
        yield storage, kept
        storage.go.set()


def test_a_reader_sees_every_step_before_it_and_pieces_are_written_together(
    tmp_path: Path,
) -> None:
    with background(tmp_path) as (storage, kept):
        store = SessionStore(kept)
        session = store.create("one")
        session.add([Message("user", "question")])
        store.read("one")
        storage.entered.clear()
        storage.go.clear()
        session.draft("first")
        storage.entered.wait()
        for piece in ("a", "b", "c"):
            session.draft(piece)
        storage.go.set()
        assert store.read("one").messages[-1].text == "firstabc"
        assert storage.pieces == ["first", "abc"]
        session.add([Message("assistant", "firstabc and the rest")])
        session.close()
        with store.open("one") as again:
            assert [m.text for m in again.messages] == ["question", "firstabc and the rest"]


async def test_a_short_outage_delays_the_steps_and_loses_none(tmp_path: Path) -> None:
    with background(tmp_path) as (storage, kept):
        store = SessionStore(kept)
        session = store.create("one")
        faults = iter([StorageUnavailable("gone")] * 2)
        storage.fault = lambda: next(faults, None)
        session.add([Message("user", "question")])
        session.draft("answer")
        with pytest.raises(StorageUnavailable):  # at once, not after the outage
            store.read("one")
        await kept.settle(session.id)
        assert [m.text for m in store.read("one").messages] == ["question", "answer"]


async def test_what_cannot_be_written_ends_the_session_until_it_is_opened_again(
    tmp_path: Path,
) -> None:
    with background(tmp_path) as (storage, kept):
        store = SessionStore(kept)
        session, other = store.create("one"), store.create("other")
        await kept.settle(session.id)
        storage.fault = lambda: StorageFull("the disk is full")
        session.draft("answer")
        with pytest.raises(StorageFull):
            await kept.settle(session.id)
        with pytest.raises(StorageFull):
            session.add([Message("user", "question")])
        storage.fault = lambda: None
        session.close()
        with store.open("one") as again:
            again.add([Message("user", "question")])
            await kept.settle(again.id)
        other.add([Message("user", "question")])
        assert store.read("other").messages


async def test_a_long_outage_is_an_error(tmp_path: Path) -> None:
    with background(tmp_path, retry_seconds=0.0) as (storage, kept):
        session = SessionStore(kept).create("one")
        storage.fault = lambda: StorageUnavailable("gone")
        session.draft("answer")
        with pytest.raises(StorageUnavailable, match="gone"):
            await kept.settle(session.id)


def test_closing_makes_the_steps_that_wait(tmp_path: Path) -> None:
    with background(tmp_path) as (_, kept):
        session = SessionStore(kept).create("one")
        for number in range(100):
            session.add([Message("user", f"{number}")])
        session.close()
    with closing(SqliteStorage(tmp_path / "sessions.sqlite")) as storage:
        assert len(SessionStore(storage).read("one").messages) == 100
