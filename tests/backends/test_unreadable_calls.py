"""Calls in text that cannot be read: never shown, and asked again with what was wrong."""

from __future__ import annotations

import pytest

from agentkit import Agent
from agentkit.backends.scripted import ScriptedModel
from agentkit.backends.text_tool_calls import TextCallParser
from agentkit.errors import ModelError
from agentkit.events import TextDelta
from agentkit.messages import ToolCall
from agentkit.tools.names import UNREADABLE
from tests.agent.scripts import results
from tests.backends.test_call_formats import INVOKE, JSON, KIMI, ONE_CALL, ROME, TOOLS, read_pieces

BROKEN = {
    "Hermes, cut": '<tool_call>{"name": "get_weather", "arguments": {"city": "Ro',
    "Hermes, words": "<tool_call>get_weather Rome</tool_call>",
    "Hermes, no JSON": "<tool_call>{get_weather: Rome, }}, 2</tool_call>",
    "Qwen, cut in a parameter": "<tool_call>\n<function=get_weather>\n<parameter=city>\nRo",
    "Qwen, no parameter": "<tool_call>\n<function=get_weather>\nRome\n</function>\n</tool_call>",
    "GLM, cut": "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Ro",
    "Kimi, cut": KIMI.partition("Rome")[0],
    "DeepSeek, no JSON": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>Rome<｜tool▁call▁end｜>"
        "<｜tool▁calls▁end｜>"
    ),
    "MiniMax, cut": f"<minimax:tool_call>\n{INVOKE.partition('me</para')[0]}",
    "Mistral, cut": '[TOOL_CALLS]get_weather[ARGS]{"city": "Ro',
    "gpt-oss, cut": '<|channel|>commentary to=functions.get_weather<|message|>{"city": "Ro',
    "Llama, cut": '{"name": "get_weather", "parameters": {"city": "Ro',
    "Llama, a value missing": '{"name": "get_weather", "parameters": {"city": }}',
    "ReAct, cut": "Action: get_weather\nAction In",
}


@pytest.mark.parametrize("stop", ["stop", "length"])
@pytest.mark.parametrize("written", BROKEN.values(), ids=BROKEN)
def test_a_call_that_cannot_be_read_is_never_text(written: str, stop: str) -> None:
    for pieces in ([written], list(written)):
        text, calls = read_pieces("One moment.\n", *pieces, stop=stop)
        assert text.strip() == "One moment."
        assert [name for name, _ in calls] == [UNREADABLE]
        assert all(isinstance(arguments, str) for _, arguments in calls)


def test_nothing_is_added_to_a_call_that_the_limit_of_tokens_cut() -> None:
    written = f'<tool_call>{{"name": "get_weather", "arguments": {JSON}'
    assert read_pieces(written)[1] == [ROME]
    assert [name for name, _ in read_pieces(written, stop="length")[1]] == [UNREADABLE]


async def test_a_call_that_cannot_be_read_is_asked_again_with_what_was_wrong() -> None:
    model = ScriptedModel([BROKEN["Hermes, words"], ONE_CALL["Hermes"], "Sunny."])
    answer = await Agent(model, TOOLS).run("?")
    assert answer.text == "Sunny."
    problem, found = results(model)
    assert "could not be read" in problem
    assert "get_weather Rome" in problem
    assert found == "Rome 2 False"


async def test_a_model_that_writes_no_readable_call_ends_with_a_limit() -> None:
    answer = await Agent(ScriptedModel([BROKEN["Hermes, words"]] * 9), TOOLS).run("?")
    assert "<tool_call>" not in answer.text
    assert answer.stop_reason == "limit"
    assert answer.report


async def test_a_call_in_the_turn_without_tools_is_not_shown() -> None:
    """The last turn of a run offers no tools, which not every model heeds."""
    from agentkit.agent.limits import Limits

    model = ScriptedModel([ONE_CALL["Hermes"], ONE_CALL["Qwen3-Coder"]])
    answer = await Agent(model, TOOLS, limits=Limits(turns=2)).run("?")
    assert "<function" not in answer.text
    assert answer.stop_reason == "limit"


async def test_a_name_of_no_tool_is_not_sent_back_as_it_was_written() -> None:
    call = ToolCall("1", "fly<|channel|>commentary", {})
    model = ScriptedModel([call, "done"])
    answer = await Agent(model, TOOLS).run("?")
    assert [c.name for message in answer.messages for c in message.tool_calls] == ["fly"]


async def test_text_after_a_failure_of_the_server_is_kept() -> None:
    parser = TextCallParser(TOOLS)
    parser.feed(TextDelta("<tool_"))
    assert parser.flush() == [TextDelta("<tool_")]
    assert ModelError("x").kind == "other"
