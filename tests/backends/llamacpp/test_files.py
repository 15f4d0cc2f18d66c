"""GGUF files: errors, and the packaged model."""

import json
from pathlib import Path

import pytest

from agentkit.backends.base import Model, Options
from agentkit.backends.llamacpp import LlamaCppModel
from agentkit.backends.registry import get_model
from agentkit.errors import ModelError
from agentkit.events import TextDelta
from agentkit.messages import Message

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed")

pytestmark = pytest.mark.slow


async def _answer_text(
    model: LlamaCppModel | Model, prompt: str, options: Options = Options()
) -> str:
    parts = [part async for part in model.stream([Message("user", prompt)], (), options)]
    return "".join(part.text for part in parts if isinstance(part, TextDelta))


async def test_a_missing_file_is_named() -> None:
    with pytest.raises(ModelError, match=r"nowhere\.gguf"):
        await _answer_text(LlamaCppModel("/nowhere.gguf"), "hi")


async def test_a_file_cut_in_half_is_named(smollm2_gguf: Path, tmp_path: Path) -> None:
    half = tmp_path / "half.gguf"
    half.write_bytes(smollm2_gguf.read_bytes()[:30_000_000])
    with pytest.raises(ModelError, match=r"half\.gguf") as caught:
        await _answer_text(LlamaCppModel(str(half)), "hi")
    assert "\n" not in str(caught.value)


async def test_the_packaged_model_has_a_short_name_and_follows_a_schema(
    smollm2_gguf: Path,
) -> None:
    model = get_model("gguf:smollm2")
    schema = {
        "type": "object",
        "properties": {"city": {"enum": ["Delft", "Leiden"]}},
        "required": ["city"],
        "additionalProperties": False,
    }
    text = await _answer_text(
        model, "Name a city.", Options(schema=schema, max_tokens=64, temperature=0)
    )
    await model.close()
    assert json.loads(text)["city"] in ("Delft", "Leiden")
