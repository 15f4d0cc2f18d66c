"""Rerankers give the same hits in another order, and keep the order where they cannot."""

from pathlib import Path

import pytest

from agentkit import Document, KnowledgeBase
from agentkit.backends.scripted import ScriptedModel
from agentkit.documents import Chunk, Hit
from agentkit.errors import ConfigError
from agentkit.knowledge.search.rerank import CrossEncoderReranker, ModelReranker, get_reranker
from tests.conftest import TermEmbedder

pytestmark = pytest.mark.slow

HITS = [
    Hit(Chunk(f"c{n}", "d", "a.md", "A", "A", f"passage {n}", 0, 9), 0.9 - n / 10) for n in range(4)
]


def _ids(hits: list[Hit]) -> list[str]:
    return [hit.chunk.id for hit in hits]


@pytest.mark.parametrize(
    ("reply", "order"),
    [
        ("[3, 1, 4, 2]", ["c2", "c0", "c3", "c1"]),
        ("The best is 4, then 2.", ["c3", "c1", "c0", "c2"]),
        ("<think>maybe 1</think>\n[2]", ["c1", "c0", "c2", "c3"]),
        ("[2, 2, 99, 0, -7]", ["c1", "c0", "c2", "c3"]),
        ("No idea.", ["c0", "c1", "c2", "c3"]),
        ("", ["c0", "c1", "c2", "c3"]),
    ],
)
async def test_a_model_orders_the_passages_and_rubbish_changes_nothing(
    reply: str, order: list[str]
) -> None:
    hits = await ModelReranker(ScriptedModel([reply])).rerank("Which?", HITS)
    assert _ids(hits) == order
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)


async def test_a_model_that_fails_leaves_the_order_as_it_was() -> None:
    assert await ModelReranker(ScriptedModel([])).rerank("Which?", HITS) == HITS


async def test_a_search_takes_the_order_of_its_reranker(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    model = ScriptedModel(["[2, 1]"])
    kb = KnowledgeBase.open(tmp_path, embedder, reranker=ModelReranker(model))
    await kb.add([Document("a.md", "cats purr loudly"), Document("b.md", "cats sleep")])
    assert [hit.chunk.source for hit in await kb.search("cats purr loudly", 1)] == ["b.md"]
    kb.close()


async def test_a_cross_encoder_orders_by_its_scores(tmp_path: Path) -> None:
    encoder = CrossEncoderReranker(str(_tiny_cross_encoder(tmp_path / "model")))
    hits = await encoder.rerank("Which passage?", HITS)
    assert sorted(_ids(hits)) == sorted(_ids(HITS))
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert _ids(await encoder.rerank("Which passage?", HITS[::-1])) == _ids(hits)
    assert await encoder.rerank("Which?", []) == []


async def test_a_cross_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="missing"):
        await CrossEncoderReranker(str(tmp_path / "missing")).rerank("Which?", HITS)


def test_a_setting_chooses_the_reranker() -> None:
    model = ScriptedModel([])
    assert get_reranker("") is None
    assert isinstance(get_reranker("st:some/model"), CrossEncoderReranker)
    assert isinstance(get_reranker("model", model), ModelReranker)
    for wrong in ("st:", "cohere", "model"):
        with pytest.raises(ConfigError, match="not a reranker"):
            get_reranker(wrong)


def _tiny_cross_encoder(folder: Path) -> Path:
    """A BERT of two layers with random weights that knows a few words."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("sentence_transformers")
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "passage", "which", *"0123456789a?"]
    vocabulary = {word: number for number, word in enumerate(words)}
    BertTokenizerFast(vocab=vocabulary).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        num_labels=1,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder
