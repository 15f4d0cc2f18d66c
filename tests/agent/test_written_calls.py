"""Calls that a model writes as text, in the forms of the model families, and what only looks like
one."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest

from agentkit import Agent, Session
from agentkit.backends.base import Options
from agentkit.backends.scripted import ScriptedModel
from agentkit.backends.text_tool_calls import parse_text_calls
from agentkit.errors import ModelError
from agentkit.events import ModelPart, TextDelta
from agentkit.messages import Message
from agentkit.tools.tool import Tool
from tests.agent.scripts import call, events_of, results
from tests.agent.test_calls import TOOLS

WRITTEN = {
    "hermes": '<tool_call>\n{"name": "lookup", "arguments": {"city": "Rome"}}\n</tool_call>',
    "mistral": '[TOOL_CALLS][{"name": "lookup", "arguments": {"city": "Rome"}}]',
    "mistral args": '[TOOL_CALLS]lookup[ARGS]{"city": "Rome"}',
    "llama": '<|python_tag|>{"name": "lookup", "parameters": {"city": "Rome"}}',
    "pythonic": '[lookup(city="Rome")]',
    "deepseek": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>lookup\n"
        '```json\n{"city": "Rome"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'
    ),
    "bare": '{"name": "lookup", "arguments": {"city": "Rome"}}',
    "fenced": '```json\n{"name": "lookup", "arguments": {"city": "Rome"}}\n```',
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
async def test_a_call_written_as_text_is_understood_and_not_shown(written: Any) -> None:
    model = ScriptedModel([written, "done"])
    events = await events_of(Agent(model, TOOLS))
    assert results(model) == ["Rome 1"]
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "done"


async def test_words_before_a_written_call_are_an_answers_text() -> None:
    model = ScriptedModel([f"Let me look. {WRITTEN['hermes']}", "done"])
    answer = await Agent(model, TOOLS).run("?")
    assert answer.messages[1].text == "Let me look."
    assert answer.messages[1].tool_calls[0].name == "lookup"


async def test_a_call_given_both_ways_is_made_once() -> None:
    turn: list[ModelPart] = [TextDelta(WRITTEN["hermes"]), call("lookup", city="Rome")]
    model = ScriptedModel([turn, "done"])
    await Agent(model, TOOLS).run("?")
    assert results(model) == ["Rome 1"]


async def test_json_that_is_no_call_is_an_answer() -> None:
    model = ScriptedModel(['{"name": "Rome", "people": 3}'])
    assert (await Agent(model, TOOLS).run("?")).text == '{"name": "Rome", "people": 3}'


async def test_without_tools_a_written_call_is_text() -> None:
    answer = await Agent(ScriptedModel([WRITTEN["hermes"]])).run("?")
    assert answer.text == WRITTEN["hermes"]


async def test_thinking_between_tags_is_no_answer() -> None:
    answer = await Agent(ScriptedModel(["<think>hmm</think>\n\nblue"]), TOOLS).run("?")
    assert answer.text == "blue"


async def test_text_held_back_as_a_possible_call_is_not_lost_when_the_server_dies() -> None:
    class Dying(ScriptedModel):
        def stream(
            self,
            messages: Sequence[Message],
            tools: Sequence[Tool] = (),
            options: Options = Options(),
        ) -> AsyncGenerator[ModelPart, None]:
            return parse_text_calls(self._parts_then_error(), tools, options)

        async def _parts_then_error(self) -> AsyncGenerator[ModelPart, None]:
            yield TextDelta('{"name": "lookup", "arg')
            raise ModelError("gone")

    session = Session()
    with pytest.raises(ModelError):
        await Agent(Dying([]), TOOLS).run("?", session)
    assert session.messages[-1] == Message("assistant", '{"name": "lookup", "arg')
