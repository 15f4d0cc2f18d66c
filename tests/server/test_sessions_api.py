"""Sessions of the page: listed, found, renamed, copied, exported, deleted, each by its owner."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentkit import Message, ScriptedModel, Session, SessionStore
from agentkit.project.project import sessions_path
from agentkit.server.keys import KeyStore
from tests.server.page_client import Page, open_page
from tests.server.test_runs import SlowModel


def _echo(messages: object) -> str:
    """An answer that tells which questions the model saw."""
    assert isinstance(messages, (list, tuple))
    return "seen: " + ", ".join(m.text for m in messages if m.role == "user")


async def test_sessions_are_listed_by_last_use_and_found_by_title_and_text(folder: Path) -> None:
    async with open_page(folder, ScriptedModel(_echo)) as page:
        first, second = await page.session(), await page.session()
        await page.answered(first, "What is a bucket?")
        await page.answered(second, "什么是备份？")
        await page.request("PATCH", f"/api/sessions/{first}", json={"title": "Storage"})
        listed = (await page.get("/api/sessions"))["sessions"]
        assert [(s["id"], s["title"], s["turns"]) for s in listed] == [
            (second, "什么是备份？", 1),
            (first, "Storage", 1),
        ]
        assert listed[0]["updated"] > listed[1]["updated"]
        assert not listed[0]["running"]
        found = {}
        for query in ("stora", "bucket", "备份", "nothing at all"):
            answer = await page.get("/api/sessions", params={"q": query})
            found[query] = [session["id"] for session in answer["sessions"]]
        assert found == {
            "stora": [first],
            "bucket": [first],
            "备份": [second],
            "nothing at all": [],
        }
        rest = await page.get("/api/sessions", params={"limit": 1, "offset": 1})
        assert [session["id"] for session in rest["sessions"]] == [first]


async def test_a_session_of_another_program_is_shown_without_verdicts(folder: Path) -> None:
    async with open_page(folder) as page:
        with SessionStore(sessions_path(folder)) as store, store.create() as session:
            session.add([Message("user", "Hello"), Message("assistant", "Hi.")])
            session.add([Message("user", "Unanswered")])
        turns = await page.turns(session.id)
    assert [(turn["question"], turn["text"], turn["state"]) for turn in turns] == [
        ("Hello", "Hi.", "done"),
        ("Unanswered", "", "stopped"),
    ]
    assert turns[1]["error"]["code"] == "interrupted"


async def test_a_question_asked_anew_replaces_later_turns_which_stay_in_a_copy(
    folder: Path,
) -> None:
    async with open_page(folder, ScriptedModel(_echo)) as page:
        session = await page.session()
        for question in ("One?", "Two?", "Three?"):
            await page.answered(session, question)
        body = {"question": "Other?", "replace": 1}
        started = await page.post(f"/api/sessions/{session}/turns", body, 202)
        turn = await page.finished(started["run"])
        assert (turn["index"], turn["text"]) == (1, "seen: One?, Other?")
        assert [t["question"] for t in await page.turns(session)] == ["One?", "Other?"]
        copied = await page.turns(started["fork"])
        assert [t["question"] for t in copied] == ["One?", "Two?", "Three?"]
        assert all(turn["state"] == "done" for turn in copied)
        await page.post(f"/api/sessions/{session}/turns", {"question": "?", "replace": 9}, 404)


async def test_a_copy_has_the_turns_up_to_one_of_them(folder: Path) -> None:
    async with open_page(folder, ScriptedModel(_echo)) as page:
        session = await page.session()
        before = [await page.answered(session, question) for question in ("One?", "Two?")]
        copy = (await page.post(f"/api/sessions/{session}/fork", {"turn": 0}, 201))["id"]
        whole = (await page.post(f"/api/sessions/{session}/fork", {}, 201))["id"]
        assert await page.turns(copy) == before[:1]
        assert await page.turns(whole) == before


async def test_a_session_is_exported_and_deleted(folder: Path) -> None:
    async with open_page(folder) as page:
        session = await page.session()
        await page.answered(session, "When is a backup made?")
        path = f"/api/sessions/{session}/export"
        markdown = await page.client.get(path)
        assert markdown.headers["content-disposition"] == 'attachment; filename="session.md"'
        assert "## Sources" in markdown.text
        as_json = await page.client.get(path, params={"format": "json"})
        assert Session.from_json(as_json.text).messages[0].text == "When is a backup made?"
        await page.request("DELETE", f"/api/sessions/{session}", 204)
        await page.get(f"/api/sessions/{session}", 404)
        assert (await page.get("/api/sessions"))["sessions"] == []


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"question": ""}, "question"),
        ({"question": " \n"}, "question"),
        ({}, "question"),
        ({"question": "x" * 200_001}, "question"),
        ({"question": "x", "replace": -1}, "replace"),
        ({"question": "x", "sources": [""]}, "sources.0"),
        ({"question": "x", "sources": ["[a"]}, "sources"),
    ],
)
async def test_an_invalid_question_is_refused(
    folder: Path, body: dict[str, object], param: str
) -> None:
    async with open_page(folder) as page:
        session = await page.session()
        refused = await page.post(f"/api/sessions/{session}/turns", body, 422)
    assert refused["error"]["param"] == param


async def test_text_that_no_store_takes_is_refused_or_kept_without_it(folder: Path) -> None:
    headers = {"content-type": "application/json"}
    async with open_page(folder, ScriptedModel(_echo)) as page:
        session = await page.session()
        path = f"/api/sessions/{session}/turns"
        for body in (rb'{"question": "\ud800 when?"}', rb'{"question": "x", "model": "\udfff"}'):
            refused = await page.client.post(path, content=body, headers=headers)
            assert refused.status_code == 422
        joined = rb'{"question": "\ud83d\ude00 when?\u0000"}'
        asked = await page.client.post(path, content=joined, headers=headers)
        turn = await page.finished(asked.json()["run"])
        assert (turn["state"], turn["question"]) == ("done", "😀 when?\0")
        assert await page.turns(session) == [turn]


async def test_only_the_documents_that_were_chosen_are_used(folder: Path) -> None:
    (folder / "knowledge" / "other.md").write_text("# Other\n\nBackups are made on Monday.\n")
    async with open_page(folder) as page:
        session = await page.session()
        turn = await page.answered(session, "When are backups made?", sources=["other.md"])
        assert {passage["source"] for passage in turn["passages"]} == {"other.md"}
        body = {"question": "?", "model": "ollama:unknown"}
        refused = await page.post(f"/api/sessions/{session}/turns", body, 404)
        assert refused["error"]["code"] == "model_not_found"


async def test_nobody_reaches_the_sessions_of_another_key(folder: Path) -> None:
    keys = {name: KeyStore(folder).add(name) for name in ("alice", "bob")}
    async with open_page(folder, needs_key=True) as page:
        pages = {
            name: Page(page.app, page.client, {"authorization": f"Bearer {key}"})
            for name, key in keys.items()
        }
        session = await pages["alice"].session()
        run = await pages["alice"].ask(session, "When is a backup made?")
        await pages["alice"].finished(run)
        bob = pages["bob"]
        assert (await bob.get("/api/sessions"))["sessions"] == []
        assert (await bob.get("/api/sessions", params={"q": "backup"}))["sessions"] == []
        for method, path, body in (
            ("GET", f"/api/sessions/{session}", None),
            ("GET", f"/api/sessions/{session}/export", None),
            ("PATCH", f"/api/sessions/{session}", {"title": "mine"}),
            ("DELETE", f"/api/sessions/{session}", None),
            ("POST", f"/api/sessions/{session}/fork", {}),
            ("POST", f"/api/sessions/{session}/turns", {"question": "?"}),
            ("GET", f"/api/runs/{run}/events", None),
            ("POST", f"/api/runs/{run}/stop", None),
            ("POST", f"/api/runs/{run}/calls/1", {"decision": "allow"}),
        ):
            await bob.request(method, path, 404, json=body)
        assert len(await pages["alice"].turns(session)) == 1


async def test_a_new_session_is_listed_at_once_with_its_first_question(folder: Path) -> None:
    model = SlowModel("later |")
    async with open_page(folder, model) as page:
        old, new = await page.session(), await page.session()
        run = await page.ask(new, "When is a\nbackup made?")
        listed = (await page.get("/api/sessions"))["sessions"]
        model.go.set()
        await page.finished(run)
        later = (await page.get("/api/sessions"))["sessions"]
    summaries = [(s["id"], s["title"], s["turns"], s["running"]) for s in listed]
    assert summaries == [(new, "When is a backup made?", 1, True), (old, "", 0, False)]
    assert [(s["id"], s["title"], s["running"]) for s in later] == [
        (new, "When is a backup made?", False),
        (old, "", False),
    ]
