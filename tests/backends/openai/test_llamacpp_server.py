"""The OpenAI-compatible backend against a real llama.cpp server with a real small model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from agentkit.backends.base import Options
from agentkit.backends.openai.model import OpenAIModel
from agentkit.errors import ModelError
from agentkit.events import Done, ModelPart, TextDelta
from agentkit.messages import Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from tests.backends.conftest import collected

pytestmark = pytest.mark.slow

HI = [Message("user", "Name three colours.")]
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


@pytest.fixture
async def model(llamacpp_url: str) -> AsyncIterator[OpenAIModel]:
    model = OpenAIModel("smollm2", provider="llamacpp", base_url=llamacpp_url)
    yield model
    await model.close()


def texts(parts: list[ModelPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


async def test_a_limit_ends_the_answer(model: OpenAIModel) -> None:
    parts = await collected(model.stream(HI, (), Options(max_tokens=6, temperature=0.0)))
    assert texts(parts)
    [usage] = [part for part in parts if isinstance(part, Usage)]
    assert (usage.output_tokens, usage.estimated) == (6, False)
    assert parts[-1] == Done("length", "llamacpp:smollm2")


async def test_a_schema_constrains_the_answer(model: OpenAIModel) -> None:
    parts = await collected(model.stream(HI, (), Options(schema=SCHEMA, max_tokens=40)))
    assert json.loads(texts(parts))["colour"] in ("red", "blue")


async def test_the_same_seed_gives_the_same_text(model: OpenAIModel) -> None:
    options = Options(seed=5, temperature=1.0, max_tokens=8)
    first, second = [texts(await collected(model.stream(HI, (), options))) for _ in range(2)]
    assert first == second


async def test_a_conversation_with_tools_is_accepted(model: OpenAIModel, lookup: Tool) -> None:
    talk = [
        Message("system", "Be brief."),
        Message("user", "Where is it sunny?"),
        Message("assistant", "", (ToolCall("c1", "lookup", {"city": "Rome"}),)),
        Message("tool", "sunny", tool_call_id="c1"),
    ]
    parts = await collected(model.stream(talk, [lookup], Options(max_tokens=4)))
    assert isinstance(parts[-1], Done)


async def test_requests_at_the_same_time_are_all_answered(model: OpenAIModel) -> None:
    options = Options(max_tokens=3)
    answers = await asyncio.gather(*(collected(model.stream(HI, (), options)) for _ in range(3)))
    assert all(isinstance(parts[-1], Done) for parts in answers)


async def test_an_answer_can_be_abandoned(model: OpenAIModel) -> None:
    parts = model.stream(HI, (), Options(max_tokens=1500))
    await anext(parts)
    await parts.aclose()
    after = await collected(model.stream(HI, (), Options(max_tokens=2)))
    assert isinstance(after[-1], Done)


async def test_a_prompt_beyond_the_window_is_an_error(model: OpenAIModel) -> None:
    with pytest.raises(ModelError, match=r"too long for llamacpp:smollm2.*2048"):
        await collected(model.stream([Message("user", "hi " * 3000)]))


async def test_the_window_is_known(model: OpenAIModel) -> None:
    assert await model.context_window() == 2048
