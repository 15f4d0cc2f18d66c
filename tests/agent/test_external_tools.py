"""Tools that the application calls itself: the run pauses, and goes on with their results."""

from __future__ import annotations

from agentkit import Agent, Policy, Session, Verdict, external_tool, tool
from agentkit.agent.tool_runner import FORBIDDEN
from agentkit.backends.scripted import ScriptedModel
from tests.agent.scripts import call, results

LOCATE = external_tool(
    "locate",
    "Where the user is.",
    {"type": "object", "properties": {"exact": {"type": "boolean"}}},
)


@tool
def read() -> str:
    """Read."""
    return "read"


async def test_a_run_pauses_at_the_call_of_an_external_tool_and_goes_on_with_its_result() -> None:
    model, session = ScriptedModel([[call("locate", "l"), call("read", "r")], "done"]), Session()
    agent = Agent(model, [LOCATE, read])
    paused = await agent.run("Where am I?", session)
    assert (paused.stop_reason, [each.id for each in paused.waiting]) == ("paused", ["l"])
    answer = await agent.resume(session, {"l": Verdict(True, result="Basel")})
    assert answer.text == "done"
    assert results(model) == ["Basel", "read"]


async def test_a_result_is_taken_where_the_tool_is_not_known_any_more() -> None:
    model, session = ScriptedModel([call("locate", "l"), "done"]), Session()
    await Agent(model, [LOCATE]).run("Where am I?", session)
    stored = Session.from_json(session.to_json())
    await Agent(model, []).resume(stored, {"l": Verdict(True, result="Basel")})
    assert results(model) == ["Basel"]


async def test_an_external_call_without_a_result_fails_for_the_model() -> None:
    model, session = ScriptedModel([call("locate", "l"), "done"]), Session()
    agent = Agent(model, [LOCATE])
    await agent.run("Where am I?", session)
    await agent.resume(session, {"l": Verdict(True)})
    assert "the application gave none" in results(model)[0]


async def test_the_policy_can_forbid_an_external_tool() -> None:
    model = ScriptedModel([call("locate", "l"), "done"])
    answer = await Agent(model, [LOCATE], policy=Policy(deny=("locate",))).run("Where am I?")
    assert answer.text == "done"
    assert results(model) == [FORBIDDEN]
