"""Tool calls as models really make them: broken, misspelt, doubled, side by side."""

import asyncio
import json
import time
from enum import Enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from agentkit import Agent, Session, ToolContext, tool
from agentkit.agent.limits import Limits
from agentkit.agent.loop import CUT_OFF
from agentkit.agent.tool_runner import CALL_CANCELLED
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ToolError
from agentkit.events import (
    Done,
    ModelPart,
    ReasoningDelta,
    TextDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
)
from agentkit.messages import ImagePart, Message, TextPart, ToolCall
from agentkit.tools.tool import Tool
from tests.agent.scripts import assert_valid, call, events_of, results


class Point(BaseModel):
    x: int
    y: int = 0


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@tool
def lookup(city: str, days: int = 1) -> str:
    """Look the weather of a city up."""
    return f"{city} {days!r}"


@tool
def plot(
    points: list[Point],
    colour: Colour = Colour.RED,
    scale: float = 1.0,
    grid: bool = False,
    title: str | None = None,
    style: Literal["Line", "Dots"] | None = None,
) -> str:
    """Plot points."""
    return f"{[(p.x, p.y) for p in points]} {colour.value} {scale} {grid} {title} {style}"


@tool
def centre(point: Point) -> str:
    """Centre on a point."""
    return f"{point.x},{point.y}"


@tool
def wait(seconds: float = 0.0) -> str:
    """Wait in a thread."""
    time.sleep(seconds)
    return "waited"


@tool
async def breathe(name: str = "b", seconds: float = 0.0) -> str:
    """Wait without a thread."""
    await asyncio.sleep(seconds)
    return name


@tool
def fail(kind: str = "value") -> str:
    """Fail."""
    errors = {"value": ValueError("bad"), "tool": ToolError("say it so"), "silent": KeyError()}
    raise errors[kind]


TOOLS = [lookup, plot, centre, wait, breathe, fail]


async def _result(made: ToolCall, tools: Any = TOOLS) -> str:
    model = ScriptedModel([made, "done"])
    session = Session()
    answer = await Agent(model, tools).run("?", session)
    assert answer.text == "done"
    assert_valid(session.messages)
    return results(model)[-1]


@pytest.mark.parametrize(
    "written",
    [
        pytest.param('{"city": "Rome", "days": 2}', id="clean"),
        pytest.param('{"city": "Rome", "days": 2,}', id="trailing comma"),
        pytest.param("{'city': 'Rome', 'days': 2}", id="single quotes"),
        pytest.param('{city: "Rome", days: 2}', id="bare keys"),
        pytest.param('{"city": "Rome", "days": 2', id="missing end"),
        pytest.param('```json\n{"city": "Rome", "days": 2}\n```', id="fenced"),
        pytest.param('Sure: {"city": "Rome", "days": 2}', id="words before"),
        pytest.param('"{\\"city\\": \\"Rome\\", \\"days\\": 2}"', id="string in a string"),
        pytest.param(json.dumps(json.dumps('{"city": "Rome", "days": 2}')), id="three deep"),
        pytest.param('{"city": "Rome", "days": "2"}', id="number as text"),
        pytest.param('{"city": "Rome", "days": 2.0}', id="whole float"),
        pytest.param('{"City": "Rome", "DAYS": 2}', id="names in capitals"),
        pytest.param('{"city": "Rome", /* two */ "days": 2}', id="comment"),
    ],
)
async def test_broken_arguments_are_repaired(written: str) -> None:
    assert await _result(ToolCall("1", "lookup", written)) == "Rome 2"


@pytest.mark.parametrize("written", ["", "{}", "null", "None", '""', " "])
async def test_nothing_at_all_means_no_arguments(written: str) -> None:
    assert await _result(ToolCall("1", "wait", written)) == "waited"


@pytest.mark.parametrize("written", ["Rome", "[1, 2]", "42", "true", "{", "x" * 300_000])
async def test_what_means_no_object_goes_back_with_the_schema(written: str) -> None:
    reported = await _result(ToolCall("1", "lookup", written))
    assert "Error" in reported
    assert '"city"' in reported
    assert len(reported) < 5000


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ({"points": '[{"x": 1}]'}, "[(1, 0)] red 1.0 False None None"),
        ({"points": "[{'x': 1}]"}, "[(1, 0)] red 1.0 False None None"),
        ({"points": {"x": 1}}, "[(1, 0)] red 1.0 False None None"),
        ({"points": ['{"x": 1, "y": "2"}']}, "[(1, 2)] red 1.0 False None None"),
        ({"points": [{"X": "1"}]}, "[(1, 0)] red 1.0 False None None"),
        ({"points": [], "colour": "BLUE"}, "[] blue 1.0 False None None"),
        ({"points": [], "scale": "2.5", "grid": "true"}, "[] red 2.5 True None None"),
        ({"points": [], "title": "null"}, "[] red 1.0 False null None"),
        ({"points": [], "title": 2026}, "[] red 1.0 False 2026 None"),
        ({"points": [], "style": "dots"}, "[] red 1.0 False None Dots"),
    ],
    ids=[
        *("list as text", "list in single quotes", "object for a list", "objects as texts"),
        *("name in a nested object", "enum in capitals", "number and truth as texts"),
        *("the word null is a text", "number for a text", "choice in another case"),
    ],
)
async def test_wrong_types_are_brought_to_the_schema(given: Any, shown: str) -> None:
    assert await _result(call("plot", **given)) == shown


async def test_an_object_given_as_its_json_text_is_read() -> None:
    assert await _result(call("centre", point='{"x": 3, "y": 4}')) == "3,4"


async def test_two_spellings_of_one_name_go_back_to_the_model() -> None:
    reported = await _result(call("lookup", city="Rome", City="Paris"))
    assert "City: Extra inputs are not permitted" in reported


async def test_a_missing_argument_is_named() -> None:
    assert "city: Field required" in await _result(call("lookup", days=2))


async def test_an_unknown_argument_is_ignored_and_named() -> None:
    reported = await _result(call("lookup", city="Rome", wind=1, rain="yes"))
    assert "Rome" in reported
    assert "(Ignored unknown arguments: wind, rain. It takes: city, days" in reported


@pytest.mark.parametrize(
    ("schema", "passed"),
    [
        ({"properties": {"a": {}}}, {"a"}),
        ({"properties": {"a": {}}, "additionalProperties": False}, {"a"}),
        ({"properties": {}, "additionalProperties": False}, set()),
        ({"properties": {"a": {}}, "additionalProperties": True}, {"a", "b"}),
        ({"properties": {"a": {}}, "additionalProperties": {"type": "string"}}, {"a", "b"}),
        ({"properties": {"a": {}}, "patternProperties": {"^b": {}}}, {"a", "b"}),
        ({"properties": {"a": {}}, "anyOf": [{"properties": {"b": {}}}]}, {"a", "b"}),
        ({}, {"a", "b"}),
        ({"properties": {}}, {"a", "b"}),
    ],
)
async def test_a_schema_decides_which_arguments_are_unknown(
    schema: dict[str, Any], passed: set[str]
) -> None:
    received: dict[str, Any] = {}

    async def remote(**arguments: Any) -> str:
        received.update(arguments)
        return "done"

    tool_ = Tool("remote", "Run.", {"type": "object", **schema}, remote)
    await Agent(ScriptedModel([call("remote", a="1", b="2"), "done"]), [tool_]).run("?")
    assert received.keys() == passed


@pytest.mark.parametrize("name", ["Lookup", "LOOKUP", "look-up", " lookup ", "lookup_"])
async def test_a_name_that_is_nearly_right_is_understood(name: str) -> None:
    @tool(name="look_up" if "-" in name else "lookup")
    def own(city: str) -> str:
        """Look up."""
        return city

    model = ScriptedModel([call(name, city="Rome"), "done"])
    answer = await Agent(model, [own]).run("?")
    assert results(model) == ["Rome"]
    assert answer.tool_calls == (own.name,)


async def test_of_two_names_that_differ_in_case_the_exact_one_is_called() -> None:
    @tool(name="Get")
    def first() -> str:
        """First."""
        return "first"

    @tool(name="get")
    def second() -> str:
        """Second."""
        return "second"

    assert await _result(call("get"), [first, second]) == "second"
    assert "there is no tool 'GET'" in await _result(call("GET"), [first, second])


@pytest.mark.parametrize(("name", "near"), [("lookupp", "lookup"), ("brethe", "breathe")])
async def test_the_nearest_names_are_reported(name: str, near: str) -> None:
    assert near in await _result(call(name))


async def test_far_from_every_name_all_of_them_are_reported() -> None:
    reported = await _result(call("zzz"))
    assert all(known.name in reported for known in TOOLS)


async def test_a_call_without_a_name_is_answered() -> None:
    assert "there is no tool ''" in await _result(call(""))


async def test_where_there_are_no_tools_a_call_is_reported_so() -> None:
    model = ScriptedModel([call("lookup"), "done"])
    await Agent(model).run("?")
    assert results(model) == ["Error: there is no tool 'lookup'. There is: none at all."]


async def test_the_repaired_call_is_what_the_conversation_keeps() -> None:
    model = ScriptedModel([ToolCall("1", "Lookup", "{'CITY': 'Rome',}"), "done"])
    await Agent(model, TOOLS).run("?")
    assert model.requests[-1][-2].tool_calls == (call("lookup", city="Rome"),)


async def test_a_call_that_cannot_be_repaired_is_kept_as_the_model_wrote_it() -> None:
    model = ScriptedModel([ToolCall("1", "lookup", "Rome"), "done"])
    await Agent(model, TOOLS).run("?")
    assert model.requests[-1][-2].tool_calls == (ToolCall("1", "lookup", "Rome"),)


async def test_two_calls_of_one_id_get_their_own_results() -> None:
    calls = [call("lookup", "x", city="Rome"), call("lookup", "x", city="Oslo")]
    model, session = ScriptedModel([calls, "done"]), Session()
    await Agent(model, TOOLS).run("?", session)
    assert results(model) == ["Rome 1", "Oslo 1"]
    assert_valid(session.messages)


async def test_calls_without_ids_get_some() -> None:
    calls = [call("lookup", "", city="Rome"), call("lookup", "", city="Oslo")]
    model, session = ScriptedModel([calls, "done"]), Session()
    await Agent(model, TOOLS).run("?", session)
    assert results(model) == ["Rome 1", "Oslo 1"]
    assert_valid(session.messages)


async def test_a_call_cut_off_at_the_token_limit_is_not_guessed_at() -> None:
    cut = ToolCall("2", "lookup", '{"city": "New Y')
    turn: list[ModelPart] = [call("lookup", city="Rome"), cut, Done("length", "m")]
    model, session = ScriptedModel([turn, "done"]), Session()
    events = await events_of(Agent(model, TOOLS), "?", session)
    assert results(model) == ["Rome 1", CUT_OFF]
    assert [e.failed for e in events if isinstance(e, ToolFinished)] == [False, True]
    assert_valid(session.messages)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("value", "Error: fail failed: ValueError: bad"),
        ("tool", "Error: say it so"),
        ("silent", "Error: fail failed: KeyError"),
    ],
)
async def test_an_exception_is_reported_and_the_run_goes_on(kind: str, expected: str) -> None:
    assert await _result(call("fail", kind=kind)) == expected


async def test_every_other_call_of_a_failing_turn_keeps_its_result() -> None:
    calls = [
        *(call("lookup", "1", city="Rome"), call("fail", "2"), call("nothing", "3")),
        *(ToolCall("4", "lookup", "Rome"), call("breathe", "5", name="five"), call("wait", "6")),
    ]
    model, session = ScriptedModel([calls, "done"]), Session()
    await Agent(model, TOOLS).run("?", session)
    reported = results(model)
    assert [reported[0], reported[4], reported[5]] == ["Rome 1", "five", "waited"]
    assert all(text.startswith("Error") for text in reported[1:4])
    assert_valid(session.messages)


async def test_a_tool_that_is_cancelled_from_within_does_not_end_the_run() -> None:
    @tool
    async def hurt() -> str:
        """Cancel itself."""
        raise asyncio.CancelledError

    calls = [call("hurt", "1"), call("lookup", "2", city="Rome")]
    model = ScriptedModel([calls, "done"])
    events = await events_of(Agent(model, [hurt, lookup]))
    assert results(model) == [CALL_CANCELLED, "Rome 1"]
    assert sum(isinstance(e, ToolFinished) for e in events) == 2


async def test_synchronous_tools_run_side_by_side_in_threads() -> None:
    met = asyncio.Event()
    here, loop = [], asyncio.get_running_loop()

    @tool
    def meet(name: str) -> str:
        """Wait for the other."""
        here.append(1)
        if len(here) == 2:
            loop.call_soon_threadsafe(met.set)
        asyncio.run_coroutine_threadsafe(met.wait(), loop).result(10)
        return name

    model = ScriptedModel([[call("meet", n, name=n) for n in "12"], "done"])
    await Agent(model, [meet]).run("?")
    assert results(model) == ["1", "2"]


@pytest.mark.parametrize("bound", [0, 1, 3])
async def test_the_bound_on_parallel_calls_holds_and_none_is_lost(bound: int) -> None:
    running, most = 0, 0

    @tool
    async def count(n: int) -> int:
        """Count."""
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return n

    model = ScriptedModel([[call("count", str(n), n=n) for n in range(7)], "done"])
    await Agent(model, [count], limits=Limits(parallel_calls=bound)).run("?")
    assert results(model) == [str(n) for n in range(7)]
    assert most == max(1, bound)


async def test_progress_from_a_thread_arrives_before_the_result() -> None:
    @tool
    def work(context: ToolContext) -> str:
        """Work."""
        for step in range(3):
            context.report(f"step {step}")
        return "done"

    events = await events_of(Agent(ScriptedModel([call("work"), "done"]), [work]))
    kinds = [type(e) for e in events if not isinstance(e, TextDelta)]
    assert kinds[:5] == [ToolStarted, *[ToolProgress] * 3, ToolFinished]


async def test_progress_of_parallel_calls_names_its_call() -> None:
    @tool
    async def work(name: str, context: ToolContext) -> str:
        """Work."""
        context.report(name, 0.5)
        return name

    calls = [call("work", str(n), name=str(n)) for n in range(3)]
    events = await events_of(Agent(ScriptedModel([calls, "done"]), [work]))
    reported = [(e.call.id, e.message) for e in events if isinstance(e, ToolProgress)]
    assert sorted(reported) == [("0", "0"), ("1", "1"), ("2", "2")]


async def test_text_beside_a_call_is_kept_with_it() -> None:
    turn: list[ModelPart] = [TextDelta("Let me look."), call("lookup", city="Rome")]
    model = ScriptedModel([turn, "done"])
    answer = await Agent(model, TOOLS).run("?")
    assert answer.messages[1] == Message(
        "assistant", "Let me look.", (call("lookup", city="Rome"),)
    )
    assert answer.text == "done"


async def test_thinking_is_reported_and_never_sent_back() -> None:
    turn: list[ModelPart] = [ReasoningDelta("hmm"), call("lookup", city="Rome")]
    model = ScriptedModel([turn, "done"])
    events = await events_of(Agent(model, TOOLS))
    assert events[0] == ReasoningDelta("hmm")
    assert "hmm" not in str(model.requests[-1])


async def test_an_image_from_a_tool_reaches_the_model_whole() -> None:
    @tool
    def draw() -> list[str | ImagePart]:
        """Draw."""
        return ["a dot", ImagePart(b"png")]

    model = ScriptedModel([call("draw"), "done"])
    await Agent(model, [draw]).run("?")
    assert model.requests[-1][-1].content == (TextPart("a dot"), ImagePart(b"png"))


async def test_half_a_character_in_a_result_or_a_call_does_not_spoil_the_session() -> None:
    @tool
    def half(text: str) -> str:
        """Give half a character."""
        return f"{text} \ud83d"

    model, session = ScriptedModel([call("half", text="\ud83d\ude00"), "done \udc00"]), Session()
    await Agent(model, [half]).run("ask \udcff", session)
    assert results(model) == ["\U0001f600 \ufffd"]
    assert_valid(session.messages)
