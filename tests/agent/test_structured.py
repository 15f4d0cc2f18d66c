"""Answers as objects: held to a schema or asked for in words, always checked, twice repaired."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Any

import pytest
from pydantic import BaseModel, Field

from agentkit import Agent, tool
from agentkit.agent.limits import Limits
from agentkit.agent.session import Session
from agentkit.agent.structured import output_schema
from agentkit.backends.base import Capabilities, Options
from agentkit.backends.ollama.model import OllamaModel
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from tests.servers import ollama_server as ollama
from tests.servers.running import serving


class City(BaseModel):
    name: str
    people: int = Field(ge=0)


PARIS = '{"name": "Paris", "people": 2100000}'
OBJECT = City(name="Paris", people=2100000)


class Native(ScriptedModel):
    """Can be held to a schema, and keeps the schemas that it was given."""

    def __init__(self, script: Iterable[Turn]) -> None:
        super().__init__(script)
        self.schemas: list[Any] = []

    async def capabilities(self) -> Capabilities:
        return Capabilities(json_schema=True)

    async def stream(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), options: Options = Options()
    ) -> AsyncGenerator[ModelPart, None]:
        self.schemas.append(options.schema)
        async for part in super().stream(messages, tools, options):
            yield part


@tool
def count(city: str) -> int:
    """Count the people of a city."""
    return 2100000


COUNT = ToolCall("1", "count", {"city": "Paris"})


async def test_a_model_without_schemas_is_reported_the_schema_in_words() -> None:
    model = ScriptedModel([PARIS])
    answer = await Agent(model, instructions="Be kind.").run("Which city?", output=City)
    assert answer.output == OBJECT
    assert answer.text == PARIS
    system, asked = model.requests[0]
    assert '"people"' in system.text
    assert "Be kind." in system.text
    assert asked.text == "Which city?"


async def test_a_model_with_schemas_is_held_to_it_and_reported_nothing() -> None:
    model = Native([PARIS])
    assert (await Agent(model).run("Which city?", output=City)).output == OBJECT
    assert model.schemas == [City.model_json_schema()]
    assert "people" not in model.requests[0][0].text


async def test_tools_work_on_the_way_to_an_object() -> None:
    model = ScriptedModel([COUNT, PARIS])
    answer = await Agent(model, [count]).run("How many?", output=City)
    assert answer.output == OBJECT
    assert answer.tool_calls == ("count",)
    assert model.tools_offered == [("count",), ("count",)]


async def test_no_schema_holds_a_turn_that_may_call_tools_but_it_holds_the_repair() -> None:
    model = Native([COUNT, "It has 2.1 million.", PARIS])
    answer = await Agent(model, [count]).run("How many?", output=City)
    assert answer.output == OBJECT
    assert model.schemas == [None, None, City.model_json_schema()]
    assert model.tools_offered == [("count",), ("count",), ()]
    assert "people" in model.requests[0][0].text


async def test_a_schema_holds_the_last_turn_of_a_limited_run() -> None:
    model = Native([COUNT, PARIS])
    answer = await Agent(model, [count], limits=Limits(turns=2)).run("How many?", output=City)
    assert answer.output == OBJECT
    assert model.schemas == [None, City.model_json_schema()]


@pytest.mark.parametrize(
    "text",
    [
        f" {PARIS}\n",
        f"```json\n{PARIS}\n```",
        f"Here it is:\n\n```\n{PARIS}\n```\nAnything else?",
        f"The answer is {PARIS} [1].",
    ],
    ids=["alone", "fenced", "fenced among words", "among words"],
)
def test_an_object_is_found_where_it_stands(text: str) -> None:
    assert output_schema(City).parse(text) == OBJECT


async def test_a_faulty_answer_goes_back_with_its_fault() -> None:
    model = ScriptedModel(['{"name": "Paris", "people": -1}', "Sorry", PARIS])
    session = Session()
    answer = await Agent(model).run("Which city?", session, output=City)
    assert answer.output == OBJECT
    assert "people: Input should be greater than or equal to 0" in model.requests[1][-1].text
    assert "Invalid JSON" in model.requests[2][-1].text
    assert answer.messages[-1].text == PARIS
    assert [m.role for m in session.messages] == ["user", "assistant"] * 3
    assert answer.usage.output_tokens > model.count_tokens(PARIS)


async def test_after_two_repairs_the_error_shows_what_the_model_stated() -> None:
    model = ScriptedModel(["word " * 200] * 3)
    with pytest.raises(ModelError, match=r"asked 3 times and gave no City .*'word word") as caught:
        await Agent(model).run("Which city?", output=City)
    assert len(model.requests) == 3
    assert len(str(caught.value)) < 600


async def test_a_refusal_is_not_repaired() -> None:
    model = ScriptedModel([[TextDelta("I will not."), Done("refused", "scripted")], PARIS])
    with pytest.raises(ModelError, match="asked once"):
        await Agent(model).run("Which city?", output=City)


async def test_the_limits_hold_for_all_attempts_together() -> None:
    model = ScriptedModel([[TextDelta("no"), Usage(90, 20)], PARIS])
    with pytest.raises(ModelError, match="asked once"):
        await Agent(model, limits=Limits(tokens=100)).run("Which city?", output=City)


async def test_without_an_output_nothing_changes() -> None:
    answer = await Agent(ScriptedModel([PARIS])).run("Which city?")
    assert answer.output is None


def test_the_sync_door_gives_objects_too() -> None:
    assert Agent(ScriptedModel([PARIS])).run_sync("Which city?", output=City).output == OBJECT


async def test_an_ollama_server_gets_the_schema_as_its_format() -> None:
    server = ollama.OllamaServer()
    server.replies(ollama.Reply(ollama.text(PARIS)))
    with serving(server.app) as url:
        model = OllamaModel("small", base_url=url)
        answer = await Agent(model).run("Which city?", output=City)
        await model.close()
    assert answer.output == OBJECT
    assert server.requests[0]["format"] == City.model_json_schema()


@pytest.mark.parametrize("turns", [1, 2])
async def test_the_limit_of_turns_counts_the_answers_that_are_asked_for_again(turns: int) -> None:
    model = ScriptedModel(["no"] * 4)
    with pytest.raises(ModelError, match=rf"Limits\(turns={turns}\)"):
        await Agent(model, limits=Limits(turns=turns)).run("Which city?", output=City)
    assert len(model.requests) == turns
