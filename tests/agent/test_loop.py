"""The loop, driven by scripts: several turns, parallel calls, failures given back, limits."""

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from agentkit import Agent, ToolContext, tool
from agentkit.agent.approval import allow
from agentkit.agent.limits import Limits
from agentkit.agent.loop import LAST_TURN
from agentkit.agent.session import Session
from agentkit.agent.tool_runner import INTERRUPTED, NOT_ALLOWED
from agentkit.backends.base import Model, Options
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.errors import ConfigError, ModelError
from agentkit.events import (
    Done,
    Event,
    Finished,
    ModelPart,
    TextDelta,
    ToolDenied,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from tests.agent.scripts import answer_of


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
async def slow(name: str, seconds: float) -> str:
    """Wait, then give the name back."""
    await asyncio.sleep(seconds)
    return name


@tool
def broken() -> str:
    """Always fails."""
    raise ZeroDivisionError("by design")


def _call(tool: str = "add", call_id: str = "1", /, **arguments: Any) -> ToolCall:
    return ToolCall(call_id, tool, arguments)


async def _events(
    agent: Agent, prompt: str = "question", session: Session | None = None
) -> list[Event]:  # noqa: E501, RUF100
    return [event async for event in agent.stream(prompt, session)]


def _tool_messages(model: ScriptedModel) -> list[Message]:
    return [m for m in model.requests[-1] if m.role == "tool"]


async def test_an_answer_comes_in_pieces_and_whole() -> None:
    events = await _events(Agent(ScriptedModel(["a longer answer"])))
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "a longer answer"
    assert isinstance(events[-1], Finished)
    assert answer_of(events).text == "a longer answer"
    assert answer_of(events).stop_reason == "stop"


async def test_a_tools_result_reaches_the_model_in_its_next_turn() -> None:
    model = ScriptedModel([_call(a=2, b=3), "five"])
    answer = await Agent(model, [add]).run("2 + 3?")
    assert _tool_messages(model) == [Message("tool", "5", tool_call_id="1")]
    assert (answer.text, answer.tool_calls) == ("five", ("add",))


async def test_plain_functions_are_tools_too() -> None:
    def double(x: int) -> int:
        """Twice x."""
        return 2 * x

    model = ScriptedModel([_call("double", x=21), "42"])
    await Agent(model, [double]).run("?")
    assert _tool_messages(model)[0].text == "42"


async def test_results_stand_in_the_order_of_the_calls_not_of_their_ends() -> None:
    calls = [_call("slow", str(i), name=str(i), seconds=0.05 * (3 - i)) for i in range(3)]
    model = ScriptedModel([calls, "done"])
    events = await _events(Agent(model, [slow]))
    ended = [e.call.id for e in events if isinstance(e, ToolFinished)]
    assert ended == ["2", "1", "0"]
    assert [m.tool_call_id for m in _tool_messages(model)] == ["0", "1", "2"]


async def test_no_more_calls_run_at_once_than_the_limit_allows() -> None:
    running, most = 0, 0

    @tool
    async def count() -> str:
        """Count those who run now."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return "ok"

    model = ScriptedModel([[_call("count", str(i)) for i in range(6)], "done"])
    await Agent(model, [count], limits=Limits(parallel_calls=2)).run("?")
    assert most == 2


async def test_one_failing_call_does_not_lose_its_neighbours_result() -> None:
    model = ScriptedModel([[_call("broken", "1"), _call("add", "2", a=1, b=1)], "done"])
    await Agent(model, [broken, add]).run("?")
    failed, fine = _tool_messages(model)
    assert failed.text == "Error: broken failed: ZeroDivisionError: by design"
    assert fine.text == "2"


async def test_wrong_arguments_are_answered_with_the_fault_and_the_schema() -> None:
    model = ScriptedModel([_call(a="two", b=3), "done"])
    await Agent(model, [add]).run("?")
    text = _tool_messages(model)[0].text
    assert "a: Input should be a valid integer" in text
    assert json.dumps(dict(add.parameters), ensure_ascii=False) in text


@pytest.mark.parametrize("levels", [101, 900, 100_000])
async def test_arguments_that_are_nested_too_deeply_are_an_error_that_the_model_reads(
    levels: int,
) -> None:
    text = '{"a":' * levels + "1" + "}" * levels
    model = ScriptedModel([ToolCall("1", "add", text), "done"])
    answer = await Agent(model, [add]).run("?")
    assert answer.text == "done"
    assert "the arguments of add cannot be used" in _tool_messages(model)[0].text


async def test_arguments_that_are_no_json_are_shown_to_the_model() -> None:
    model = ScriptedModel([ToolCall("1", "add", "one and two"), "done"])
    await Agent(model, [add]).run("?")
    assert "not a JSON object" in _tool_messages(model)[0].text


async def test_an_unknown_tool_is_answered_with_the_nearest_names() -> None:
    model = ScriptedModel([_call("ad", a=1, b=2), "done"])
    await Agent(model, [add, broken]).run("?")
    assert _tool_messages(model)[0].text == "Error: there is no tool 'ad'. There is: add."


async def test_a_tool_that_needs_approval_is_denied_when_nobody_can_be_asked() -> None:
    erased = []

    @tool(needs_approval=True)
    def erase() -> str:
        """Erase everything."""
        erased.append(True)
        return "erased"

    model = ScriptedModel([_call("erase"), "I may not."])
    events = await _events(Agent(model, [erase]))
    assert any(isinstance(e, ToolDenied) for e in events)
    assert _tool_messages(model)[0].text == NOT_ALLOWED
    assert erased == []
    await Agent(ScriptedModel([_call("erase"), "done"]), [erase], approve=allow).run("?")
    assert erased == [True]


async def test_a_tool_may_report_its_progress_and_the_model_never_sees_the_context() -> None:
    @tool
    def work(context: ToolContext, steps: int = 2) -> str:
        """Work in steps."""
        for step in range(steps):
            context.report(f"step {step}", (step + 1) / steps)
        return "worked"

    assert list(work.parameters["properties"]) == ["steps"]
    events = await _events(Agent(ScriptedModel([_call("work"), "done"]), [work]))
    reported = [(e.message, e.fraction) for e in events if isinstance(e, ToolProgress)]
    assert reported == [("step 0", 0.5), ("step 1", 1.0)]


async def test_an_async_tool_past_its_timeout_is_stopped() -> None:
    stopped = asyncio.Event()

    @tool(timeout=0.05)
    async def hang() -> str:
        """Never ends."""
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return "never"

    model = ScriptedModel([_call("hang"), "done"])
    await Agent(model, [hang]).run("?")
    assert "did not end within 0.05 s" in _tool_messages(model)[0].text
    assert stopped.is_set()


async def test_at_the_limit_of_turns_the_agent_answers_from_what_it_has() -> None:
    model = ScriptedModel([_call(a=1, b=1), _call(a=2, b=2), "the best so far"])
    answer = await Agent(model, [add], limits=Limits(turns=3)).run("?")
    assert (answer.text, answer.stop_reason) == ("the best so far", "limit")
    assert model.tools_offered[-1] == ()
    assert model.requests[-1][-1].text == LAST_TURN


async def test_calls_above_the_limit_are_not_run_and_every_call_has_a_result() -> None:
    model = ScriptedModel([[_call("add", str(i), a=i, b=0) for i in range(3)], "done"])
    answer = await Agent(model, [add], limits=Limits(tool_calls=2)).run("?")
    assert [m.text for m in _tool_messages(model)][:2] == ["0", "1"]
    assert "limit" in _tool_messages(model)[2].text
    assert answer.stop_reason == "limit"


async def test_a_run_out_of_time_stops_its_tools_and_says_so() -> None:
    model = ScriptedModel([_call("slow", name="x", seconds=60), "never asked"])
    answer = await Agent(model, [slow], limits=Limits(seconds=1)).run("?")
    assert answer.stop_reason == "limit"
    assert len(model.requests) == 1
    assert answer.messages[-2].text == "Stopped: the run's time is over."


async def test_a_run_out_of_tokens_asks_no_more() -> None:
    spent: list[ModelPart] = [_call(a=1, b=1), Usage(900, 200)]
    model = ScriptedModel([spent, "never asked"])
    answer = await Agent(model, [add], limits=Limits(tokens=1000)).run("?")
    assert (answer.stop_reason, answer.usage.total_tokens) == ("limit", 1100)


async def test_usage_is_summed_over_the_turns() -> None:
    turns: list[Turn] = [[_call(a=1, b=1), Usage(10, 5)], [TextDelta("two"), Usage(20, 3)]]
    answer = await Agent(ScriptedModel(turns), [add]).run("?")
    assert answer.usage == Usage(30, 8, requests=2, tool_calls=1)


async def test_a_session_goes_on_where_it_was() -> None:
    model = ScriptedModel([_call(a=1, b=1), "two", "It is two"])
    agent, session = Agent(model, [add]), Session()
    await agent.run("1 + 1?", session)
    await agent.run("what did you say?", session)
    roles = [m.role for m in model.requests[-1]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


async def test_each_request_extends_the_last_one_so_that_a_prefix_cache_holds() -> None:
    model = ScriptedModel([_call(a=1, b=1), _call(a=2, b=2), "done", "again"])
    agent, session = Agent(model, [add]), Session()
    await agent.run("first", session)
    await agent.run("second", session)
    for before, after in zip(model.requests, model.requests[1:], strict=False):
        assert after[: len(before)] == before


async def test_a_model_error_ends_the_run_and_keeps_the_question_in_the_session() -> None:
    session = Session()
    with pytest.raises(ModelError, match="is down"):
        await Agent(ScriptedModel([ModelError("the server is down")])).run("hello", session)
    assert [m.text for m in session.messages] == ["hello"]


class Endless(Model):
    """Writes until it is stopped."""

    name = "endless"

    def __init__(self) -> None:
        self.closed = False

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), options: Options = Options()
    ) -> AsyncGenerator[ModelPart, None]:
        try:
            while True:
                yield TextDelta("word ")
                await asyncio.sleep(0.001)
        finally:
            self.closed = True


async def test_stopping_a_run_closes_the_model_and_keeps_the_partial_answer() -> None:
    model, session = Endless(), Session()
    async with aclosing(Agent(model).stream("go on", session)) as events:
        async for _ in events:
            break
    assert model.closed
    assert session.messages[-1] == Message("assistant", "word ")


async def test_stopping_a_run_stops_its_tools() -> None:
    cancelled = asyncio.Event()

    @tool
    async def hang() -> str:
        """Never ends."""
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        return "never"

    session = Session()
    async with aclosing(Agent(ScriptedModel([_call("hang")]), [hang]).stream("?", session)) as run:
        async for event in run:
            if isinstance(event, ToolStarted):
                break
    assert cancelled.is_set()
    assert [m.role for m in session.messages] == ["user", "assistant", "tool"]
    assert session.messages[-1].text == INTERRUPTED


async def test_a_cut_answer_says_that_its_length_was_reached() -> None:
    model = ScriptedModel([[TextDelta("cut"), Done("length", "scripted")]])
    assert (await Agent(model).run("?")).stop_reason == "length"


def test_two_tools_of_one_name_are_an_error() -> None:
    with pytest.raises(ConfigError, match="Two tools"):
        Agent(ScriptedModel([]), [add, add])


def test_the_sync_door_gives_the_same_answer() -> None:
    assert Agent(ScriptedModel(["yes"])).run_sync("?").text == "yes"


async def test_the_sync_door_works_inside_a_running_loop_as_in_a_notebook() -> None:
    assert Agent(ScriptedModel(["yes"])).run_sync("?").text == "yes"


async def test_an_answers_messages_are_what_its_run_added_to_the_session() -> None:
    session = Session()
    agent = Agent(ScriptedModel(["one", _call(a=1, b=1), "two"]), [add])
    first = await agent.run("first?", session)
    second = await agent.run("second?", session)
    assert [m.text for m in first.messages] == ["first?", "one"]
    assert [m.role for m in second.messages] == ["user", "assistant", "tool", "assistant"]
    assert [*first.messages, *second.messages] == session.messages
