"""Hugging Face in process, with SmolLM2 on the processor: structure is asserted, never wording."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit.backends.base import Options
from agentkit.backends.huggingface.model import HuggingFaceModel
from agentkit.errors import ConfigError, ModelError
from agentkit.events import Done, ModelPart, ReasoningDelta, TextDelta
from agentkit.messages import ImagePart, Message, ToolCall, Usage
from agentkit.tools.tool import Tool
from tests.backends.conftest import collected
from tests.backends.tiny_gguf import WINDOW, write_tiny_gguf

pytest.importorskip("transformers", reason="transformers is not installed")

pytestmark = pytest.mark.slow
HI = [Message("user", "Name three colours.")]
GREEDY = Options(temperature=0.0)


@pytest.fixture(scope="module")
def shared(smollm2_folder: Path) -> HuggingFaceModel:
    """One model for all tests, on one thread: more of them starve on a busy machine."""
    import torch

    torch.set_num_threads(1)
    return HuggingFaceModel(str(smollm2_folder))


@pytest.fixture(scope="module")
def tokenizer(smollm2_folder: Path) -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(smollm2_folder)


def texts(parts: list[ModelPart]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


def writing(tokenizer: Any, text: str) -> dict[str, Any]:
    """What makes a model write this text, token for token, and end its turn."""
    import transformers

    ids = [*tokenizer.encode(text, add_special_tokens=False), tokenizer.eos_token_id]

    class Forced(transformers.LogitsProcessor):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(ids)

        def __call__(self, input_ids: Any, scores: Any) -> Any:
            scores[:] = float("-inf")
            scores[:, next(self.rest)] = 0
            return scores

    return {"logits_processor": transformers.LogitsProcessorList([Forced()])}


async def test_text_comes_token_by_token_with_true_counts(shared: HuggingFaceModel) -> None:
    parts = await collected(shared.stream(HI, (), replace(GREEDY, max_tokens=6)))
    assert sum(isinstance(part, TextDelta) for part in parts) > 2
    assert parts[-2] == Usage(34, 6)
    assert parts[-1] == Done("length", shared.name)


async def test_an_answer_ended_by_the_model_has_the_reason_stop(
    shared: HuggingFaceModel, tokenizer: Any
) -> None:
    extra = writing(tokenizer, "Red, 蓝色 and 🌍.")
    parts = await collected(shared.stream(HI, (), replace(GREEDY, max_tokens=50, extra=extra)))
    assert texts(parts) == "Red, 蓝色 and 🌍."
    assert parts[-1] == Done("stop", shared.name)


async def test_a_call_in_the_text_is_a_call(
    shared: HuggingFaceModel, tokenizer: Any, lookup: Tool
) -> None:
    written = (
        '<think>hm</think><tool_call>{"name": "lookup", "arguments": {"city": "Rome"}}</tool_call>'
    )
    options = replace(GREEDY, extra=writing(tokenizer, written))
    parts = await collected(shared.stream(HI, [lookup], options))
    assert [part.text for part in parts if isinstance(part, ReasoningDelta)] == ["hm"]
    assert [p.arguments for p in parts if isinstance(p, ToolCall)] == [{"city": "Rome"}]
    assert texts(parts) == ""
    assert parts[-1] == Done("tool_calls", shared.name)


async def test_a_stop_string_ends_the_answer_and_is_left_out(
    shared: HuggingFaceModel, tokenizer: Any
) -> None:
    options = replace(GREEDY, stop=("ND OF", "!"), extra=writing(tokenizer, "It is the END OF it"))
    parts = await collected(shared.stream(HI, (), options))
    assert texts(parts) == "It is the E"
    assert parts[-1] == Done("stop", shared.name)
    [usage] = [part for part in parts if isinstance(part, Usage)]
    assert usage.output_tokens < 9


async def test_the_same_seed_writes_the_same(shared: HuggingFaceModel) -> None:
    options = Options(max_tokens=8, temperature=1.0, seed=3)
    first, second = [texts(await collected(shared.stream(HI, (), options))) for _ in range(2)]
    assert first == second


async def test_closing_the_iterator_stops_the_model(shared: HuggingFaceModel) -> None:
    parts = shared.stream(HI, (), Options(max_tokens=4000))
    await anext(parts)
    await parts.aclose()
    async with asyncio.timeout(150):
        after = await collected(shared.stream(HI, (), Options(max_tokens=1)))
    assert after[-1] == Done("length", shared.name)


async def test_eight_chats_at_once_write_what_each_writes_alone(
    shared: HuggingFaceModel,
) -> None:
    chats = [[Message("user", f"{'Please ' * n}name {n} colours.")] for n in range(1, 9)]
    options = replace(GREEDY, max_tokens=6)
    alone = [texts(await collected(shared.stream(chat, (), options))) for chat in chats]
    together = await asyncio.gather(*(collected(shared.stream(c, (), options)) for c in chats))
    assert [texts(parts) for parts in together] == alone
    assert len(set(alone)) > 1


async def test_a_second_turn_reads_only_what_is_new(smollm2_folder: Path) -> None:
    kept, bare = [HuggingFaceModel(str(smollm2_folder), kept_tokens=n) for n in (4096, 0)]
    talk, options = [*HI], replace(GREEDY, max_tokens=8)
    outputs: list[list[Any]] = []
    read: list[int] = []
    for model in (kept, bare):
        first = texts(await collected(model.stream(talk, (), options)))
        before = model.prefilled_tokens
        turns = [*talk, Message("assistant", first), Message("user", "Which is the best?")]
        parts = await collected(model.stream(turns, (), options))
        outputs.append([first, texts(parts), *(p for p in parts if isinstance(p, Usage))])
        read.append(model.prefilled_tokens - before)
        await model.close()
    assert outputs[0] == outputs[1]
    assert read[1] == outputs[1][2].input_tokens > 45
    assert read[0] <= read[1] - 34


async def test_an_unknown_option_is_named(shared: HuggingFaceModel) -> None:
    with pytest.raises(ModelError, match=r"does not support the option num_beams: use .*top_p"):
        await collected(shared.stream(HI, (), Options(extra={"num_beams": 4})))


async def test_max_context_lowers_the_window(smollm2_folder: Path) -> None:
    model = HuggingFaceModel(str(smollm2_folder), max_context=36)
    assert await model.context_window() == 36
    parts = await collected(model.stream(HI, (), replace(GREEDY, max_tokens=9)))
    assert parts[-2] == Usage(34, 2)
    assert parts[-1] == Done("length", model.name)
    await model.close()


async def test_a_prompt_beyond_the_window_is_refused(shared: HuggingFaceModel) -> None:
    long = [Message("user", "x " * 9000)]
    with pytest.raises(ModelError, match=r"prompt of 9\d\d\d tokens .* window is 8192 tokens"):
        await collected(shared.stream(long))


async def test_the_window_and_the_counts_are_the_models_own(shared: HuggingFaceModel) -> None:
    assert await shared.context_window() == 8192
    assert shared.count_tokens("Hello world") == 2


def test_before_it_is_loaded_tokens_are_estimated() -> None:
    assert HuggingFaceModel("nobody/nothing").count_tokens("abcdef") == 2


async def test_a_closed_model_loads_again(smollm2_folder: Path) -> None:
    model = HuggingFaceModel(str(smollm2_folder))
    await model.context_window()
    await model.close()
    assert await model.context_window() == 8192
    await model.close()


@pytest.fixture
async def unloaded(tmp_path: Path) -> AsyncIterator[HuggingFaceModel]:
    model = HuggingFaceModel(str(tmp_path))
    yield model
    await model.close()


async def test_images_are_refused(unloaded: HuggingFaceModel) -> None:
    with pytest.raises(ModelError, match="reads no images"):
        await collected(unloaded.stream([Message("user", (ImagePart(b""),))]))


async def test_without_torch_the_extra_is_named(
    smollm2_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    model = HuggingFaceModel(str(smollm2_folder))
    with pytest.raises(ConfigError, match=r"pip install 'agentkit-rag\[hf\]'"):
        await collected(model.stream(HI))
    await model.close()


async def test_a_gguf_file_is_loaded_and_answers(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed")
    path = write_tiny_gguf(tmp_path / "tiny.gguf")
    model = HuggingFaceModel(str(path))
    parts = await collected(model.stream(HI, (), replace(GREEDY, max_tokens=3)))
    assert parts[-2] == Usage(len("Name three colours."), 3)
    assert parts[-1] == Done("length", f"hf:{path}")
    assert await model.context_window() == WINDOW
    await model.close()
