"""Answers constrained to a JSON Schema and forced tool calls, from weak models."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter

from agentkit.backends.base import Options
from agentkit.backends.huggingface.model import HuggingFaceModel
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool, tool
from tests.backends.conftest import collected

pytest.importorskip("transformers", reason="transformers is not installed")
pytest.importorskip("llguidance", reason="llguidance is not installed")

pytestmark = pytest.mark.slow

HI = [Message("user", "Which is the weather in Rome?")]
SEEDS = range(12)
TINY = {
    "vocab_size": 49152,
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "eos_token_id": 2,
}


class Weather(BaseModel):
    sky: Literal["clear", "cloudy"]
    degrees: int
    words: list[str]


class Place(BaseModel):
    city: str


@tool
def weather(place: Place, days: int) -> str:
    """The weather of a place."""
    return f"{place.city} {days}"


@tool
def stop() -> str:
    """End the talk."""
    return ""


@pytest.fixture(scope="module")
def model(smollm2_folder: Path) -> HuggingFaceModel:
    import torch

    torch.set_num_threads(1)
    return HuggingFaceModel(str(smollm2_folder))


@pytest.fixture(scope="module")
def babbling(smollm2_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> HuggingFaceModel:
    """A model with random weights: only the constraint gives its text a form."""
    import torch
    import transformers

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("babbling")
    config = transformers.LlamaConfig(**TINY)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(smollm2_folder).save_pretrained(folder)
    return HuggingFaceModel(str(folder))


def text(parts: list[ModelPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


async def each_seed(
    model: HuggingFaceModel, options: Options, *tools: Tool
) -> list[list[ModelPart]]:
    """The answers with each seed."""
    asked = [model.stream(HI, tools, replace(options, seed=seed)) for seed in SEEDS]
    return await asyncio.gather(*map(collected, asked))


async def test_every_answer_fits_its_schema_even_where_tokens_run_out(
    model: HuggingFaceModel,
) -> None:
    schema = Weather.model_json_schema()
    answers = await each_seed(model, Options(temperature=1.0, max_tokens=32, schema=schema))
    written = [text(parts) for parts in answers]
    assert all(Weather.model_validate_json(one) for one in written)
    assert len(set(written)) > 1
    assert all(parts[-1] == Done("stop", model.name) for parts in answers)


async def test_a_required_call_is_always_a_call_that_fits_its_tool(
    babbling: HuggingFaceModel,
) -> None:
    options = Options(temperature=1.0, max_tokens=60, tool_choice="required")
    called = [checked(parts) for parts in await each_seed(babbling, options, weather, stop)]
    assert set(called) == {"weather", "stop"}


async def test_a_weak_model_makes_the_required_call(model: HuggingFaceModel) -> None:
    options = Options(temperature=1.0, max_tokens=40, seed=1, tool_choice="required")
    checked(await collected(model.stream(HI, [weather, stop], options)))


def checked(parts: list[ModelPart]) -> str:
    """The name of the only call, whose arguments fit."""
    [call] = [part for part in parts if isinstance(part, ToolCall)]
    assert isinstance(call.arguments, dict)
    if call.name == "weather":
        Place.model_validate(call.arguments["place"])
        TypeAdapter(int).validate_python(call.arguments["days"])
    else:
        assert (call.name, call.arguments) == ("stop", {})
    assert text(parts) == ""
    [*_, end] = parts
    assert isinstance(end, Done)
    assert end.stop_reason == "tool_calls"
    return call.name


async def test_a_tool_that_is_named_is_the_one_called(model: HuggingFaceModel) -> None:
    options = Options(temperature=0.0, max_tokens=24, tool_choice="stop")
    parts = await collected(model.stream(HI, [weather, stop], options))
    [call] = [part for part in parts if isinstance(part, ToolCall)]
    assert (call.name, call.arguments) == ("stop", {})
    [usage] = [part for part in parts if isinstance(part, Usage)]
    assert 5 < usage.output_tokens <= 24


async def test_a_tool_that_is_not_there_cannot_be_forced(model: HuggingFaceModel) -> None:
    with pytest.raises(
        ModelError, match=r"Tool 'paint' is not offered\. Choose from: weather, stop"
    ):
        await collected(model.stream(HI, [weather, stop], Options(tool_choice="paint")))


async def test_an_answer_that_looks_like_a_call_stays_an_answer(model: HuggingFaceModel) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"const": "stop"}, "arguments": {"const": {}}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
    parts = await collected(model.stream(HI, [stop], Options(max_tokens=24, schema=schema)))
    assert json.loads(text(parts)) == {"name": "stop", "arguments": {}}


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "nonsense"}, "nonsense"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-ahead"),
    ],
)
async def test_an_unsupported_schema_is_refused(
    model: HuggingFaceModel, schema: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ModelError, match=f"cannot be constrained to this JSON Schema: .*{reason}"):
        await collected(model.stream(HI, (), Options(schema=schema)))


async def test_it_says_what_it_can(model: HuggingFaceModel) -> None:
    can = await model.capabilities()
    assert can.forced_tools
    assert can.json_schema
    assert not can.images
