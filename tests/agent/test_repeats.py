"""A model that repeats itself gets a notice, then is stopped; progress is left alone."""

from itertools import count
from typing import Any

import pytest

from agentkit import Agent, tool
from agentkit.agent.limits import Limits
from agentkit.agent.turn import REPEATED
from agentkit.backends.scripted import ScriptedModel
from tests.agent.scripts import call, results


@tool
def look(where: str = "here", depth: int = 0) -> str:
    """Look."""
    return f"nothing {where}"


def _endless(*calls: Any) -> ScriptedModel:
    turns = (
        [call(name, str(n), **given)]
        for n, (name, given) in enumerate(c for _ in count() for c in calls)
    )
    return ScriptedModel(lambda messages: next(turns) if "No more" not in messages[-1].text else "")


async def test_the_same_call_with_the_same_result_is_reported() -> None:
    model = ScriptedModel([call("look"), call("look", "2"), "done"])
    await Agent(model, [look]).run("?")
    assert results(model) == ["nothing here", f"nothing here{REPEATED}"]


async def test_after_three_turns_of_repeating_no_tools_are_offered() -> None:
    model = _endless(("look", {}))
    answer = await Agent(model, [look]).run("?")
    assert len(model.requests) == 5
    assert model.tools_offered[-1] == ()
    assert answer.stop_reason == "limit"


async def test_going_round_between_two_calls_is_repeating() -> None:
    model = _endless(("look", {"where": "left"}), ("look", {"where": "right"}))
    await Agent(model, [look]).run("?")
    assert len(model.requests) == 6


async def test_the_order_of_arguments_makes_no_other_call() -> None:
    model = ScriptedModel(
        [
            call("look", where="a", depth=1),
            call("look", "2", depth=1, where="a"),
            "done",
        ]
    )
    await Agent(model, [look]).run("?")
    assert results(model)[1].endswith(REPEATED)


async def test_a_call_that_differs_only_in_how_it_is_written_is_the_same() -> None:
    model = ScriptedModel([call("look", where="a"), call("Look", "2", WHERE="a"), "done"])
    await Agent(model, [look]).run("?")
    assert results(model)[1].endswith(REPEATED)


async def test_a_result_that_changes_is_progress() -> None:
    numbers = count()

    @tool
    def poll() -> int:
        """Poll."""
        return next(numbers)

    model = ScriptedModel([*[call("poll", str(n)) for n in range(8)], "done"])
    answer = await Agent(model, [poll]).run("?")
    assert (answer.text, answer.stop_reason) == ("done", "stop")
    assert not any(REPEATED in text for text in results(model))


async def test_one_new_call_in_a_turn_is_progress() -> None:
    turns = [[call("look", "a"), call("look", "b", where=str(n))] for n in range(6)]
    answer = await Agent(ScriptedModel([*turns, "done"]), [look]).run("?")
    assert answer.stop_reason == "stop"


@pytest.mark.parametrize("name", ["look", "nowhere"])
async def test_the_same_mistake_again_and_again_is_repeating(name: str) -> None:
    model = _endless((name, {"wrong": 1}))
    await Agent(model, [look], limits=Limits(turns=50)).run("?")
    assert len(model.requests) == 5


async def test_each_run_begins_without_the_last_ones_repeats() -> None:
    model = ScriptedModel([call("look"), "one", call("look", "2"), "two"])
    agent = Agent(model, [look])
    await agent.run("?")
    await agent.run("?")
    assert results(model) == ["nothing here"]
