"""Answers as objects: held to a schema or asked for in words, always checked, twice repaired."""

from __future__ import annotations

import json
import typing
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


WRITTEN = {
    "words with braces before": f"For {{the question}} the answer is {PARIS}",
    "words with braces after": f"{PARIS} as in {{basket}}",
    "two objects of which one fits": f'First: {{"name": 3}}. Final: {PARIS}',
    "an example before the answer": f'Like {{"name": "Rome", "people": 1}}: {PARIS}',
    "a trailing comma": '{"name": "Paris", "people": 2100000,}',
    "single quotes": "{'name': 'Paris', 'people': 2100000}",
    "Python's literals": "{'name': 'Paris', 'people': 2_100_000, 'note': None}",
    "comments": '{"name": "Paris", // the capital\n"people": 2100000}',
    "keys without quotes": '{name: "Paris", people: 2100000}',
    "a JSON string": '"{\\"name\\": \\"Paris\\", \\"people\\": 2100000}"',
    "escaped as a whole": PARIS.replace('"', '\\"'),
    "a wrapper of the type's name": f'{{"City": {PARIS}}}',
    "a wrapper of another name": f'{{"answer": {PARIS}}}',
    "two wrappers": f'{{"data": {{"city": {PARIS}}}}}',
    "a wrapper that holds a JSON string": json.dumps({"result": PARIS}),
    "a list of one": f"[{PARIS}]",
    "a tool call": f'{{"name": "City", "arguments": {PARIS}}}',
    "a tool call with its function": json.dumps(
        {"type": "function", "function": {"name": "City", "arguments": PARIS}}
    ),
    "a tool call between tags": f'<tool_call>{{"name": "final", "arguments": {PARIS}}}</tool_call>',
    "the schema given back with values": f'{{"type": "object", "properties": {PARIS}}}',
    "a byte order mark": f"\ufeff{PARIS}",
    "a fence that is not closed": f"```json\n{PARIS}",
    "a fence on one line": f"```json {PARIS} ```",
    "a fence in a fence's words": f"Sure!\n~~~\n{PARIS}\n~~~",
    "thinking with braces": f'<think>maybe {{"name": 1}}</think>{PARIS}',
    "thinking without an opening tag": f'maybe {{"name": "Rome", "people": 1}}</think>{PARIS}',
    "a missing bracket": PARIS.removesuffix("}"),
    "a citation after it": f"{PARIS} [1]",
    "keys in another case": '{"Name": "Paris", "PEOPLE": 2100000}',
    "a comment after a value": '{"name": "Paris", "people": 2100000 // about\n}',
    "a label before it": f"json\n{PARIS}",
}  # fmt: skip


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
async def test_an_object_is_read_as_models_write_it(written: str) -> None:
    model = ScriptedModel([written])
    assert (await Agent(model).run("Which city?", output=City)).output == OBJECT
    assert len(model.requests) == 1


UNREADABLE = {
    "a text that is cut": '{"name": "Par',
    "a value that is missing": '{"name": "Paris", "people": }',
    "the schema": json.dumps(City.model_json_schema()),
    "a fraction": '{"name": "Paris", "people": 21/10}',
    "no object": "Paris has many people.",
}


@pytest.mark.parametrize("written", UNREADABLE.values(), ids=UNREADABLE)
async def test_an_object_that_cannot_be_read_is_asked_again(written: str) -> None:
    model = ScriptedModel([written, PARIS])
    assert (await Agent(model).run("Which city?", output=City)).output == OBJECT
    assert len(model.requests) == 2


async def test_a_missing_bracket_is_not_added_where_the_limit_of_tokens_cut_the_answer() -> None:
    cut: list[ModelPart] = [TextDelta('{"name": "Paris", "people": 21'), Done("length", "m")]
    model = ScriptedModel([cut, PARIS])
    assert (await Agent(model).run("Which city?", output=City)).output == OBJECT


async def test_an_object_for_a_list_of_them_is_a_list_of_one() -> None:
    assert (await Agent(ScriptedModel([PARIS])).run("?", output=list[City])).output == [OBJECT]


async def test_objects_on_lines_are_a_list_of_all_of_them() -> None:
    rome = City(name="Rome", people=3)
    model = ScriptedModel([f"{PARIS}\n{rome.model_dump_json()}\n"])
    assert (await Agent(model).run("?", output=list[City])).output == [OBJECT, rome]


async def test_a_number_in_quotes_fits_a_json_schema() -> None:
    schema = {"type": "object", "properties": {"people": {"type": "integer"}}}
    answer = await Agent(ScriptedModel(['{"people": "7"}'])).run("?", output=schema)
    assert answer.output == {"people": 7}


class Named(BaseModel):
    name: str


@pytest.mark.parametrize(
    "written",
    [
        '{"name": "Named", "arguments": {"name": "fig"}}',
        '{"name": "Named", "parameters": "{\\"name\\": \\"fig\\"}"}',
        '{"name": "fig", "arguments": "none"}',
        '{"name": "fig", "extra": {"name": "plum"}}',
    ],
)
async def test_a_tool_call_is_not_taken_for_an_object_with_a_name(written: str) -> None:
    assert (await Agent(ScriptedModel([written])).run("?", output=Named)).output == Named(
        name="fig"
    )


class Loose(BaseModel):
    note: str = ""


async def test_a_wrapper_is_not_taken_for_an_object_whose_fields_are_all_optional() -> None:
    model = ScriptedModel(['{"answer": {"note": "x"}}'])
    assert (await Agent(model).run("?", output=Loose)).output == Loose(note="x")


@pytest.mark.parametrize("text", ["It is seven [1].", "See [1] and [2].", "[3]."])
async def test_a_citation_is_no_number_of_the_output(text: str) -> None:
    model = ScriptedModel([text, "7"])
    assert (await Agent(model).run("How many?", output=int)).output == 7


class Street(typing.TypedDict, total=False):
    number: int


async def test_dicts_of_typing_are_outputs_on_every_python() -> None:
    answer = await Agent(ScriptedModel(['[{"number": 1}, {}]'])).run("?", output=list[Street])
    assert answer.output == [{"number": 1}, {}]


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
