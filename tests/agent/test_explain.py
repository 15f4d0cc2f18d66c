"""When a run fails, it says what was asked, what came back, why, and what to change."""

import pytest

from agentkit import Agent, tool
from agentkit.agent.explain import Exchange, explain, likely_cause
from agentkit.agent.turn import Turn
from agentkit.backends.base import Options
from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import FaultKind, ModelError
from agentkit.messages import Message, ToolCall, Usage
from tests.servers.openai_server import OpenAIServer, Reply, error

ASKED = (Message("system", "Be brief."), Message("user", "word " * 500))
TOOLS = ("lookup",)


@pytest.mark.parametrize(
    ("exchange", "cause", "step"),
    [
        (Exchange("m", ASKED, TOOLS), "no tool template", "--jinja"),
        (Exchange("m", ASKED), "Nothing came back", "log"),
        (
            Exchange("m", ASKED, usage=Usage(100, 5), text=""),
            "read 100 tokens of about",
            "max_context",
        ),
        (
            Exchange("m", ASKED, usage=Usage(1000, 24), stop_reason="length", window=1024),
            "fill 1024 of the window's 1024",
            "--ctx-size",
        ),
        (
            Exchange("m", ASKED, TOOLS, text='<tool_call>{"name": "look'),
            "The text contains a tool call (<tool_call>)",
            "--tool-call-parser",
        ),
        (
            Exchange("m", ASKED, TOOLS, text="[TOOL_CALLS]lookup{"),
            "The text contains a tool call ([TOOL_CALLS])",
            "probe",
        ),
        (Exchange("m", ASKED, reasoning="hm", stop_reason="length"), "still thinking", "max_tok"),
        (Exchange("m", ASKED, reasoning="hm", stop_reason="stop"), "only thought", "thinking off"),
        (Exchange("m", ASKED, stop_reason="length"), "cut off", "max_tokens"),
        (
            Exchange("m", ASKED, TOOLS, calls=(ToolCall("1", "lookup", "{oops"),)),
            "not JSON",
            "parser",
        ),
    ],
    ids=[
        *("no template", "nothing", "context cut", "window full", "wrong parser", "cut call"),
        *("thinking, cut", "only thinking", "cut", "broken arguments"),
    ],
)
def test_each_cause_is_named_with_the_setting_to_change(
    exchange: Exchange, cause: str, step: str
) -> None:
    output = likely_cause(exchange)
    assert cause in output
    assert step in output


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (ModelError("too long", kind="too_long"), "The context is too small"),
        (ModelError("m does not support tools", kind="bad_request"), "takes no tools"),
        (ModelError("silent", kind="timed_out"), "read_timeout"),
        (ModelError("no such key", kind="refused_key"), ""),
    ],
)
def test_an_error_is_explained_where_more_is_known_than_it_says(
    fault: ModelError, cause: str
) -> None:
    output = likely_cause(Exchange("m", ASKED, TOOLS), fault)
    assert cause in output
    assert bool(cause) == bool(output)


@pytest.mark.parametrize(
    ("turn", "is_usable"),
    [
        (Turn(["blue"]), True),
        (Turn(calls=[ToolCall("1", "lookup", {})]), True),
        (Turn([" "]), False),
        (Turn(["<tool_call>{oops"]), False),
        (Turn(calls=[ToolCall("1", "lookup", "{oops")]), False),
    ],
)
def test_a_reply_is_usable_where_it_has_text_or_calls_that_can_be_parsed(
    turn: Turn, is_usable: bool
) -> None:
    assert turn.is_usable is is_usable


def test_a_report_shows_request_answer_and_parse_error() -> None:
    messages = [Message("user", f"question {n} " + "x" * 900) for n in range(20)]
    exchange = Exchange(
        model="small",
        messages=messages,
        tools=TOOLS,
        options=Options(max_tokens=50, schema={"type": "object"}),
        text='<tool_call>{"name": "lookup", "arg',
        usage=Usage(9000, 50),
        stop_reason="stop",
        window=32768,
    )
    report = explain(exchange)
    assert "small, 20 messages" in report
    assert "tools: lookup, max_tokens: 50, schema: given" in report
    assert "(14 earlier messages)" in report
    assert """answer: '<tool_call>{"name": "lookup", "arg'""" in report
    assert "error: the call after <tool_call>: " in report
    assert "likely cause: The text contains a tool call" in report
    assert len(report) < 5000


@tool
def lookup(city: str) -> str:
    """Look up."""
    return city


async def test_a_failed_run_carries_its_report(openai_server: OpenAIServer) -> None:
    openai_server.replies(Reply(status=400, raw=error("small does not support tools")))
    model = OpenAIModel("small", provider="test", base_url=openai_server.url, api_key="k-secret")
    with pytest.raises(ModelError) as caught:
        await Agent(model, [lookup]).run("weather?")
    assert "user: weather?" in caught.value.report
    assert "takes no tools" in caught.value.report
    assert "k-secret" not in caught.value.report
    await model.close()


async def test_the_report_of_a_later_turn_shows_the_calls_before_it() -> None:
    model = ScriptedModel([ToolCall("1", "lookup", {"city": "Rome"}), ModelError("gone", "m")])
    with pytest.raises(ModelError) as caught:
        await Agent(model, [lookup]).run("weather?")
    assert "lookup({'city': 'Rome'})" in caught.value.report
    assert "tool: Rome" in caught.value.report


async def test_text_that_came_before_the_failure_is_shown(openai_server: OpenAIServer) -> None:
    openai_server.replies(Reply([{"content": "half an answer"}], None, reset=True))
    model = OpenAIModel("small", provider="test", base_url=openai_server.url)
    with pytest.raises(ModelError) as caught:
        await Agent(model).run("?")
    assert "'half an answer'" in caught.value.report
    await model.close()


@pytest.mark.parametrize("kind", ["down", "rate_limited", "timed_out", "refused_key"])
async def test_a_server_that_gave_no_reply_is_reported_without_the_request(
    kind: FaultKind,
) -> None:
    failing = ScriptedModel([ModelError("no reply from the server", "m", kind)])
    with pytest.raises(ModelError, match="no reply") as caught:
        await Agent(failing).run("weather?")
    assert "weather?" not in caught.value.report
    assert "no reply" not in caught.value.report


def test_an_error_outside_a_run_has_no_report() -> None:
    assert ModelError("x").report == ""


@pytest.mark.parametrize(
    ("reply", "reported"),
    [("", "no tool template"), ("look it up [ARGS] {oops", "The text contains a tool call")],
)
async def test_a_run_without_a_usable_answer_is_tried_again_and_ends_with_a_report(
    reply: str, reported: str
) -> None:
    model = ScriptedModel([reply, reply])
    with pytest.raises(ModelError, match="The model gave") as caught:
        await Agent(model, [lookup]).run("weather?")
    assert reported in str(caught.value)
    assert "user: weather?" in caught.value.report
    assert len(model.requests) == 2


async def test_a_usable_answer_has_no_report() -> None:
    assert (await Agent(ScriptedModel(["blue"]), [lookup]).run("weather?")).report == ""
