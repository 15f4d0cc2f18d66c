"""Sessions in a real PostgreSQL: the protocol's promises, owners, crashes and outages."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from agentkit import Message, SessionStore
from agentkit.agent.postgres_storage import PostgresStorage
from agentkit.errors import ConfigError, SessionBusy, StorageUnavailable
from agentkit.testing import check_session_storage
from tests.servers.postgres import PostgresServer, postgres_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


def test_it_keeps_the_promises_of_a_session_storage(database: PostgresServer) -> None:
    with ExitStack() as opened:

        def make() -> PostgresStorage:
            return opened.enter_context(
                closing(PostgresStorage(database.url, "checks", connections=2))
            )

        check_session_storage(make)


def test_an_owner_has_sessions_of_its_own_under_the_same_ids(database: PostgresServer) -> None:
    with (
        closing(PostgresStorage(database.url, "alice")) as alices,
        closing(alices.of_owner("bob")) as bobs,
    ):
        for storage, text in ((alices, "of Alice"), (bobs, "of Bob")):
            with SessionStore(storage).session("same") as session:
                session.add([Message("user", f"the secret {text}\0")])
        store = SessionStore(alices)
        assert [message.text for message in store.read("same").messages] == [
            "the secret of Alice\0"
        ]
        assert [text for _, text in store.search("secret")] == ["the secret of Alice"]
        store.delete("same")
        assert store.recent() == []
        assert SessionStore(bobs).read("same").messages


def test_a_session_is_free_when_the_process_that_had_it_was_killed(
    database: PostgresServer,
) -> None:
    code = (
        "import sys\n"
        "from agentkit import Message, SessionStore\n"
        "from agentkit.agent.postgres_storage import PostgresStorage\n"
        "session = SessionStore(PostgresStorage(sys.argv[1], 'crash')).create(id='one')\n"
        "session.add([Message('user', 'a question')])\n"
        "session.draft('half an ')\n"
        "session.draft('answer')\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, database.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdout
    assert child.stdout.readline() == b"ready\n"
    with closing(PostgresStorage(database.url, "crash")) as storage:
        store = SessionStore(storage)
        with pytest.raises(SessionBusy):
            store.open("one")
        child.kill()
        child.communicate()
        with store.session("one", create=False) as session:
            assert [m.text for m in session.messages] == ["a question", "half an answer"]


def test_while_the_database_is_gone_calls_fail_soon_and_afterwards_all_is_well(
    database: PostgresServer,
) -> None:
    with closing(PostgresStorage(database.url, "outage")) as storage:
        storage.write("one", {"updated": "1"}, ["{}"])
        database.stop()
        began = time.monotonic()
        for _ in range(20):
            with pytest.raises(StorageUnavailable, match="Try again in a moment"):
                storage.read("one")
        assert time.monotonic() - began < 15
        database.start()
        for _ in range(100):
            try:
                stored = storage.read("one")
                break
            except StorageUnavailable:
                time.sleep(0.2)
        assert stored
        assert list(stored.records) == ["{}"]


def test_a_process_starts_without_its_database() -> None:
    url = "postgresql://tester@127.0.0.1:9/none"
    with closing(PostgresStorage(url)) as storage, pytest.raises(StorageUnavailable):
        storage.recent(1)


@pytest.mark.parametrize("url", ["mysql://a@b/c", "postgresql://a@b/c?unknown=1", "sessions.db"])
def test_another_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError):
        PostgresStorage(url)
