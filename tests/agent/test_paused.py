"""Calls that wait for approval: the run pauses, and resumes with the verdict, here or elsewhere."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agentkit import Agent, Answer, Hooks, Limits, Price, RunInfo, Session, tool
from agentkit.agent.approval import ALLOWED, DENIED, LATER, Verdict, pause
from agentkit.agent.session_store import SessionStore, StoredSession
from agentkit.agent.tool_runner import INTERRUPTED, NOT_ALLOWED
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import AlreadyDecided, ConfigError, ModelError
from agentkit.events import Event, ModelPart, TextDelta
from agentkit.messages import Message, Usage
from tests.agent.scripts import answer_of, assert_valid, call, results
from tests.agent.test_approval import RAN, TOOLS, _approve_with, _nothing_ran, read  # noqa: F401


async def _paused(
    model: Any, session: Session | StoredSession, tools: Any = TOOLS, approve: Any = pause
) -> Agent:
    agent = Agent(model, tools, approve=approve)
    answer = await agent.run("?", session)
    assert answer.stop_reason == "paused"
    assert_valid(session.messages)
    return agent


async def _resumed(agent: Agent, session: Session | StoredSession, verdicts: Any) -> Answer:
    events = [e async for e in agent.stream_resume(session, verdicts)]
    assert_valid(session.messages)
    return answer_of(events)


async def test_a_paused_run_goes_on_with_the_users_yes() -> None:
    model, session = ScriptedModel([call("erase", path="a"), "done"]), Session()
    agent = await _paused(model, session)
    answer = await _resumed(agent, session, {"1": ALLOWED})
    assert (answer.text, RAN, session.pending) == ("done", ["a"], None)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (DENIED, NOT_ALLOWED),
        (Verdict(False, reason="No."), "No."),
        (
            Verdict(True, {"path": "z"}),
            '(The user changed the arguments to {"path": "z"}.)\nerased z',
        ),
    ],
    ids=["no", "no with a reason", "changed"],
)
async def test_a_paused_run_goes_on_with_any_word(verdict: Verdict, expected: str) -> None:
    model, session = ScriptedModel([call("erase", path="a"), "done"]), Session()
    agent = await _paused(model, session)
    await _resumed(agent, session, {"1": verdict})
    assert results(model) == [expected]


async def test_what_had_ended_when_a_run_paused_is_not_run_again() -> None:
    calls = [call("read", "r"), call("erase", "e", path="a"), call("nothing", "n")]
    model, session = ScriptedModel([calls, "done"]), Session()
    agent = await _paused(model, session)
    assert RAN == ["x"]
    await _resumed(agent, session, {"e": ALLOWED})
    assert RAN == ["x", "a"]
    assert results(model)[:2] == ["read x", "erased a"]
    assert "there is no tool" in results(model)[2]


async def test_a_verdict_goes_to_the_call_of_its_id() -> None:
    calls = [call("erase", c, path=c) for c in "abc"]
    model, session = ScriptedModel([calls, "done"]), Session()
    agent = await _paused(model, session)
    await _resumed(agent, session, {"c": ALLOWED, "a": DENIED, "b": Verdict(False, reason="b!")})
    assert results(model) == [NOT_ALLOWED, "b!", "erased c"]


async def test_two_calls_that_came_with_one_id_are_decided_one_by_one() -> None:
    calls = [call("erase", "same", path="a"), call("erase", "same", path="b")]
    model, session = ScriptedModel([calls, "done"]), Session()
    agent = await _paused(model, session)
    assert session.pending is not None
    first, second = session.pending.message.tool_calls
    assert first.id != second.id
    await _resumed(agent, session, {second.id: ALLOWED, first.id: DENIED})
    assert RAN == ["b"]


async def test_a_call_without_a_verdict_is_asked_for_again() -> None:
    calls = [call("erase", c, path=c) for c in "ab"]
    model, session = ScriptedModel([calls, "done"]), Session()
    agent = await _paused(model, session)
    answer = await _resumed(agent, session, {"a": ALLOWED})
    assert (answer.stop_reason, RAN) == ("paused", ["a"])
    answer = await _resumed(agent, session, {"b": ALLOWED})
    assert (answer.text, RAN) == ("done", ["a", "b"])
    assert results(model) == ["erased a", "erased b"]


async def test_later_is_a_word_too() -> None:
    model, session = ScriptedModel([call("erase", path="a"), "done"]), Session()
    agent = await _paused(model, session)
    assert (await _resumed(agent, session, {"1": LATER})).stop_reason == "paused"
    assert (await _resumed(agent, session, {"1": ALLOWED})).text == "done"


async def test_some_calls_may_be_decided_now_and_some_later() -> None:
    approve, _ = _approve_with(ALLOWED, LATER, DENIED)
    calls = [call("erase", c, path=c) for c in "abc"]
    model, session = ScriptedModel([calls, "done"]), Session()
    agent = await _paused(model, session, approve=approve)
    await _resumed(agent, session, {"b": ALLOWED})
    assert results(model) == ["erased a", "erased b", NOT_ALLOWED]


async def test_a_session_that_waits_takes_no_other_question() -> None:
    session = Session()
    agent = await _paused(ScriptedModel([call("erase", path="a")]), session)
    with pytest.raises(ConfigError, match=r"Agent\.resume"):
        await agent.run("and now?", session)


async def test_a_session_that_waits_for_nothing_cannot_be_resumed() -> None:
    with pytest.raises(ConfigError, match="waits for a decision"):
        await _resumed(Agent(ScriptedModel([]), TOOLS), Session(), {})


async def test_a_resumed_run_that_is_stopped_before_its_call_still_waits() -> None:
    class Slow(ScriptedModel):
        async def context_window(self) -> None:
            if self.requests:
                await asyncio.Event().wait()
            return None

    model, session = Slow([[call("read", "r"), call("erase", "e", path="a")]]), Session()
    agent = await _paused(model, session)

    async def go_on() -> list[Event]:
        return [e async for e in agent.stream_resume(session, {"e": ALLOWED})]

    task = asyncio.create_task(go_on())
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert RAN == ["x"]
    assert session.pending is not None
    [outcome, *_] = session.pending.outcomes
    assert isinstance(outcome, Message)
    assert outcome.text == "read x"


async def test_a_resumed_run_that_is_stopped_in_its_call_waits_no_longer() -> None:
    started = asyncio.Event()

    @tool(needs_approval=True)
    async def hang() -> str:
        """Hang."""
        started.set()
        await asyncio.Event().wait()
        return ""

    model, session = ScriptedModel([[call("read", "r"), call("hang", "h")]]), Session()
    agent = await _paused(model, session, [hang, read])

    async def go_on() -> list[Event]:
        return [e async for e in agent.stream_resume(session, {"h": ALLOWED})]

    task = asyncio.create_task(go_on())
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert session.pending is None
    assert [m.text for m in session.messages if m.role == "tool"] == ["read x", INTERRUPTED]
    assert_valid(session.messages)


async def test_a_paused_run_is_resumed_from_the_file_in_another_process(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "sessions.sqlite")
    turn: list[ModelPart] = [TextDelta("I shall erase it."), call("erase", path="a")]
    session = store.create()
    await _paused(ScriptedModel([turn]), session)
    session.close()
    store.close()
    store = SessionStore(tmp_path / "sessions.sqlite")
    session = store.open()
    assert [m.role for m in session.messages] == ["user"]
    answer = await _resumed(Agent(ScriptedModel(["done"]), TOOLS), session, {"1": ALLOWED})
    assert (answer.text, RAN) == ("done", ["a"])
    assert [m.text for m in session.messages] == ["?", "I shall erase it.", "erased a", "done"]
    session.close()
    store.close()


async def test_the_calls_that_wait_are_those_without_a_result() -> None:
    calls = [call("read", "r"), call("erase", "e", path="a"), call("erase", "f", path="b")]
    session = Session()
    agent = Agent(ScriptedModel([calls, "done"]), TOOLS, approve=pause)
    answer = await agent.run("?", session)
    assert answer.waiting == session.waiting == tuple(calls[1:])
    answer = await agent.resume(session, {"e": ALLOWED})
    assert answer.waiting == session.waiting == (calls[2],)
    answer = await agent.resume(session, {"f": ALLOWED})
    assert not answer.waiting
    assert not session.waiting


def test_a_run_is_resumed_from_synchronous_code() -> None:
    session = Session()
    agent = Agent(ScriptedModel([call("erase", path="a"), "done"]), TOOLS, approve=pause)
    agent.run_sync("?", session)
    assert agent.resume_sync(session, {"1": ALLOWED}).text == "done"


@pytest.mark.parametrize("decided", ["a", "r", "unknown"])
async def test_a_decision_on_a_call_that_does_not_wait_is_an_error_and_runs_nothing(
    decided: str,
) -> None:
    calls = [call("erase", "a", path="a"), call("erase", "b", path="b"), call("read", "r")]
    model, session = ScriptedModel([calls, "done"]), Session()
    agent = await _paused(model, session)
    await _resumed(agent, session, {"a": ALLOWED})
    RAN.clear()
    with pytest.raises(AlreadyDecided, match=decided):
        await agent.resume(session, {"b": ALLOWED, decided: ALLOWED})
    assert RAN == []
    assert [c.id for c in session.waiting] == ["b"]


async def test_a_decision_on_a_run_that_has_ended_is_an_error() -> None:
    model, session = ScriptedModel([call("erase", path="a"), "done"]), Session()
    agent = await _paused(model, session)
    await agent.resume(session, {"1": ALLOWED})
    with pytest.raises(AlreadyDecided):
        await agent.resume(session, {"1": ALLOWED})
    assert RAN == ["a"]


async def test_of_two_decisions_at_once_exactly_one_wins() -> None:
    model, session = ScriptedModel([call("erase", path="a"), "done"]), Session()
    agent = await _paused(model, session)
    both = [agent.resume(session, {"1": ALLOWED}) for _ in range(2)]
    ended = await asyncio.gather(*both, return_exceptions=True)
    assert [type(each) for each in ended if isinstance(each, Answer)] == [Answer]
    assert RAN == ["a"]
    assert_valid(session.messages)


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (Limits(turns=2), "turns=2"),
        (Limits(tool_calls=1), "tool_calls=1"),
        (Limits(tokens=100), "tokens=100"),
        (Limits(cost=1.0, prices={"*": Price(1e4, 0)}), "cost=1.0"),
    ],
    ids=["turns", "tool calls", "tokens", "cost"],
)
async def test_limits_count_what_was_used_before_the_pause(
    limits: Limits, named: str, stored: bool, tmp_path: Path
) -> None:
    def turn(name: str) -> list[ModelPart]:
        return [call(name, name, path="a"), Usage(60, 0)]

    def agent(*turns: Any) -> Agent:
        return Agent(ScriptedModel(turns), TOOLS, approve=pause, limits=limits)

    store = SessionStore(tmp_path / "sessions.sqlite")
    session: Session = store.create()
    await agent(turn("erase")).run("?", session)
    if stored:
        assert isinstance(session, StoredSession)
        session.close()
        session = store.open()
    answer = await agent(turn("read"), turn("read")).resume(session, {"erase": ALLOWED})
    assert answer.stop_reason == "limit"
    assert named in answer.limit
    assert answer.usage.requests == 2
    assert answer.usage.input_tokens == 120
    assert [m.text for m in answer.messages][:3] == ["?", "", "erased a"]
    store.close()


@pytest.mark.parametrize(("before", "reason"), [(5.0, "stop"), (61.0, "limit")])
async def test_the_time_that_a_run_took_before_its_pause_counts_after_it(
    before: float, reason: str
) -> None:
    session = Session()
    limits = Limits(seconds=60)
    model = ScriptedModel([call("erase", path="a"), "done"])
    agent = Agent(model, TOOLS, approve=pause, limits=limits)
    await agent.run("?", session)
    assert session.pending is not None
    run = session.pending.run
    assert 0 < run.spent.seconds < 60
    run = replace(run, spent=replace(run.spent, seconds=before))
    session.pause(replace(session.pending, run=run))
    answer = await agent.resume(session, {"1": ALLOWED})
    assert answer.stop_reason == reason
    assert answer.limit == ("" if reason == "stop" else limits.named("seconds"))


async def test_of_two_processes_that_resume_one_stored_session_one_wins(tmp_path: Path) -> None:
    stores = [SessionStore(tmp_path / "sessions.sqlite") for _ in range(2)]
    session = stores[0].create("cleaning")
    agent = await _paused(ScriptedModel([call("erase", path="a"), "done"]), session)
    with pytest.raises(ConfigError, match="open in another process"):
        stores[1].open("cleaning")
    await agent.resume(session, {"1": ALLOWED})
    session.close()
    late = stores[1].open("cleaning")
    with pytest.raises(AlreadyDecided):
        await agent.resume(late, {"1": ALLOWED})
    assert RAN == ["a"]
    late.close()
    for store in stores:
        store.close()


async def test_a_run_keeps_its_id_over_a_pause() -> None:
    seen: list[str] = []

    async def note(messages: Sequence[Message], run: RunInfo) -> None:
        seen.append(run.id)

    session = Session()
    model = ScriptedModel([call("erase", path="a"), "done", "next"])
    agent = Agent(model, TOOLS, approve=pause, hooks=Hooks(before_model=note))
    await agent.run("?", session)
    await agent.resume(session, {"1": ALLOWED})
    await agent.run("?", session)
    first, second, third = seen
    assert first == second != third


async def test_an_answers_messages_are_those_of_both_parts() -> None:
    session = Session()
    agent = Agent(ScriptedModel(["hello", call("erase", path="a"), "done"]), TOOLS, approve=pause)
    await agent.run("Hello.", session)
    paused = await agent.run("Erase a.", session)
    assert [m.text for m in paused.messages] == ["Erase a."]
    answer = await agent.resume(session, {"1": ALLOWED})
    assert answer.messages == tuple(session.messages[2:])


class Erased(BaseModel):
    count: int


@pytest.mark.parametrize("replies", [['{"count": 1}'], ["One.", '{"count": "x"}', '{"count": 1}']])
def test_a_run_that_was_asked_for_an_object_pauses_and_ends_with_it(replies: list[str]) -> None:
    session = Session()
    model = ScriptedModel([call("erase", path="a"), *replies])
    agent = Agent(model, TOOLS, approve=pause)
    answer = agent.run_sync("?", session, output=Erased)
    assert answer.stop_reason == "paused"
    assert answer.output is None
    answer = agent.resume_sync(session, {"1": ALLOWED}, output=Erased)
    assert answer.output == Erased(count=1)
    assert_valid(session.messages)
    assert answer.messages == tuple(session.messages)


async def test_a_run_that_was_asked_for_an_object_is_not_resumed_without_it() -> None:
    session = Session()
    agent = Agent(ScriptedModel([call("erase", path="a"), "x"]), TOOLS, approve=pause)
    await agent.run("?", session, output=Erased)
    with pytest.raises(ConfigError, match="output=Erased"):
        await agent.resume(session, {"1": ALLOWED})
    assert RAN == []
    assert session.waiting


async def test_turns_before_a_pause_count_for_the_object_after_it() -> None:
    session = Session()
    model = ScriptedModel([call("erase", path="a"), "One.", "Two.", "Three."])
    agent = Agent(model, TOOLS, approve=pause, limits=Limits(turns=2))
    await agent.run("?", session, output=Erased)
    with pytest.raises(ModelError, match=r"limit of 2 turns \(Limits\(turns=2\)\)"):
        await agent.resume(session, {"1": ALLOWED}, output=Erased)
    assert len(model.requests) == 2


async def test_a_decision_is_never_taken_for_one_on_a_later_call_with_the_same_id() -> None:
    model, session = (
        ScriptedModel([call("erase", path="a"), call("erase", path="b"), "x"]),
        Session(),
    )
    agent = await _paused(model, session)
    [first] = session.waiting
    [second] = (await agent.resume(session, {first.id: ALLOWED})).waiting
    assert first.id != second.id
    with pytest.raises(AlreadyDecided):
        await agent.resume(session, {first.id: ALLOWED})
    assert RAN == ["a"]


async def test_a_run_of_the_same_session_gives_new_ids_too() -> None:
    model = ScriptedModel([call("erase", path="a"), "x", call("erase", path="b")])
    session = Session()
    agent = await _paused(model, session)
    [first] = session.waiting
    await agent.resume(session, {first.id: ALLOWED})
    [second] = (await agent.run("?", session)).waiting
    assert first.id != second.id


async def test_a_decision_that_is_no_verdict_is_refused_and_the_call_still_waits() -> None:
    model, session = ScriptedModel([call("erase", path="a"), "done"]), Session()
    agent = await _paused(model, session)
    decisions: Any = {"1": True}
    with pytest.raises(TypeError, match="'1' is of type bool"):
        await agent.resume(session, decisions)
    assert [c.id for c in session.waiting] == ["1"]
    assert (await agent.resume(session, {"1": ALLOWED})).text == "done"


def _change_in_store(file: Path, old: str, new: str) -> None:
    with closing(sqlite3.connect(file)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master")]
        for table in tables:
            with suppress(sqlite3.Error):
                for _, column, *_rest in database.execute(f"PRAGMA table_info({table!r})"):
                    query = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"
                    with suppress(sqlite3.Error):
                        database.execute(f"{query} WHERE typeof({column}) = 'text'", (old, new))
        database.commit()


async def test_a_call_whose_stored_arguments_were_changed_is_not_run(tmp_path: Path) -> None:
    store = SessionStore(tmp_path / "s.sqlite")
    session = store.create("s")
    agent = await _paused(ScriptedModel([call("erase", path="shown"), "done"]), session)
    session.close()
    _change_in_store(tmp_path / "s.sqlite", "shown", "other")
    session = store.open("s")
    assert session.waiting[0].arguments == {"path": "other"}
    for verdict in (ALLOWED, ALLOWED.for_call(session.waiting[0])):
        with pytest.raises(ConfigError, match="arguments of call '1' of erase changed"):
            await agent.resume(session, {"1": verdict})
    assert RAN == []
    assert (await agent.resume(session, {"1": DENIED})).text == "done"
    assert RAN == []


async def test_a_decision_holds_only_for_the_call_that_it_was_made_on() -> None:
    model, session = ScriptedModel([call("erase", path="a"), "done"]), Session()
    agent = await _paused(model, session)
    shown = replace(session.waiting[0], arguments={"path": "b"})
    with pytest.raises(ConfigError, match="changed after the user was asked"):
        await agent.resume(session, {"1": ALLOWED.for_call(shown)})
    assert RAN == []
    await agent.resume(session, {"1": ALLOWED.for_call(session.waiting[0])})
    assert RAN == ["a"]


async def test_a_changed_call_stays_refused_after_another_call_was_decided() -> None:
    calls = [call("erase", c, path=c) for c in "ab"]
    session = Session()
    agent = await _paused(ScriptedModel([calls, "done"]), session)
    session = Session.from_json(session.to_json().replace('"path": "b"', '"path": "z"'))
    await agent.resume(session, {"a": ALLOWED})
    with pytest.raises(ConfigError, match="call 'b' of erase changed"):
        await agent.resume(session, {"b": ALLOWED})
    assert RAN == ["a"]


async def test_a_call_is_not_run_with_other_arguments_than_were_approved() -> None:
    """A tool that takes another type since the pause must not get a converted argument."""
    session = Session()
    await _paused(ScriptedModel([call("erase", path="7"), "done"]), session)

    @tool(needs_approval=True)
    def erase(path: int) -> str:
        """Erase."""
        RAN.append(str(path))
        return "erased"

    model = ScriptedModel(["done"])
    await Agent(model, [erase], approve=pause).resume(session, {"1": ALLOWED})
    assert RAN == []
    assert "takes other arguments now" in results(model)[0]
