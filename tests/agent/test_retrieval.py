"""Retrieval first: the documents are searched before the model is asked, with a question that
stands alone."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentkit import Agent, KnowledgeBase, Session
from agentkit.agent.setup import Retrieval
from agentkit.answering.extractive import ExtractiveModel
from agentkit.answers import Answer
from agentkit.backends.base import Capabilities
from agentkit.backends.scripted import ScriptedModel
from agentkit.documents import Document
from agentkit.errors import ModelError
from agentkit.events import ToolFinished, ToolStarted
from agentkit.knowledge.tools import SEARCH
from agentkit.messages import ToolCall
from tests.agent.scripts import answer_of
from tests.conftest import TermEmbedder


@pytest.fixture
async def knowledge(tmp_path: Path, embedder: TermEmbedder) -> AsyncIterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    await knowledge.add(
        [
            Document("memory.md", "# Memory\n\nA 7B model at 16 bits takes 14 GB.", "Memory"),
            Document("sky.md", "# Sky\n\nThe sky is blue because of Rayleigh scattering.", "Sky"),
        ]
    )
    yield knowledge
    knowledge.close()


def _queries(answer: Answer) -> list[object]:
    calls = [c for m in answer.messages for c in m.tool_calls if c.name == SEARCH]
    return [c.arguments["query"] for c in calls if isinstance(c.arguments, dict)]


async def test_the_documents_are_searched_before_the_model_is_asked(
    knowledge: KnowledgeBase,
) -> None:
    model = ScriptedModel(["Blue, by Rayleigh scattering [1]."])
    agent = Agent(model, knowledge=knowledge)
    events = [e async for e in agent.stream("Why is the sky blue?")]
    assert [type(e) for e in events[:2]] == [ToolStarted, ToolFinished]
    assert "Rayleigh" in model.requests[0][-1].prompt_text
    assert answer_of(events).citations[0].chunk.source == "sky.md"


async def test_auto_leaves_the_search_to_the_model(knowledge: KnowledgeBase) -> None:
    model = ScriptedModel([ToolCall("1", SEARCH, {"query": "sky"}), "Blue [1]."])
    answer = await Agent(model, knowledge=knowledge, retrieval=Retrieval("auto")).run("Sky?")
    assert [m.role for m in model.requests[0]] == ["system", "user"]
    assert _queries(answer) == ["sky"]


async def test_never_keeps_the_documents_out(knowledge: KnowledgeBase) -> None:
    model = ScriptedModel(["I do not know."])
    await Agent(model, knowledge=knowledge, retrieval=Retrieval("never")).run("Sky?")
    assert model.tools_offered == [()]
    assert "search_knowledge" not in model.requests[0][0].text


async def test_an_empty_knowledge_base_is_not_searched(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    empty = KnowledgeBase.open(tmp_path / "empty", embedder)
    model = ScriptedModel(["hello"])
    await Agent(model, knowledge=empty).run("hi")
    assert [m.role for m in model.requests[0]] == ["system", "user"]
    empty.close()


async def test_a_follow_up_is_rewritten_to_stand_alone(knowledge: KnowledgeBase) -> None:
    model = ScriptedModel(
        ["14 GB [1].", "How much memory does a 7B model take at 4 bits?", "3.5 GB."]
    )
    agent, session = Agent(model, knowledge=knowledge), Session()
    await agent.run("How much memory does a 7B model take at 16 bits?", session)
    answer = await agent.run("and at 4 bits?", session)
    assert _queries(answer) == ["How much memory does a 7B model take at 4 bits?"]
    assert model.requests[1][-1].text.endswith("Last question: and at 4 bits?")
    assert answer.text == "3.5 GB."


async def test_where_the_rewriting_fails_the_search_takes_both_questions(
    knowledge: KnowledgeBase,
) -> None:
    model = ScriptedModel(["14 GB [1].", ModelError("busy"), "3.5 GB."])
    agent, session = Agent(model, knowledge=knowledge), Session()
    await agent.run("How much memory does a 7B model take?", session)
    answer = await agent.run("and at 4 bits?", session)
    assert _queries(answer) == ["How much memory does a 7B model take?\nand at 4 bits?"]


async def test_the_reader_that_quotes_follows_up_without_a_model(knowledge: KnowledgeBase) -> None:
    agent, session = Agent(ExtractiveModel(), knowledge=knowledge), Session()
    await agent.run("How much memory does a 7B model take?", session)
    answer = await agent.run("and at 16 bits?", session)
    assert "14 GB" in answer.text


async def test_a_follow_up_on_another_subject_is_searched_for_alone(
    knowledge: KnowledgeBase,
) -> None:
    agent, session = Agent(ExtractiveModel(), knowledge=knowledge), Session()
    await agent.run("How much memory does a 7B model take?", session)
    answer = await agent.run("Why is the sky blue?", session)
    assert _queries(answer) == ["Why is the sky blue?"]


@pytest.mark.parametrize("prompt", ["thanks", "谢谢！", "hello"])
async def test_thanks_and_greetings_are_not_searched_for(
    knowledge: KnowledgeBase, prompt: str
) -> None:
    model = ScriptedModel(["14 GB [1].", "You are welcome."])
    agent, session = Agent(model, knowledge=knowledge), Session()
    await agent.run("How much memory does a 7B model take?", session)
    answer = await agent.run(prompt, session)
    assert _queries(answer) == []
    assert answer.text == "You are welcome."
    assert len(model.requests) == 2


async def test_several_ways_of_asking_are_searched_side_by_side(knowledge: KnowledgeBase) -> None:
    model = ScriptedModel(["1. colour of the sky\n2. blue sky reason", "Blue [1]."])
    agent = Agent(model, knowledge=knowledge, retrieval=Retrieval(expand="multi"))
    answer = await agent.run("Why is the sky blue?")
    assert _queries(answer) == ["Why is the sky blue?", "colour of the sky", "blue sky reason"]


async def test_hyde_searches_with_a_likely_answer(knowledge: KnowledgeBase) -> None:
    model = ScriptedModel(["Light is scattered by air.", "Blue [1]."])
    agent = Agent(model, knowledge=knowledge, retrieval=Retrieval(expand="hyde"))
    answer = await agent.run("Why is the sky blue?")
    assert _queries(answer) == ["Why is the sky blue?\nLight is scattered by air."]


async def test_what_the_rewriting_costs_is_counted(knowledge: KnowledgeBase) -> None:
    class Counting(ScriptedModel):
        async def capabilities(self) -> Capabilities:
            return Capabilities()

    model = Counting(["Light.", "Blue [1]."])
    plain = await Agent(ScriptedModel(["Blue [1]."]), knowledge=knowledge).run("Why blue?")
    agent = Agent(model, knowledge=knowledge, retrieval=Retrieval(expand="hyde"))
    assert (await agent.run("Why blue?")).usage.input_tokens > plain.usage.input_tokens
