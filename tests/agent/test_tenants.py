"""One agent for several tenants: no run sees, names or counts a document of another tenant."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agentkit import Agent, Filters, KnowledgeBase, Retrieval, Session
from agentkit._sync import run_sync
from agentkit.backends.scripted import ScriptedModel, Turn
from agentkit.documents import Document
from agentkit.errors import KnowledgeError
from tests.agent.scripts import call
from tests.conftest import TermEmbedder

CALLS = (
    call("search_knowledge", "1", query="What does the contract say about rent?", k=50),
    call("search_knowledge", "2", query="contract rent", source="south.md"),
    call("search_knowledge", "3", query="contract rent", source="**/*.md", tags=["secret"]),
    call("find_all", "4", text="rent"),
    call("find_all", "5", text="south"),
    call("find_all", "6", text="rent", source="south.md"),
    call("outline_document", "7", source="south.md"),
    call("outline_document", "8", source="sout.md"),
    call("read_document", "9", source="south.md"),
    call("read_document", "10", source="sout.md"),
    call("list_documents", "99"),
    call("list_documents", "11", containing="south"),
)
"""Every way in which a model can ask for a document of the tenant "south"."""


def _document(tenant: str) -> Document:
    text = f"# Contract of {tenant}\n\nThe rent of {tenant} is {len(tenant)} crowns.\n"
    metadata = {"tenant": tenant, "tags": ["secret"]}
    return Document(f"{tenant}.md", text, f"The {tenant} contract", metadata=metadata)


@pytest.fixture
async def shared(tmp_path: Path, embedder: TermEmbedder) -> AsyncIterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path / "shared", embedder)
    await knowledge.add([_document("north"), _document("south")])
    yield knowledge
    knowledge.close()


@pytest.fixture
async def northern(tmp_path: Path, embedder: TermEmbedder) -> AsyncIterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path / "north", embedder)
    await knowledge.add([_document("north")])
    yield knowledge
    knowledge.close()


BOUNDS = {
    "metadata": Retrieval("auto", filters=Filters(metadata={"tenant": "north"})),
    "sources": Retrieval("auto", filters=Filters(sources=("north.md",))),
    "title": Retrieval("always", filters=Filters(title="north")),
    "always": Retrieval("always", filters=Filters(metadata={"tenant": "north"})),
}


def _tool_texts(model: ScriptedModel) -> list[str]:
    """The results of the tools, without the names that the model itself had given."""
    asked = ("'south'", "'south.md'")
    texts = [m.prompt_text for request in model.requests for m in request if m.role == "tool"]
    for word in asked:
        texts = [text.replace(word, "") for text in texts]
    return texts


@pytest.mark.parametrize("bound", BOUNDS)
async def test_no_tool_shows_a_document_of_another_tenant(
    shared: KnowledgeBase, bound: str
) -> None:
    model = ScriptedModel([CALLS, "done"])
    await Agent(model, knowledge=shared).run("And the rent?", retrieval=BOUNDS[bound])
    assert len(_tool_texts(model)) >= len(CALLS)
    assert [text for text in _tool_texts(model) if "south" in text.casefold()] == []


async def test_a_run_can_use_the_knowledge_base_of_its_tenant(
    shared: KnowledgeBase, northern: KnowledgeBase
) -> None:
    model = ScriptedModel([CALLS, "done"])
    retrieval = Retrieval("auto", knowledge=northern)
    await Agent(model, knowledge=shared).run("And the rent?", retrieval=retrieval)
    assert [text for text in _tool_texts(model) if "south" in text.casefold()] == []


async def test_a_tenant_sees_its_own_documents(shared: KnowledgeBase) -> None:
    for tenant in ("north", "south"):
        turns: list[Turn] = [
            call("search_knowledge", query="rent"),
            call("read_document", source=f"{tenant}.md"),
            "The rent [1].",
        ]
        model = ScriptedModel(turns)
        filters = Filters(metadata={"tenant": tenant})
        answer = await Agent(model, knowledge=shared).run("?", retrieval=Retrieval(filters=filters))
        shown = [p.chunk.text for m in model.requests[-1] for p in m.passages]
        assert len(shown) >= 2
        assert all(f"rent of {tenant}" in text for text in shown)
        assert [citation.chunk.source for citation in answer.citations] == [f"{tenant}.md"]


async def test_the_agents_own_tools_are_bound_again_after_the_run(shared: KnowledgeBase) -> None:
    model = ScriptedModel(["one", call("list_documents"), "two"])
    agent = Agent(model, knowledge=shared, retrieval=Retrieval("auto"))
    await agent.run("?", retrieval=BOUNDS["metadata"])
    await agent.run("?")
    assert "south.md" in _tool_texts(model)[-1]


@pytest.mark.parametrize("own", [Filters(), Filters(tags=("secret",))], ids=["all", "tagged"])
async def test_a_sub_agent_stays_within_the_documents_of_the_run_that_asks_it(
    shared: KnowledgeBase, own: Filters
) -> None:
    inner = ScriptedModel([CALLS, "done"])
    expert = Agent(inner, knowledge=shared, retrieval=Retrieval("auto", filters=own))
    outer = ScriptedModel([call("ask", question="?"), "done"])
    router = Agent(outer, [expert.as_tool("ask", "Ask.")])
    await router.run("?", retrieval=BOUNDS["metadata"])
    assert len(_tool_texts(inner)) == len(CALLS)
    assert [text for text in _tool_texts(inner) if "south" in text.casefold()] == []


async def test_a_sub_agent_uses_the_knowledge_base_of_the_run_that_asks_it(
    shared: KnowledgeBase, northern: KnowledgeBase
) -> None:
    inner = ScriptedModel([call("list_documents"), "done"])
    expert = Agent(inner, knowledge=shared, retrieval=Retrieval("auto"))
    router = Agent(ScriptedModel([call("ask", question="?"), "."]), [expert.as_tool("ask", "Ask.")])
    await router.run("?", retrieval=Retrieval(knowledge=northern))
    assert _tool_texts(inner) == ["[t1] north.md: The north contract (52 characters; tags: secret)"]


@pytest.mark.parametrize("name", ["sources", "tags"])
def test_one_text_instead_of_several_is_refused(name: str) -> None:
    with pytest.raises(KnowledgeError, match=rf"write {name}=\('north/\*\*',\)"):
        replace(Filters(), **{name: "north/**"})  # type: ignore[arg-type]


class _Interrupted(dict[str, str]):
    """Metadata of a filter; something happens while it is compared for the n-th time."""

    def __init__(self, tenant: str, number: int, meanwhile: Callable[[], object]) -> None:
        super().__init__(tenant=tenant)
        self.left, self.meanwhile = number, meanwhile

    def __eq__(self, other: object) -> bool:
        self.left -= 1
        if self.left == 0:
            self.meanwhile()
        return super().__eq__(other)


@pytest.mark.parametrize("number", range(1, 5))
async def test_a_search_of_another_tenant_in_between_does_not_change_what_is_allowed(
    shared: KnowledgeBase, number: int
) -> None:
    async def search(metadata: dict[str, str]) -> set[str]:
        hits = await shared.search("rent", filters=Filters(metadata=metadata))
        return {hit.chunk.source for hit in hits}

    def search_south() -> None:
        assert run_sync(search({"tenant": "south"})) == {"south.md"}

    assert await search(_Interrupted("north", number, search_south)) == {"north.md"}
    assert await search({"tenant": "north"}) == {"north.md"}


async def test_a_conversation_can_be_continued_by_a_run_with_other_documents(
    shared: KnowledgeBase,
) -> None:
    model, session = ScriptedModel(["one", "two"]), Session()
    agent = Agent(model, knowledge=shared)
    await agent.run("The rent?", session, retrieval=BOUNDS["metadata"])
    await agent.run("The rent?", session, retrieval=Retrieval("never"))
    assert model.tools_offered[1] == ()
