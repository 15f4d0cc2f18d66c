"""Conversations on disk: resumed after any crash, forked, searched, exported, one writer each."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, Chunk, tool
from agentkit.agent.approval import ALLOWED, DENIED, pause
from agentkit.agent.pending import Pending
from agentkit.agent.session import Session
from agentkit.agent.session_export import as_json, as_markdown
from agentkit.agent.session_storage import VERSION
from agentkit.agent.session_store import SessionStore
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError
from agentkit.events import ApprovalRequested, Finished
from agentkit.messages import ImagePart, Message, TextPart, ToolCall
from tests.agent.scripts import answer_of
from tests.conftest import unprivileged

CHUNK = Chunk("c1", "d1", "notes/a.md", "A", "A > B", "Sky is blue.", 3, 15, 2, "page 2")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    store = SessionStore(tmp_path / "sessions.sqlite")
    yield store
    store.close()


def _reopened(store: SessionStore) -> SessionStore:
    assert store.path is not None
    return SessionStore(store.path)


async def test_a_session_goes_on_in_another_process_as_if_nothing_had_happened(
    store: SessionStore,
) -> None:
    session = store.create("physics")
    model = ScriptedModel(["blue", "because of scattering"])
    await Agent(model).run("Which colour is the sky?", session)
    assert session.sources.mark(CHUNK) == "1"
    session.add([Message("user", (TextPart("look"), ImagePart(b"\x89PNG", "image/png")))])
    session.close()

    again = _reopened(store).open("physics")
    assert [m.text for m in again.messages] == ["Which colour is the sky?", "blue", "look"]
    assert again.messages[-1].content[1] == ImagePart(b"\x89PNG", "image/png")
    assert again.sources.find("1") == CHUNK
    await Agent(model).run("Why?", again)
    assert [m.text for m in model.requests[-1]][1:3] == ["Which colour is the sky?", "blue"]


async def test_tool_calls_and_their_results_are_kept_whole(store: SessionStore) -> None:
    @tool
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    session = store.create()
    calls = [ToolCall("1", "add", {"a": 1, "b": 2}), ToolCall("2", "add", "rubbish")]
    await Agent(ScriptedModel([[*calls], "three"]), [add]).run("1 + 2?", session)
    session.close()
    again = _reopened(store).open()
    assert again.messages == session.messages
    assert again.messages[1].tool_calls == tuple(calls)


_WRITER = """
import sys, time
from pathlib import Path
from agentkit.agent.session_store import SessionStore
from agentkit.messages import Message
session = SessionStore(Path(sys.argv[1])).create("crash")
session.add([Message("user", "a question")])
for word in ("half ", "an ", "answer"):
    session.draft(word)
print("written", flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_what_was_being_stated_when_the_process_was_killed_is_still_there(
    store: SessionStore,
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(store.path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    with pytest.raises(ConfigError, match=r"open in another process.*fork"):
        store.open("crash")
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    output = [(m.role, m.text) for m in store.open("crash").messages]
    assert output == [("user", "a question"), ("assistant", "half an answer")]


def test_a_fork_goes_its_own_way(store: SessionStore) -> None:
    session = store.create("one")
    session.sources.mark(CHUNK)
    session.add([Message("user", "a"), Message("assistant", "b"), Message("user", "c")])
    fork = store.fork("one", messages=2)
    fork.add([Message("user", "elsewhere")])
    assert [m.text for m in fork.messages] == ["a", "b", "elsewhere"]
    assert fork.sources.find("1") == CHUNK
    assert [m.text for m in session.messages] == ["a", "b", "c"]
    assert store.find(fork.id).parent == session.id


def test_notes_and_dropped_turns_are_the_same_when_a_session_is_opened_again(
    store: SessionStore,
) -> None:
    session = store.create("one")
    session.add([Message("user", "a"), Message("assistant", "b")])
    session.note({"of": "a"})
    session.add([Message("user", "c"), Message("assistant", "d")])
    session.note({"of": "c"})
    copy = store.fork(session.id)
    assert [note.record["of"] for note in store.fork(session.id, messages=2).notes] == ["a"]
    session.rewind(2)
    session.add([Message("user", "e")])
    session.close()
    for again in (store.read(session.id), store.open(session.id)):
        assert [m.text for m in again.messages] == [m.text for m in again.view] == ["a", "b", "e"]
        assert [(note.after, note.record) for note in again.notes] == [(2, {"of": "a"})]
    assert [m.text for m in copy.messages] == ["a", "b", "c", "d"]
    assert [note.record["of"] for note in Session.from_json(copy.to_json()).notes] == ["a", "c"]
    assert store.find(session.id).turns == 2


def test_a_copy_of_a_session_has_the_text_that_is_being_written(store: SessionStore) -> None:
    session = store.create("one")
    session.add([Message("user", "a")])
    session.draft("half an ")
    session.draft("answer")
    assert [m.text for m in store.read("one").messages] == ["a", "half an answer"]
    session.add([Message("assistant", "half an answer, whole")])
    assert [m.text for m in store.read("one").messages] == ["a", "half an answer, whole"]


def test_an_id_is_found_before_a_name_that_is_the_same(store: SessionStore) -> None:
    one, other = store.create("one"), store.create("other")
    store.rename(other.id, one.id)
    assert store.find(one.id).name == "one"


def test_sessions_are_listed_by_last_use_named_by_how_they_begin_renamed_and_deleted(
    store: SessionStore,
) -> None:
    for text in ("什么是注意力机制？", "second"):
        session = store.create()
        session.add([Message("user", text)])
        session.close()
        time.sleep(0.002)
    assert [s.name for s in store.recent()] == ["second", "什么是注意力机制？"]
    store.rename("什么是", "attention")
    assert store.find("attention").messages == 1
    store.delete("second")
    assert [s.name for s in store.recent()] == ["attention"]


@pytest.mark.parametrize(("name", "expected"), [("x", "No session"), ("tw", "2 sessions")])
def test_a_name_that_is_none_or_several_is_an_error(
    store: SessionStore, name: str, expected: str
) -> None:
    for each in ("two a", "two b"):
        store.create(each).add([Message("user", "hi")])
    with pytest.raises(ConfigError, match=expected):
        store.find(name)


def test_past_sessions_are_found_by_what_was_stated_in_chinese_and_english(
    store: SessionStore,
) -> None:
    for text in ("梯度下降如何更新权重？", "How large is the KV cache?"):
        session = store.create()
        session.add([Message("user", text), Message("assistant", "…")])
        session.close()
    assert [text for _, text in store.search("权重更新")] == []
    assert [text for _, text in store.search("更新权重")] == ["梯度下降如何更新权重？"]
    assert [text for _, text in store.search("caches")] == ["How large is the KV cache?"]


async def test_a_paused_call_is_decided_in_another_process(store: SessionStore) -> None:
    erased = []

    @tool(needs_approval=True)
    def erase(name: str) -> str:
        """Erase."""
        erased.append(name)
        return "gone"

    def agent(*turns: Any) -> Agent:
        return Agent(ScriptedModel(turns), [erase], approve=pause)

    session = store.create("cleaning")
    calls = [ToolCall("1", "erase", {"name": "a"}), ToolCall("2", "erase", {"name": "b"})]
    events = [e async for e in agent([*calls]).stream("clean up", session)]
    assert answer_of(events).stop_reason == "paused"
    assert sum(isinstance(e, ApprovalRequested) for e in events) == 2
    session.close()

    again = _reopened(store).open("cleaning")
    assert isinstance(again.pending, Pending)
    later = agent("done")
    resumed = [e async for e in later.stream_resume(again, {"1": ALLOWED, "2": DENIED})]
    assert isinstance(resumed[-1], Finished)
    assert erased == ["a"]
    assert isinstance(later.model, ScriptedModel)
    results = [m.text for m in later.model.requests[-1] if m.role == "tool"]
    assert results[0] == "gone"
    assert "did not allow" in results[1]
    assert again.pending is None


def test_an_export_holds_what_was_stated_and_where_it_comes_from(store: SessionStore) -> None:
    session = store.create("colours")
    session.sources.mark(CHUNK)
    call = ToolCall("1", "search_knowledge", {"query": "sky"})
    session.add(
        [
            Message("user", "Which colour?"),
            Message("assistant", "", (call,)),
            Message("tool", "```\ncode\n```", tool_call_id="1"),
            Message("assistant", "Blue [1]."),
        ]
    )
    written = as_markdown(session, "colours")
    assert "## Assistant\n\nBlue [1]." in written
    assert "- [1] notes/a.md > page 2 > B (characters 3-15)" in written
    assert "````\n```\ncode" in written
    read = json.loads(as_json(session, "colours"))
    assert [m["role"] for m in read["messages"]] == ["user", "assistant", "tool", "assistant"]
    assert read["sources"]["1"]["start"] == 3


def test_a_file_of_another_format_is_refused_and_a_damaged_one_named(tmp_path: Path) -> None:
    newer = tmp_path / "newer.sqlite"
    SessionStore(newer).close()
    db = sqlite3.connect(newer)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    with pytest.raises(ConfigError, match="Update agentkit"):
        SessionStore(newer)
    (tmp_path / "bad.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(ConfigError, match="Move the file away"):
        SessionStore(tmp_path / "bad.sqlite")


def test_sessions_that_cannot_be_written_are_still_read(shared_folder: Path) -> None:
    path = shared_folder / "sessions" / "sessions.sqlite"
    with unprivileged():
        with SessionStore(path) as store, store.session("talk") as session:
            session.add([Message("user", "hello"), Message("assistant", "hi")])
        path.parent.chmod(0o500)
        for file in (each for each in path.parent.rglob("*") if each.is_file()):
            file.chmod(0o400)
        with SessionStore(path) as store:
            assert [info.id for info in store.recent()] == ["talk"]
            assert [m.text for m in store.read("talk").messages] == ["hello", "hi"]
            with pytest.raises(ConfigError, match=r"cannot be written.*permissions"):
                store.create("other")
        path.parent.chmod(0o700)


async def test_the_last_session_used_is_the_last_one_after_the_clock_went_back(
    store: SessionStore,
) -> None:
    agent = Agent(ScriptedModel(["One.", "Two.", "Three."]))
    with store.create("before") as before:
        await agent.run("?", before)
        store.storage.write(before.id, {"updated": "2999-01-01T00:00:00.000+00:00"}, [])
    with store.create("after") as after:
        await agent.run("?", after)
    assert store.find("last").name == "after"
    with store.open("before") as again:
        await agent.run("?", again)
    assert store.find("last").name == "before"
