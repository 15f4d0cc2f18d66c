"""Answers of the page: streamed by numbered events, resumed, stopped, approved, and kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from agentkit import Agent, Options, ScriptedModel, Tool, pause, tool
from agentkit.events import ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import Message, ToolCall
from tests.server.page_client import Json, Page, open_page

QUESTION = "When is a backup made?"
CITED = "A backup of the archive is made every Sunday at 03:00 [1]. It is kept for 900 days [1]."


class SlowModel(ScriptedModel):
    """Waits before a piece with "|" until `go` is set."""

    def __init__(self, *turns: str) -> None:
        super().__init__(list(turns))
        self.go = asyncio.Event()

    async def request(
        self, messages: Sequence[Message], tools: Sequence[Tool], options: Options
    ) -> AsyncGenerator[ModelPart, None]:
        async for part in super().request(messages, tools, options):
            if isinstance(part, TextDelta) and "|" in part.text:
                await self.go.wait()
            yield part


@tool(needs_approval=True)
def send(to: str, copies: int = 1) -> str:
    """Send the report.

    Args:
        to: Who gets it.
        copies: How many.
    """
    return f"sent {copies} to {to}"


@tool
def count(word: str) -> int:
    """Count the letters of a word."""
    return len(word)


async def test_an_answer_is_streamed_with_its_passages_and_judged_sentence_by_sentence(
    folder: Path,
) -> None:
    async with open_page(folder, ScriptedModel([CITED])) as page:
        session = await page.session()
        run = await page.ask(session, QUESTION)
        async with page.events(run) as events:
            found = [event async for event in events]
        stored = (await page.turns(session))[0]
    kinds = [event.kind for event in found]
    assert [event.number for event in found] == sorted({event.number for event in found})
    assert kinds[-2:] == ["turn", "done"]
    assert kinds.index("tool") < kinds.index("passages") < kinds.index("text")
    assert "".join(e.data["delta"] for e in found if e.kind == "text") == CITED
    turn = found[-2].data
    assert turn == stored
    assert (turn["state"], turn["text"], turn["run"]) == ("done", CITED, None)
    assert [sentence["supported"] for sentence in turn["sentences"]] == [True, False]
    assert turn["sentences"][1]["reason"]
    first = turn["passages"][0]
    assert (first["marker"], first["cited"], first["source"]) == ("1", True, "storage.md")
    assert turn["citations"][0]["quote"] in first["text"]
    assert turn["tools"][0]["state"] == "done"
    assert turn["usage"]["output_tokens"] > 0


async def test_the_calls_of_a_sub_agent_are_kept_with_the_turn(folder: Path) -> None:
    """Those that ran before and after an approval, in their order behind the outer call."""
    steps = [ToolCall("a", "count", {"word": "disk"}), ToolCall("b", "send", {"to": "Ada"})]
    inner = Agent(ScriptedModel([*steps, "Sent."]), [count, send], approve=pause)
    outer = ScriptedModel([ToolCall("1", "clerk", {"question": "Send it"}), "Done."])
    async with open_page(folder, outer, (inner.as_tool("clerk", "Do office work."),)) as page:
        session = await page.session()
        run = await page.ask(session, "Send the report")
        waiting = [call for call in (await page.ended(run))["tools"] if call["state"] == "waiting"]
        paused = (await page.turns(session))[0]["tools"]
        path = f"/api/runs/{run}/calls/{waiting[0]['id']}"
        await page.post(path, {"decision": "allow"})
        shown = (await page.finished(run))["tools"]
    async with open_page(folder, outer) as page:
        stored = (await page.turns(session))[0]["tools"]
    assert [(call["name"], call["state"]) for call in paused if "/" in call["id"]] == [
        ("count", "done"),
        ("send", "waiting"),
    ]
    assert shown == stored
    found = [(call["id"], call["name"], call["state"], call["result"]) for call in stored]
    assert found[-3:] == [
        ("1", "clerk", "done", "Sent."),
        ("1/a", "count", "done", "4"),
        ("1/b", "send", "done", "sent 1 to Ada"),
    ]
    assert stored[-1]["arguments"] == {"to": "Ada"}


async def test_a_reader_that_comes_back_gets_what_it_missed(folder: Path) -> None:
    model = SlowModel("one two | three")
    async with open_page(folder, model) as page:
        session = await page.session()
        run = await page.ask(session, QUESTION)
        async with page.events(run) as events:
            last, first = 0, ""
            async for event in events:
                last = event.number
                if event.kind == "text":
                    first = event.data["delta"]
                    break
        assert (await page.turns(session))[0]["state"] == "running"
        assert (await page.turns(session))[0]["run"] == run
        assert (await page.get("/api/sessions"))["sessions"][0]["running"]
        model.go.set()
        async with page.events(run, after=last) as events:
            missed = [event async for event in events]
        assert all(event.number > last for event in missed)
        assert (
            "".join(e.data["delta"] for e in missed if e.kind == "text")
            == "one two | three"[len(first) :]
        )
        async with page.events(run) as events:
            again = [event async for event in events]
        assert "".join(e.data["delta"] for e in again if e.kind == "text") == "one two | three"
        async with page.events(run, after=10_000) as events:
            unknown = [event async for event in events]
        assert unknown[0].kind == "turn"
        assert unknown[0].data["text"] == "one two | three"


async def test_a_stopped_answer_keeps_what_was_written(folder: Path) -> None:
    model = SlowModel("one two | three", "more", "more")
    async with open_page(folder, model) as page:
        session = await page.session()
        run = await page.ask(session, QUESTION)
        async with page.events(run) as events:
            async for event in events:
                if event.kind == "text":
                    break
            stopped = await page.post(f"/api/runs/{run}/stop")
            rest = [event.kind async for event in events]
        assert rest[-2:] == ["turn", "done"]
        assert (stopped["state"], stopped["text"].strip()) == ("stopped", "one two")
        assert (await page.turns(session))[0]["state"] == "stopped"
        assert (await page.turns(session))[0]["error"] is None
        assert (await page.answered(session, "Go on"))["text"] == "more"


async def test_a_failure_of_the_model_is_an_event_and_part_of_the_turn(folder: Path) -> None:
    model = ScriptedModel(["fine"])
    async with open_page(folder, model) as page:
        session = await page.session()
        await page.answered(session, "Hello")
        run = await page.ask(session, QUESTION)
        async with page.events(run) as events:
            found = [event async for event in events]
        assert [event.kind for event in found][-3:] == ["error", "turn", "done"]
        assert set(found[-3].data) >= {"message", "type", "code", "next"}
        turn = (await page.turns(session))[1]
        assert (turn["state"], turn["question"]) == ("failed", QUESTION)
        assert turn["error"]["message"] == found[-3].data["message"]


async def test_reasoning_is_apart_from_the_answer(folder: Path) -> None:
    model = ScriptedModel([[ReasoningDelta("I think"), TextDelta("Sunday")]])
    async with open_page(folder, model) as page:
        turn = await page.answered(await page.session(), QUESTION)
    assert (turn["reasoning"], turn["text"]) == ("I think", "Sunday")


async def _waiting(page: Page, session: str) -> tuple[str, Json]:
    turn = await page.answered(session, "Send it.")
    assert turn["state"] == "paused"
    return turn["run"], turn["tools"][-1]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_call_that_was_approved_with_other_arguments_runs_with_those(
    folder: Path, restarted: bool
) -> None:
    model = ScriptedModel([ToolCall("c1", "send", {"to": "a"}), "It is sent."])
    async with open_page(folder, model, (send,)) as page:
        session = await page.session()
        run, call = await _waiting(page, session)
        assert (call["id"], call["state"]) == ("c1", "waiting")
        assert call["schema"]["properties"]["copies"]["type"] == "integer"
        if not restarted:
            await _approve_with_changes(page, session, run)
    if restarted:
        async with open_page(folder, model, (send,)) as page:
            turn = (await page.turns(session))[0]
            assert (turn["state"], turn["run"]) == ("paused", run)
            await _approve_with_changes(page, session, run)


async def _approve_with_changes(page: Page, session: str, run: str) -> None:
    path = f"/api/runs/{run}/calls/c1"
    wrong = {"decision": "allow", "arguments": {"to": "b", "copies": "many"}}
    refused = await page.post(path, wrong, 422)
    assert "copies" in refused["error"]["message"]
    deep: object = 1
    for _ in range(400):
        deep = {"to": deep}
    refused = await page.post(path, {"decision": "allow", "arguments": deep}, 422)
    assert "nested deeper" in refused["error"]["message"]
    allowed = {"decision": "allow", "arguments": {"to": "b", "copies": 3}}
    assert (await page.post(path, allowed))["state"] == "running"
    await page.post(path, allowed, 409)
    turn = await page.finished(run)
    assert (turn["state"], turn["text"]) == ("done", "It is sent.")
    done = turn["tools"][-1]
    assert (done["state"], done["arguments"]) == ("done", {"to": "b", "copies": 3})
    assert "sent 3 to b" in done["result"]
    assert (await page.turns(session))[0] == turn


async def test_a_denied_call_does_not_run_and_the_model_reads_why(folder: Path) -> None:
    model = ScriptedModel([ToolCall("c1", "send", {"to": "a"}), "Then not."])
    async with open_page(folder, model, (send,)) as page:
        session = await page.session()
        run, _ = await _waiting(page, session)
        body = {"decision": "deny", "reason": "not today"}
        await page.post(f"/api/runs/{run}/calls/c1", body)
        turn = await page.finished(run)
    assert (turn["tools"][-1]["state"], turn["text"]) == ("denied", "Then not.")
    assert "not today" in model.requests[-1][-1].text


async def test_two_calls_can_be_decided_one_after_the_other(folder: Path) -> None:
    both = [ToolCall("c1", "send", {"to": "a"}), ToolCall("c2", "send", {"to": "b"})]
    async with open_page(folder, ScriptedModel([both, "Done."]), (send,)) as page:
        session = await page.session()
        run, _ = await _waiting(page, session)
        await page.post(f"/api/runs/{run}/calls/c2", {"decision": "allow"})
        assert (await page.ended(run))["state"] == "paused"
        await page.post(f"/api/runs/{run}/calls/c1", {"decision": "deny"})
        last = await page.finished(run)
    assert [call["state"] for call in last["tools"][-2:]] == ["denied", "done"]
    assert last["text"] == "Done."


async def test_a_paused_answer_can_be_stopped_and_the_session_goes_on(folder: Path) -> None:
    model = ScriptedModel([ToolCall("c1", "send", {"to": "a"}), "Hello."])
    async with open_page(folder, model, (send,)) as page:
        session = await page.session()
        run, _ = await _waiting(page, session)
        body = {"question": "Hello?"}
        refused = await page.post(f"/api/sessions/{session}/turns", body, 409)
        assert refused["error"]["code"] == "call_waits"
        assert (await page.post(f"/api/runs/{run}/stop"))["state"] == "stopped"
        assert (await page.answered(session, "Hello?"))["text"] == "Hello."
        await page.post(f"/api/runs/{run}/calls/c1", {"decision": "allow"}, 409)


async def test_an_answer_of_another_server_of_the_folder_is_shown_as_it_grows(
    folder: Path,
) -> None:
    model = SlowModel("one two | three")
    async with open_page(folder, model) as writer, open_page(folder) as reader:
        session = await writer.session()
        run = await writer.ask(session, QUESTION)
        async with writer.events(run) as events:
            async for event in events:
                if event.kind == "text":
                    break
        turn = (await reader.turns(session))[0]
        assert (turn["state"], turn["run"], turn["text"].strip()) == ("running", run, "one two")
        body = {"question": "And?"}
        await reader.post(f"/api/sessions/{session}/turns", body, 409)
        await reader.post(f"/api/runs/{run}/stop", status=409)
        model.go.set()
        followed = await reader.finished(run)
        assert (followed["state"], followed["text"]) == ("done", "one two | three")
        assert await reader.turns(session) == [followed] == await writer.turns(session)
