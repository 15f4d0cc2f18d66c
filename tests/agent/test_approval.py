"""Who may run what: the policy's patterns, approval by the user, and calls that wait for it."""

import asyncio
from typing import Any

import pytest

from agentkit import Agent, Session, tool
from agentkit.agent.approval import ALLOWED, DENIED, Approve, Policy, Verdict, allow, deny
from agentkit.agent.hooks import Hooks
from agentkit.agent.tool_runner import FORBIDDEN, INTERRUPTED, NOT_ALLOWED
from agentkit.backends.scripted import ScriptedModel
from agentkit.events import ApprovalRequested, Finished, ToolDenied, ToolStarted
from agentkit.messages import ToolCall
from agentkit.tools.tool import Tool
from tests.agent.scripts import assert_valid, call, events_of, other_tasks, results

RAN: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


@tool(needs_approval=True)
def erase(path: str, force: bool = False) -> str:
    """Erase a path."""
    RAN.append(path)
    return f"erased {path}"


@tool
def read(path: str = "x") -> str:
    """Read a path."""
    RAN.append(path)
    return f"read {path}"


@tool(name="git__log")
def git_log() -> str:
    """Show the log."""
    return "log"


@tool(name="git__push")
def git_push() -> str:
    """Push."""
    return "pushed"


TOOLS = [erase, read, git_log, git_push]


def _approve_with(*verdicts: Verdict) -> tuple[Approve, list[ToolCall]]:
    """An approve function that gives these verdicts, and the calls that it was asked about."""
    left = list(verdicts)
    calls: list[ToolCall] = []

    async def approve(tool: Tool, made: ToolCall) -> Verdict:
        calls.append(made)
        return left.pop(0) if left else DENIED

    return approve, calls


@pytest.mark.parametrize(
    ("policy", "name", "decision"),
    [
        (Policy(), "read", "allow"),
        (Policy(), "erase", "ask"),
        (Policy(allow=("erase",)), "erase", "allow"),
        (Policy(allow=("*",), ask=("git__*",)), "git__log", "ask"),
        (Policy(allow=("git__log",), ask=("git__*",)), "git__log", "ask"),
        (Policy(ask=("git__*",), deny=("git__push",)), "git__push", "deny"),
        (Policy(allow=("git__push",), deny=("*push",)), "git__push", "deny"),
        (Policy(deny=("git__*",)), "read", "allow"),
        (Policy(deny=("GIT__*",)), "git__log", "allow"),
        (Policy(allow=("git__?og",)), "git__log", "allow"),
        (Policy(ask=("[er]*",)), "read", "ask"),
        (Policy(allow=("eras",)), "erase", "ask"),
    ],
)
def test_the_strictest_pattern_that_fits_decides(policy: Policy, name: str, decision: str) -> None:
    assert policy.decide(next(t for t in TOOLS if t.name == name)) == decision


async def test_what_the_policy_denies_nobody_is_asked_about() -> None:
    approve, asked = _approve_with(ALLOWED)
    model = ScriptedModel([call("erase", path="/"), "done"])
    agent = Agent(model, TOOLS, approve=approve, policy=Policy(deny=("erase",)))
    await agent.run("?")
    assert (results(model), asked, RAN) == ([FORBIDDEN], [], [])


async def test_what_the_policy_allows_runs_unasked() -> None:
    approve, asked = _approve_with()
    model = ScriptedModel([call("erase", path="a"), "done"])
    await Agent(model, TOOLS, approve=approve, policy=Policy(allow=("erase",))).run("?")
    assert (results(model), asked) == (["erased a"], [])


async def test_a_tool_of_no_mark_is_asked_about_where_the_policy_says_so() -> None:
    model = ScriptedModel([call("git__log"), "done"])
    await Agent(model, TOOLS, policy=Policy(ask=("git__*",))).run("?")
    assert results(model) == [NOT_ALLOWED]


async def test_a_misspelt_name_does_not_slip_past_the_policy() -> None:
    model = ScriptedModel([call("GIT-_push"), "done"])
    await Agent(model, TOOLS, policy=Policy(deny=("git__push",))).run("?")
    assert results(model) == [FORBIDDEN]


async def test_the_user_sees_the_very_arguments_that_the_tool_gets() -> None:
    approve, asked = _approve_with(ALLOWED)
    written = ToolCall("7", "Erase", "{'PATH': 'a', 'force': 'true',}")
    events = await events_of(Agent(ScriptedModel([written, "done"]), TOOLS, approve=approve))
    exact = call("erase", "7", path="a", force=True)
    assert asked == [exact]
    assert [e.call for e in events if isinstance(e, ApprovalRequested | ToolStarted)] == [
        exact,
        exact,
    ]


async def test_arguments_that_the_user_changed_are_run_and_the_model_is_reported() -> None:
    approve, _ = _approve_with(Verdict(True, {"path": "b"}))
    model = ScriptedModel([call("erase", path="a"), "done"])
    await Agent(model, TOOLS, approve=approve).run("?")
    assert RAN == ["b"]
    assert results(model) == ['(The user changed the arguments to {"path": "b"}.)\nerased b']


async def test_arguments_that_the_user_left_as_they_were_are_no_change() -> None:
    approve, _ = _approve_with(Verdict(True, {"path": "a"}))
    model = ScriptedModel([call("erase", path="a"), "done"])
    await Agent(model, TOOLS, approve=approve).run("?")
    assert results(model) == ["erased a"]


async def test_changed_arguments_are_checked_like_any() -> None:
    approve, _ = _approve_with(Verdict(True, {"where": "b"}))
    model = ScriptedModel([call("erase", path="a"), "done"])
    await Agent(model, TOOLS, approve=approve).run("?")
    assert RAN == []
    assert "path: Field required" in results(model)[0]


async def test_the_users_reason_is_reported_to_the_model() -> None:
    approve, _ = _approve_with(Verdict(False, reason="Not on a Sunday."))
    model = ScriptedModel([call("erase", path="a"), "done"])
    events = await events_of(Agent(model, TOOLS, approve=approve))
    assert results(model) == ["Not on a Sunday."]
    assert [e.reason for e in events if isinstance(e, ToolDenied)] == ["Not on a Sunday."]


@pytest.mark.parametrize(("approve", "ran"), [(allow, ["a"]), (deny, [])])
async def test_a_program_may_decide_beforehand(approve: Any, ran: Any) -> None:
    await Agent(ScriptedModel([call("erase", path="a"), "done"]), TOOLS, approve=approve).run("?")
    assert ran == RAN


async def test_a_call_with_bad_arguments_is_not_asked_about() -> None:
    approve, asked = _approve_with(ALLOWED)
    model = ScriptedModel([ToolCall("1", "erase", "nonsense"), "done"])
    await Agent(model, TOOLS, approve=approve).run("?")
    assert asked == []


async def test_each_of_several_calls_gets_its_own_verdict() -> None:
    approve, asked = _approve_with(ALLOWED, DENIED, ALLOWED)
    calls = [call("erase", str(n), path=str(n)) for n in range(3)]
    model = ScriptedModel([calls, "done"])
    await Agent(model, TOOLS, approve=approve).run("?")
    assert [made.id for made in asked] == ["0", "1", "2"]
    assert results(model) == ["erased 0", NOT_ALLOWED, "erased 2"]


async def test_the_user_is_asked_one_question_at_a_time() -> None:
    open_questions, most = 0, 0

    async def approve(tool: Tool, made: ToolCall) -> Verdict:
        nonlocal open_questions, most
        open_questions += 1
        most = max(most, open_questions)
        await asyncio.sleep(0.001)
        open_questions -= 1
        return ALLOWED

    calls = [call("erase", str(n), path=str(n)) for n in range(4)]
    await Agent(ScriptedModel([calls, "done"]), TOOLS, approve=approve).run("?")
    assert (most, sorted(RAN)) == (1, ["0", "1", "2", "3"])


async def test_calls_that_need_no_word_do_not_wait_for_it() -> None:
    had_read = asyncio.Event()

    @tool
    async def peek() -> str:
        """Peek."""
        had_read.set()
        return "seen"

    async def approve(tool: Tool, made: ToolCall) -> Verdict:
        await had_read.wait()
        return ALLOWED

    calls = [*(call("erase", str(n), path=str(n)) for n in range(9)), call("peek", "p")]
    model = ScriptedModel([calls, "done"])
    await Agent(model, [erase, peek], approve=approve).run("?")
    assert results(model)[-1] == "seen"


async def test_where_asking_fails_the_call_does_not_run() -> None:
    async def broken(tool: Tool, made: ToolCall) -> Verdict:
        raise OSError("no terminal")

    model = ScriptedModel([[call("erase", "1", path="a"), call("read", "2")], "done"])
    events = await events_of(Agent(model, TOOLS, approve=broken))
    assert RAN == ["x"]
    assert "not run, because approval failed (OSError: no terminal)" in results(model)[0]
    assert results(model)[1] == "read x"
    assert isinstance(events[-1], Finished)


async def test_a_hook_that_fails_before_a_tool_keeps_it_from_running() -> None:
    async def broken(made: ToolCall) -> str:
        raise RuntimeError("hook down")

    model = ScriptedModel([call("read"), "done"])
    await Agent(model, TOOLS, hooks=Hooks(before_tool=broken)).run("?")
    assert (RAN, "hook down" in results(model)[0]) == ([], True)


async def test_a_run_whose_asking_is_cancelled_leaves_a_valid_session_and_no_task() -> None:
    asked = asyncio.Event()

    async def approve(tool: Tool, made: ToolCall) -> Verdict:
        asked.set()
        await asyncio.Event().wait()
        return DENIED

    session = Session()
    agent = Agent(ScriptedModel([call("erase", path="a")]), TOOLS, approve=approve)
    run = asyncio.create_task(agent.run("?", session))
    await asked.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    assert (RAN, session.messages[-1].text) == ([], INTERRUPTED)
    assert_valid(session.messages)
    assert not other_tasks()


def test_a_synchronous_function_can_approve() -> None:
    RAN.clear()
    model = ScriptedModel([ToolCall("1", "erase", {"path": "a"}), "done"])
    Agent(model, [erase], approve=lambda tool, call: ALLOWED).run_sync("erase a")
    assert RAN == ["a"]


async def test_arguments_that_change_while_the_user_is_asked_do_not_run() -> None:
    made = call("erase", path="shown")

    async def change(_: Tool, asked: ToolCall) -> Verdict:
        for arguments in (made.arguments, asked.arguments):
            assert isinstance(arguments, dict)
            arguments["path"] = "other"
        return ALLOWED

    await Agent(ScriptedModel([made, "done"]), TOOLS, approve=change).run("?")
    assert RAN == ["shown"]
