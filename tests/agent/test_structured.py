"""Answers as objects: held to a schema or asked for in words, always checked, twice repaired."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from threading import Lock
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agentkit import ALLOWED, Agent, pause, tool
from agentkit.agent.limits import Limits
from agentkit.agent.replay import replay
from agentkit.agent.session import Session
from agentkit.agent.structured import output_schema
from agentkit.backends.base import Capabilities, Options
from agentkit.backends.ollama.model import OllamaModel
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.errors import ConfigError, ModelError
from agentkit.events import Done, Finished, ModelPart, Retried, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from agentkit.tracing.trace import TraceFiles, Tracing, read_trace
from tests.agent.scripts import answer_of
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


@dataclass
class Point:
    x: int
    y: int = 0


class Row(TypedDict):
    name: str


class Tree(BaseModel):
    children: list[Tree] = []


CITIES = f'{{"result": [{PARIS}]}}'


@pytest.mark.parametrize(
    ("output", "reply", "value"),
    [
        (City, PARIS, OBJECT),
        (Point, '{"x": 3}', Point(3)),
        (Row, '{"name": "a"}', {"name": "a"}),
        (Tree, '{"children": [{}]}', Tree(children=[Tree()])),
        (dict[str, int], '{"a": 1}', {"a": 1}),
        (list[City], CITIES, [OBJECT]),
        (list[City], f"[{PARIS}]", [OBJECT]),
        (tuple[int, str], '{"result": [1, "a"]}', (1, "a")),
        (City | None, f'{{"result": {PARIS}}}', OBJECT),
        (City | None, PARIS, OBJECT),
        (City | None, '{"result": null}', None),
        (City | Point, '{"result": {"x": 1, "y": 2}}', Point(1, 2)),
        (int, '{"result": 42}', 42),
        (int, "42", 42),
        (bool, "```json\nfalse\n```", False),
        (Literal["spam", "ham"], '{"result": "ham"}', "ham"),
        (Literal["spam", "ham"], "ham", "ham"),
        (date, '{"result": "2024-12-31"}', date(2024, 12, 31)),
        (date, "2024-12-31", date(2024, 12, 31)),
        (Annotated[int, Field(gt=1)], '{"result": 2}', 2),
        (str, "As it is.", "As it is."),
        ({"type": "array", "items": {"type": "integer"}}, "[1]", [1]),
    ],
    ids=lambda value: None if isinstance(value, type) else str(value)[:40],
)
@pytest.mark.parametrize("native", [True, False])
async def test_every_type_can_be_an_output(
    output: Any, reply: str, value: object, native: bool
) -> None:
    agent = Agent((Native if native else ScriptedModel)([reply]))
    assert (await agent.run("?", output=output)).output == value
    with agent.override(model=(Native if native else ScriptedModel)([reply])):
        *_, last = [event async for event in agent.stream("?", output=output)]
    assert isinstance(last, Finished)
    assert last.answer.output == value


async def test_what_is_not_an_object_is_asked_for_in_one() -> None:
    model = Native(["[]"])
    await Agent(model).run("?", output=list[City])
    (schema,) = model.schemas
    assert schema["type"] == "object"
    assert schema["required"] == ["result"]
    assert schema["properties"]["result"]["items"] == {"$ref": "#/$defs/City"}
    assert "City" in schema["$defs"]


async def test_text_as_output_is_the_text_and_asks_for_no_schema() -> None:
    model = Native(["Yes."])
    answer = await Agent(model).run("?", output=str)
    assert answer.output == answer.text == "Yes."
    assert model.schemas == [None]
    assert "JSON" not in model.requests[0][0].text


@pytest.mark.parametrize(
    ("output", "name"), [(5, "5"), ("City", "City"), (Lock, "lock"), ({"type": 5}, "Schema")]
)
async def test_what_has_no_schema_is_not_an_output(output: Any, name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        await Agent(ScriptedModel([])).run("?", output=output)


async def test_a_stream_repairs_an_answer_and_says_why() -> None:
    agent, session = Agent(ScriptedModel(["Sorry", PARIS])), Session()
    events = [event async for event in agent.stream("?", session, output=City)]
    kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
    assert kinds == [Retried, Finished]
    retried = next(event for event in events if isinstance(event, Retried))
    assert "Invalid JSON" in retried.reason
    assert [m.text for m in session.messages if m.role == "assistant"] == ["Sorry", PARIS]
    assert answer_of(events).messages == tuple(session.messages)


@pytest.mark.parametrize(("turns", "requests"), [(1, 1), (2, 2), (5, 3)])
async def test_the_limit_of_turns_counts_the_repairs(turns: int, requests: int) -> None:
    model = ScriptedModel(["Sorry"] * 9)
    with pytest.raises(ModelError) as caught:
        await Agent(model, limits=Limits(turns=turns)).run("?", output=City)
    assert len(model.requests) == requests
    assert (f"Limits(turns={turns})" in str(caught.value)) == (turns == requests)


async def test_a_run_that_pauses_has_no_output_yet_and_ends_with_one() -> None:
    @tool(needs_approval=True)
    def erase(name: str) -> str:
        """Erase."""
        return f"erased {name}"

    model = ScriptedModel([ToolCall("1", "erase", {"name": "a"}), PARIS])
    agent, session = Agent(model, [erase], approve=pause), Session()
    answer = await agent.run("?", session, output=City)
    assert answer.stop_reason == "paused"
    assert answer.output is None
    answer = await agent.resume(session, {"1": ALLOWED}, output=City)
    assert answer.output == OBJECT


async def test_a_traced_run_with_an_output_is_replayed_with_it(tmp_path: Path) -> None:
    files = TraceFiles(tmp_path)
    agent = Agent(Native([COUNT, PARIS]), [count], tracing=Tracing(files))
    await agent.run("How many?", output=City)
    (path,) = files.paths()
    assert (await replay(agent, read_trace(path)))[1] == []


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
