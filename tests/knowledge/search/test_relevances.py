"""The relevance that tools report tells exact hits from unrelated ones."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agentkit.documents import Chunk, Document, Hit
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.search.late import UNLIKELY, relevances

NOTES = {
    "pets.md": "# Cats\n\nCats purr when they are content.\n\n# Dogs\n\nDogs bark at strangers.",
    "bank.md": "# Opening hours\n\nThe branch in Lyon opens at nine and closes at five.",
    "猫.md": "# 猫\n\n猫在满足的时候会发出呼噜声。",
}


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path_factory.mktemp("index"))
    knowledge.add_sync([Document(source, text) for source, text in NOTES.items()])
    yield knowledge
    knowledge.close()


@pytest.mark.parametrize(
    "query", ["Why do cats purr?", "When does the branch in Lyon open?", "猫为什么会发出呼噜声？"]
)
async def test_an_exact_hit_is_likely(notes: KnowledgeBase, query: str) -> None:
    hits = await notes.search(query)
    found = relevances(query, hits)
    assert found[0] > 0.7
    assert found[0] == max(found)


@pytest.mark.parametrize(
    "query",
    [
        "What is the capital of Mongolia?",
        "How do I replace the brake pads of a bicycle?",
        "如何修理自行车的刹车？",
    ],
)
async def test_an_unrelated_passage_is_unlikely(notes: KnowledgeBase, query: str) -> None:
    assert max(relevances(query, await notes.search(query)), default=0.0) < UNLIKELY


def test_without_token_vectors_the_relevance_is_the_retrievers() -> None:
    chunk = Chunk("c", "d", "a.md", "", "", "text", 0, 4)
    assert relevances("q", [Hit(chunk, 0.4), Hit(chunk, 0.2)]) == [0.4, 0.2]
    mixed = relevances("q", [Hit(chunk, 0.4, late=0.9), Hit(chunk, 0.3, late=0.7), Hit(chunk, 0.2)])
    assert mixed[2] == mixed[1] < mixed[0]
