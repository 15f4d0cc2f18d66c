"""Storages of sessions: the SQLite file and a dictionary keep what the protocol promises."""

import asyncio
import json
import multiprocessing
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from agentkit import (
    Agent,
    Chunk,
    ConfigError,
    Message,
    ScriptedModel,
    SessionBusy,
    SessionNotFound,
    SessionStorage,
    SessionStore,
    StoredRecords,
)
from agentkit.agent.session_storage import SqliteStorage
from agentkit.testing import check_session_storage

CHUNK = Chunk("c1", "d1", "notes/a.md", "A", "A > B", "Sky is blue.", 3, 15)


class DictStorage:
    """Sessions in memory; a session is reserved until it is released."""

    def __init__(self) -> None:
        self.fields: dict[str, dict[str, str]] = {}
        self.records: dict[str, list[str]] = {}
        self.holders: dict[str, str] = {}

    def write(self, session_id: str, fields: Mapping[str, str], records: Sequence[str]) -> None:
        self.fields.setdefault(session_id, {}).update(fields)
        self.records.setdefault(session_id, []).extend(records)

    def draft(self, session_id: str, text: str) -> None:
        return

    def read(self, session_id: str) -> StoredRecords | None:
        if session_id not in self.fields:
            return None
        return StoredRecords(self.fields[session_id], self.records[session_id])

    def recent(self, limit: int) -> Sequence[tuple[str, Mapping[str, str]]]:
        newest = sorted(self.fields.items(), key=lambda each: each[1].get("updated", ""))
        return newest[::-1][:limit]

    def delete(self, session_id: str) -> None:
        self.fields.pop(session_id, None)
        self.records.pop(session_id, None)

    def acquire(self, session_id: str, holder: str, seconds: float) -> bool:
        return self.holders.setdefault(session_id, holder) == holder

    def release(self, session_id: str, holder: str) -> None:
        if self.holders.get(session_id) == holder:
            del self.holders[session_id]


@pytest.fixture(params=["sqlite", "dict"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], SessionStorage]:
    if request.param == "sqlite":
        return lambda: SqliteStorage(tmp_path / "sessions.sqlite")
    kept = DictStorage()
    return lambda: kept


@pytest.fixture
def store(make: Callable[[], SessionStorage]) -> SessionStore:
    return SessionStore(make())


def test_a_storage_keeps_what_the_protocol_promises(make: Callable[[], SessionStorage]) -> None:
    check_session_storage(make)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ({"acquire": lambda *_: True}, "reserved session is refused"),
        ({"write": lambda *_: None}, "can be read"),
        ({"delete": lambda *_: None}, "delete removes"),
        ({"release": lambda *_: None}, "released session"),
        ({"recent": lambda *_: []}, "recent orders"),
    ],
)
def test_a_storage_that_breaks_a_promise_is_caught(fault: object, expected: str) -> None:
    assert isinstance(fault, dict)
    broken = type("Broken", (DictStorage,), {n: staticmethod(f) for n, f in fault.items()})()
    with pytest.raises(AssertionError, match=expected):
        check_session_storage(lambda: broken)


async def test_an_id_is_opened_before_the_first_message_and_is_not_listed(
    store: SessionStore, make: Callable[[], SessionStorage]
) -> None:
    session = store.create("x")
    session.close()
    other = SessionStore(make())
    assert store.recent() == []
    assert [info.id for info in store.recent(with_empty=True)] == [session.id]
    with other.open(session.id) as again:
        assert (again.id, again.messages) == (session.id, [])
        await Agent(ScriptedModel(["hi"])).run("hello", again)
    assert other.open("x").messages == again.messages
    assert [info.name for info in store.recent()] == ["x"]


def _open_in_child(path: Path, session_id: str) -> None:
    with SessionStore(path) as store, store.session(session_id) as session:
        Agent(ScriptedModel(["from the child"])).run_sync("hello", session)


@pytest.mark.slow
def test_an_id_is_opened_by_another_process_before_the_first_message(tmp_path: Path) -> None:
    with SessionStore(tmp_path / "sessions.sqlite") as store:
        session = store.create("x")
        session.close()
        arguments = (store.path, session.id)
        context = multiprocessing.get_context("spawn")
        child = context.Process(target=_open_in_child, args=arguments)
        child.start()
        child.join(60)
        assert child.exitcode == 0
        assert store.open(session.id).messages[-1].text == "from the child"


async def test_a_session_of_an_id_of_ones_own_is_created_once_and_found_again(
    store: SessionStore,
) -> None:
    agent = Agent(ScriptedModel(["one", "two"]))
    for prompt in ("a", "b"):
        async with store.session("tenant-7/user:é") as session:
            await agent.run(prompt, session)
    with store.session("tenant-7/user:é") as session:
        assert [m.text for m in session.messages] == ["a", "one", "b", "two"]
    with store.session("tenant-7") as other:
        assert other.messages == []
    with pytest.raises(ConfigError, match="already"):
        store.create(id="tenant-7")
    with pytest.raises(SessionNotFound, match="No session has the id 'tenant'"):
        store.session("tenant", create=False).__enter__()


@pytest.mark.parametrize("session_id", ["", "a\nb", "a b", "x" * 101, "\0", "\u202e"])
def test_an_id_that_storages_cannot_take_is_refused(store: SessionStore, session_id: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the id"):
        store.session(session_id)


def test_an_id_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    with SessionStore(tmp_path / "app" / "s.sqlite") as store, store.session("../../x") as session:
        session.add([Message("user", "hi")])
        assert [path.name for path in tmp_path.iterdir()] == ["app"]


async def test_a_session_that_is_open_is_refused_or_waited_for(store: SessionStore) -> None:
    first = store.create(id="talk")
    with pytest.raises(SessionBusy, match=r"open already.*wait=60"):
        store.open("talk")
    with pytest.raises(SessionBusy):
        async with store.session("talk"):
            pass

    async def ask(prompt: str) -> None:
        async with store.session("talk", wait=30) as session:
            await Agent(ScriptedModel([prompt.upper()])).run(prompt, session)

    waiting = [asyncio.create_task(ask(prompt)) for prompt in ("a", "b")]
    await asyncio.sleep(0)
    first.add([Message("user", "first")])
    first.close()
    await asyncio.gather(*waiting)
    texts = [m.text for m in store.read("talk").messages]
    assert texts[0] == "first"
    assert sorted(zip(texts[1::2], texts[2::2], strict=True)) == [("a", "A"), ("b", "B")]


def test_threads_share_a_store(store: SessionStore) -> None:
    def ask(number: int) -> None:
        with store.session(f"user-{number % 4}", wait=30) as session:
            Agent(ScriptedModel([f"answer {number}"])).run_sync(f"{number}", session)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(16)))
    assert sorted(info.messages for info in store.recent()) == [8, 8, 8, 8]


def test_a_passage_that_grows_is_stored_as_it_grew(store: SessionStore) -> None:
    longer = Chunk("c1", "d1", "notes/a.md", "A", "A > B", "01 Sky is blue.", 0, 15)
    with store.session("talk") as session:
        for chunk in (CHUNK, longer):
            session.sources.mark(chunk)
            session.add([Message("user", "hi")])
    grown = store.read("talk").sources.find("1")
    assert grown is not None
    assert grown.text == "01 Sky is blue."


def test_words_are_searched_in_every_storage(store: SessionStore) -> None:
    for text in ("梯度下降如何更新权重？", "How large is the KV cache?"):
        with store.create() as session:
            session.add([Message("user", text)])
    assert [text for _, text in store.search("更新权重")] == ["梯度下降如何更新权重？"]
    assert store.search("cache weights") == []


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.create(),
        lambda store: store.open("x"),
        lambda store: store.session("x").__enter__(),
        lambda store: store.recent(),
        lambda store: store.search("x"),
        lambda store: store.delete("x"),
        lambda store: store.rename("x", "y"),
    ],
)
def test_a_closed_store_says_so_and_has_closed_its_sessions(
    store: SessionStore, use: Callable[[SessionStore], object]
) -> None:
    with store:
        session = store.create("x")
    store.close()
    with pytest.raises(ConfigError, match=r"store .*is closed"):
        use(store)
    with pytest.raises(ConfigError, match=r"session .* is closed"):
        session.add([Message("user", "hi")])


def test_a_run_that_lost_its_reservation_does_not_write(make: Callable[[], SessionStorage]) -> None:
    storage = make()
    store = SessionStore(storage, lease=0.0)
    session = store.create(id="talk")
    storage.release("talk", session.holder)
    assert storage.acquire("talk", "another process", 60)
    with pytest.raises(SessionBusy, match="longer lease"):
        session.add([Message("user", "hi")])
    assert store.read("talk").messages == []


def test_damaged_records_are_reported(make: Callable[[], SessionStorage]) -> None:
    storage = make()
    storage.write("talk", {}, [json.dumps({"messages": [{"role": "user"}]})])
    storage.write("talk", {}, [json.dumps({"view": 3})])
    with pytest.raises(ConfigError, match="not a session that agentkit wrote"):
        SessionStore(storage).open("talk")
    assert storage.acquire("talk", "free again", 60)


@pytest.mark.parametrize("seed", range(30))
def test_a_damaged_file_of_sessions_is_named_whatever_is_asked_of_it(
    seed: int, tmp_path: Path
) -> None:
    path, chance = tmp_path / "sessions.sqlite", random.Random(seed)
    store = SessionStore(path)
    for name in ("one", "two"):
        with store.session(name) as session:
            for turn in range(12):
                session.add([Message("user", f"turn {turn} " * 40), Message("assistant", "yes")])
    store.close()
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 30, 400])):
        content[chance.randrange(100, len(content))] = chance.randrange(256)
    path.write_bytes(content)
    actions: list[Callable[[SessionStore], object]] = [
        lambda store: store.recent(),
        lambda store: store.read("one"),
        lambda store: store.search("turn"),
        lambda store: store.create("new").add([Message("user", "hi")]),
        lambda store: store.delete("two"),
    ]
    for action in actions:
        with suppress(ConfigError), SessionStore(path) as store:
            action(store)
