"""Tools, documents, embedders and knowledge bases, to LangChain and back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from langchain_core.documents import Document as LangChainDocument
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import ToolException
from langchain_core.tools import tool as langchain_tool

from agentkit import Agent, Document, KnowledgeBase, tool
from agentkit.backends.scripted import ScriptedModel
from agentkit.errors import ConfigError, KnowledgeError, ToolError
from agentkit.integrations.langchain import (
    KnowledgeRetriever,
    LangChainEmbedder,
    LangChainEmbeddings,
    as_langchain_document,
    as_langchain_tool,
    from_langchain_document,
    from_langchain_tool,
)
from agentkit.messages import ToolCall
from tests.conftest import TermEmbedder


@tool
def add(a: int, b: int = 1) -> int:
    """Add two numbers.

    Args:
        a: The first.
        b: The second.
    """
    if a < 0:
        raise ToolError("Only what is positive.")
    return a + b


async def test_our_tool_tells_langchain_its_schema_result_and_errors() -> None:
    theirs = as_langchain_tool(add)
    assert theirs.description == add.description
    assert theirs.args["a"]["description"] == "The first."
    assert theirs.invoke({"a": 2}) == "3"
    assert await theirs.ainvoke({"a": 2, "b": 5}) == "7"
    call = {"type": "tool_call", "id": "1", "name": "add", "args": {"a": -1}}
    failed = theirs.invoke(call)
    assert (failed.content, failed.status) == ("Only what is positive.", "error")


def test_a_tool_that_needs_approval_wants_the_authors_word() -> None:
    @tool(needs_approval=True)
    def erase() -> str:
        """Erase everything."""
        return "erased"

    with pytest.raises(ConfigError, match="approved=True"):
        as_langchain_tool(erase)
    assert as_langchain_tool(erase, approved=True).invoke({}) == "erased"


async def test_their_tool_runs_in_our_agent() -> None:
    @langchain_tool
    def double(x: int) -> int:
        """Twice x."""
        if x < 0:
            raise ToolException("Only what is positive.")
        return 2 * x

    ours = from_langchain_tool(double)
    assert ours.parameters["properties"]["x"]["type"] == "integer"
    assert (await ours.run({"x": 21})).content == "42"
    with pytest.raises(ToolError, match="Only what is positive"):
        await ours.run({"x": -1})
    model = ScriptedModel([ToolCall("1", "double", {"x": 21}), "42"])
    await Agent(model, [ours]).run("?")
    assert model.requests[-1][-1].text == "42"


async def test_a_tool_comes_back_as_it_went() -> None:
    back = from_langchain_tool(as_langchain_tool(add))
    assert (back.name, back.description) == (add.name, add.description)
    assert back.parameters["properties"] == add.parameters["properties"]
    assert (await back.run({"a": 1, "b": 2})).content == "3"
    with pytest.raises(ToolError, match="Only what is positive"):
        await back.run({"a": -1})


@pytest.fixture
def knowledge(tmp_path: Path) -> Iterator[KnowledgeBase]:
    opened = KnowledgeBase.open(tmp_path / "index", TermEmbedder())
    opened.add_sync([Document("bread.md", "# Bread\n\n## Rye\n\nRye bread is dark.\n")])
    yield opened
    opened.close()


async def test_a_retriever_says_where_each_passage_stands(knowledge: KnowledgeBase) -> None:
    retriever = KnowledgeRetriever(knowledge=knowledge)
    (found,) = await retriever.ainvoke("rye bread")
    hit = (await knowledge.search("rye bread"))[0]
    assert found.id == hit.chunk.id
    assert found.metadata["source"] == "bread.md"
    assert found.metadata["heading"] == hit.chunk.heading
    assert found.metadata["score"] == hit.score
    assert found.metadata["page"] is None
    text = (await knowledge.document("bread.md")).text
    assert text[found.metadata["start"] : found.metadata["end"]] == found.page_content
    chain = retriever | RunnableLambda(len)
    assert await chain.ainvoke("bread") == 1


@pytest.mark.parametrize(
    "document",
    [
        Document("a.md", "text", "Title", "id-1", {"page": 3, "tags": ["x"]}),
        Document("a.md", "text"),
    ],
)
def test_a_document_comes_back_as_it_went(document: Document) -> None:
    assert from_langchain_document(as_langchain_document(document)) == document


@pytest.mark.parametrize(
    "document",
    [
        LangChainDocument("text", metadata={"source": "a.md", "row": 2}, id="1"),
        LangChainDocument("text", metadata={"source": "a.md", "title": "A"}),
    ],
)
def test_their_document_comes_back_as_it_went(document: LangChainDocument) -> None:
    assert as_langchain_document(from_langchain_document(document)) == document


def test_a_document_without_a_source_gets_a_stable_one() -> None:
    first, again = (from_langchain_document(LangChainDocument("text")) for _ in range(2))
    assert first.source == again.source
    assert first.source.startswith("langchain-")


async def test_their_embeddings_make_an_index_that_says_whose_they_are(tmp_path: Path) -> None:
    embedder = LangChainEmbedder(DeterministicFakeEmbedding(size=16), "fake-16")
    with pytest.raises(KnowledgeError, match="Embed a text first"):
        _ = embedder.dimension
    opened = KnowledgeBase.open(tmp_path / "index", embedder)
    await opened.add([Document("bread.md", "Bread is made of flour.")])
    assert (await opened.search("Bread is made of flour."))[0].chunk.source == "bread.md"
    opened.close()
    with pytest.raises(KnowledgeError, match="langchain:fake-16, not test:terms"):
        KnowledgeBase.open(tmp_path / "index", TermEmbedder())


async def test_an_embedder_comes_back_with_the_same_vectors() -> None:
    ours = TermEmbedder()
    back = LangChainEmbedder(LangChainEmbeddings(ours), "terms")
    texts = ["Bread is made of flour.", "Paris"]
    assert await back.embed_passages(texts) == pytest.approx(
        await ours.embed_passages(texts), abs=1e-2
    )
    assert (await back.embed_queries(texts)).shape == (2, back.dimension)
    assert (await back.embed_passages([])).shape == (0, 64)
    assert np.linalg.norm(await back.embed_queries(["a"])) == pytest.approx(1, abs=1e-5)
