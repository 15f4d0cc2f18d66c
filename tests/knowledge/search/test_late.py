"""Late interaction: what is kept, what is computed, and how ranges are scored."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from agentkit import Document, KnowledgeBase
from agentkit.documents import Chunk
from agentkit.knowledge.embedders.base import TokenVectors
from agentkit.knowledge.index.token_store import TOKENS, StoredTokens, TokenStore
from agentkit.knowledge.search.late import COMPUTED, LateQuery
from agentkit.knowledge.search.lookup import range_of
from tests.conftest import TermEmbedder

GUIDE = """# Guide

Pumps cost 420 euros. Valves cost 15 euros. [The list](https://prices.example/list) is long.

| part | weight |
|---|---|
| pump | 7 kg |
"""


class TokenTermEmbedder(TermEmbedder):
    """A small embedder whose tokens are words, each with the vector of its text."""

    def __init__(self) -> None:
        super().__init__()
        self.texts = 0

    async def embed_tokens(
        self, texts: Sequence[str], is_query: bool = False
    ) -> list[TokenVectors]:
        self.texts += 0 if is_query else len(texts)
        wholes = await self.embed_passages(texts)
        return [await self._tokens(text, whole) for text, whole in zip(texts, wholes, strict=True)]

    async def _tokens(self, text: str, whole: np.ndarray) -> TokenVectors:
        spans, at = [], 0
        for word in text.split():
            at = text.index(word, at)
            spans.append((at, at + len(word)))
            at += len(word)
        words = [text[start:end] for start, end in spans]
        vectors = await self.embed_passages(words) if words else np.empty((0, self.dimension))
        return TokenVectors(
            whole,
            np.asarray(vectors, np.float32),
            np.array(spans, np.int32).reshape(-1, 2),
            np.ones(len(words), np.float32),
        )


def stored(count: int, width: int = 8) -> StoredTokens:
    spans = np.array([(n, n + 1) for n in range(count)], np.int32).reshape(-1, 2)
    return StoredTokens(np.full((count, width), 7, np.int8), spans)


@pytest.fixture
def tokens() -> TokenTermEmbedder:
    return TokenTermEmbedder()


@pytest.fixture
def kb(tmp_path: Path, tokens: TokenTermEmbedder) -> Iterator[KnowledgeBase]:
    opened = KnowledgeBase.open(tmp_path / "index", tokens)
    yield opened
    opened.close()


async def test_tokens_of_a_small_index_are_kept_when_it_is_written(
    kb: KnowledgeBase, tokens: TokenTermEmbedder
) -> None:
    await kb.add([Document("guide.md", GUIDE)])
    before = tokens.texts
    hits = await kb.search("What do pumps cost?")
    assert hits[0].late is not None
    assert tokens.texts == before


async def test_few_passages_are_computed_for_one_question(
    tmp_path: Path, tokens: TokenTermEmbedder
) -> None:
    documents = [
        Document(f"{n}.md", f"# Part {n}\n\nPump number {n} costs {n} euros.") for n in range(30)
    ]
    with KnowledgeBase.open(tmp_path / "index", tokens, token_cache_mb=0) as kb:
        await kb.add(documents)
        before = tokens.texts
        hits = await kb.search("Which pump costs 7 euros?", 30)
    assert len(hits) == 30
    assert 0 < sum(hit.late is not None for hit in hits) <= COMPUTED
    assert tokens.texts - before <= COMPUTED
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


async def test_without_late_interaction_nothing_is_kept(
    tmp_path: Path, tokens: TokenTermEmbedder
) -> None:
    with KnowledgeBase.open(tmp_path / "index", tokens, late_interaction=False) as kb:
        await kb.add([Document("guide.md", GUIDE)])
        hits = await kb.search("What do pumps cost?")
        assert await kb.late_scores("pumps", [hits[0].chunk]) is None
    assert hits[0].late is None
    assert not (tmp_path / "index" / TOKENS).exists()


async def test_a_damaged_file_of_tokens_costs_no_answer(
    tmp_path: Path, tokens: TokenTermEmbedder
) -> None:
    with KnowledgeBase.open(tmp_path / "index", tokens) as kb:
        await kb.add([Document("guide.md", GUIDE)])
    for file in (tmp_path / "index").glob(TOKENS + "*"):
        file.write_bytes(b"no database" * 100)
    with KnowledgeBase.open(tmp_path / "index", tokens) as kb:
        assert (await kb.search("What do pumps cost?"))[0].late is not None


async def test_a_range_of_a_document_is_scored_by_its_own_tokens(kb: KnowledgeBase) -> None:
    await kb.add([Document("guide.md", GUIDE)])
    document = await kb.document("guide.md")
    units = ["Pumps cost 420 euros.", "Valves cost 15 euros.", "| pump | 7 kg |"]
    ranges = [
        range_of(document, at, at + len(unit)) for unit in units for at in [GUIDE.index(unit)]
    ]
    valves = await kb.late_scores("Valves cost", ranges)
    pump = await kb.late_scores("| pump |", ranges)
    assert valves is not None
    assert pump is not None
    assert int(np.argmax(valves)) == 1
    assert int(np.argmax(pump)) == 2


async def test_a_range_that_no_passage_holds_has_no_score(kb: KnowledgeBase) -> None:
    await kb.add([Document("guide.md", GUIDE)])
    unknown = Chunk("x", "no document", "x.md", "", "", "text", 0, 4)
    assert await kb.late_scores("pumps", [unknown]) == [0.0]
    assert await kb.late_scores("pumps", []) == []


def test_rare_words_of_a_query_decide() -> None:
    vectors = np.eye(3, dtype=np.float32)
    query = LateQuery.of(
        TokenVectors(
            vectors[0], vectors[:2], np.zeros((2, 2), np.int32), np.array([1, 9], np.float32)
        )
    )
    spans = np.array([(0, 1)], np.int32)
    common, rare = (StoredTokens(np.array([vectors[n] * 127], np.int8), spans) for n in (0, 1))
    found = [query.score(tokens.similarities(query.vectors)) for tokens in (rare, common)]
    assert found[0] > found[1] > 0


def test_the_file_is_bounded_and_the_least_used_go_first(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / TOKENS, limit=10_000)
    for n in range(50):
        store.keep({f"c{n}": stored(100)}, used=["c0"] if n else [])
    assert 0 < store.size <= 10_000
    assert set(store.read(["c0", "c1", "c49"])) == {"c0", "c49"}
    assert (store.read(["c49"])["c49"].vectors == stored(100).vectors).all()


def test_a_store_without_room_keeps_nothing(tmp_path: Path) -> None:
    store = TokenStore(tmp_path / TOKENS, limit=0)
    store.keep({"a": stored(1)})
    assert not store.has_room()
    assert store.read(["a"]) == {}
