"""The prompt: the first search, the documents' language, how to cite, and when to stop."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentkit import Agent, KnowledgeBase, Session, tool
from agentkit.agent.setup import Retrieval
from agentkit.backends.scripted import ScriptedModel
from agentkit.documents import Document
from agentkit.errors import ToolError
from tests.agent.scripts import call
from tests.conftest import TermEmbedder


@tool
def price(item: str) -> str:
    """Look up a price."""
    return f"{item} costs 40 euros"


@tool
def fails(item: str) -> str:
    """Fail."""
    raise ToolError("broken")


@pytest.fixture
async def knowledge(tmp_path: Path, embedder: TermEmbedder) -> AsyncIterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    text = (
        "# Memory\n\nA 7B model takes 14 GB, and this is the memory that it needs for the weights."
    )
    await knowledge.add([Document("memory.md", text, "Memory")])
    yield knowledge
    knowledge.close()


def _system(model: ScriptedModel) -> str:
    return model.requests[0][0].text


async def test_the_prompt_names_the_first_search_the_language_and_the_markers(
    knowledge: KnowledgeBase,
) -> None:
    model = ScriptedModel(["14 GB [1]."])
    await Agent(model, knowledge=knowledge).run("How much memory does a 7B model take?")
    text = _system(model)
    assert "A first search is made for each question" in text
    assert "in English" in text
    assert "[1]" in text
    assert "[t1]" in text
    assert "Answer as soon as the passages suffice" in text


async def test_without_a_first_search_the_prompt_asks_for_one(knowledge: KnowledgeBase) -> None:
    model = ScriptedModel(["14 GB."])
    await Agent(model, knowledge=knowledge, retrieval=Retrieval("auto")).run("How much?")
    assert "first search" not in _system(model)
    assert "before you answer, in English" in _system(model)


@pytest.mark.parametrize(
    ("texts", "named"),
    [
        (["大模型需要很多显存，量化可以减少显存。"], "in Chinese"),
        (
            ["大模型需要很多显存。", "The memory of the model is on the card."],
            "Chinese and English",
        ),
        (["0 1 2", "3 4 5"], "in the language of the documents"),
    ],
)
async def test_the_main_languages_of_the_documents_are_named(
    tmp_path: Path, embedder: TermEmbedder, texts: list[str], named: str
) -> None:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    body = [f"# T\n\n{'  ' * 300}{text * 20}" for text in texts]
    await knowledge.add([Document(f"{n}.md", text, "T") for n, text in enumerate(body)])
    model = ScriptedModel(["14 GB."])
    await Agent(model, knowledge=knowledge).run("How much?")
    text = _system(model).replace("English and Chinese", "Chinese and English")
    assert named in text
    knowledge.close()


async def test_results_have_markers_that_an_answer_can_cite(knowledge: KnowledgeBase) -> None:
    model = ScriptedModel(
        [
            [call("price", "a", item="Coffee"), call("fails", "b", item="Tea")],
            "Coffee costs 40 euros [t1].",
            call("price", "c", item="Milk"),
            "Milk costs 40 euros [t2], as coffee costs 40 euros [t1].",
        ]
    )
    agent, session = Agent(model, [price, fails], knowledge=knowledge), Session()
    first = await agent.run("What does coffee cost?", session)
    shown = [m.prompt_text for m in model.requests[1] if m.role == "tool"][1:]
    assert shown[0] == "[t1] Coffee costs 40 euros"
    assert not shown[1].startswith("[")
    assert [s.reason for s in first.sentences] == [""]
    assert first.sentences[0].supported
    second = await agent.run("What does milk cost?", Session.from_json(session.to_json()))
    assert second.unresolved_markers == ()
    assert all(sentence.supported for sentence in second.sentences)


@pytest.mark.parametrize(
    ("answer", "supported", "unresolved"),
    [
        ("Coffee costs 40 euros [t1].", True, ()),
        ("Coffee costs 90 euros [t1].", False, ()),
        ("Coffee costs 40 euros [t7].", True, ("t7",)),
        ("Coffee costs 40 euros [t1][1].", True, ()),
        ("Coffee costs 40 euros [1, t1].", True, ()),
    ],
)
async def test_a_cited_result_is_the_evidence_of_its_claim(
    knowledge: KnowledgeBase, answer: str, supported: bool, unresolved: tuple[str, ...]
) -> None:
    model = ScriptedModel([call("price", item="Coffee"), answer])
    found = await Agent(model, [price], knowledge=knowledge).run("What does coffee cost?")
    assert [sentence.supported for sentence in found.sentences] == [supported]
    assert found.unresolved_markers == unresolved


async def test_without_documents_results_have_no_markers() -> None:
    model = ScriptedModel([call("price", item="Coffee"), "40 euros."])
    await Agent(model, [price]).run("What does coffee cost?")
    assert model.requests[1][-1].prompt_text == "Coffee costs 40 euros"


async def test_the_markers_of_a_sub_agents_results_do_not_reach_the_caller(
    knowledge: KnowledgeBase,
) -> None:
    inner = ScriptedModel([call("price", item="Coffee"), "Coffee costs 40 euros [t1]."])
    expert = Agent(inner, [price], knowledge=knowledge)
    outer = ScriptedModel([call("ask", question="What does coffee cost?"), "40 euros [t1]."])
    router = Agent(outer, [expert.as_tool("ask", "Ask.")], knowledge=knowledge)
    await router.run("What does coffee cost?")
    assert outer.requests[1][-1].prompt_text == "[t1] Coffee costs 40 euros."
