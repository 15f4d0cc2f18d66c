"""Strict mode: unsupported claims are left out, and counted."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agentkit import Agent, Answer, KnowledgeBase, Session, tool
from agentkit.agent.hooks import Hooks
from agentkit.agent.setup import Retrieval
from agentkit.answers import Answer  # noqa: F811, RUF100
from agentkit.backends.scripted import ScriptedModel
from agentkit.documents import Document
from agentkit.events import TextDelta
from agentkit.messages import ToolCall
from tests.agent.scripts import answer_of
from tests.conftest import TermEmbedder


@pytest.fixture
async def knowledge(tmp_path: Path, embedder: TermEmbedder) -> AsyncIterator[KnowledgeBase]:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    text = "# Memory\n\nA 7B model at 16 bits takes 14 GB of memory."
    await knowledge.add([Document("memory.md", text, "Memory")])
    yield knowledge
    knowledge.close()


def _agent(
    knowledge: KnowledgeBase, *turns: str | ToolCall, tools: Any = (), hooks: Hooks = Hooks()
) -> Agent:
    strict = Retrieval(strict=True)
    return Agent(ScriptedModel(turns), tools, knowledge, retrieval=strict, hooks=hooks)


async def _run(agent: Agent, session: Session | None = None) -> tuple[Answer, str]:
    question = "How much memory does a 7B model take?"
    events = [e async for e in agent.stream(question, session)]
    output = "".join(e.text for e in events if isinstance(e, TextDelta))
    return answer_of(events), output


async def test_a_sentence_that_no_passage_supports_is_left_out_and_counted(
    knowledge: KnowledgeBase,
) -> None:
    reported = "A 7B model at 16 bits takes 14 GB of memory [1]. A 70B model takes 99 GB [1]."
    session = Session()
    answer, output = await _run(_agent(knowledge, reported), session)
    assert answer.text.startswith("A 7B model at 16 bits takes 14 GB of memory [1].")
    assert "99" not in output
    assert "(1 sentence without support left out: “A … model takes …”.)" in output
    assert [sentence.text for sentence in answer.left_out] == ["A 70B model takes 99 GB [1]."]
    assert [sentence.supported for sentence in answer.sentences] == [True]
    assert session.messages[-1].text == answer.text == output


async def test_an_answer_that_nothing_supports_is_a_refusal(knowledge: KnowledgeBase) -> None:
    answer, output = await _run(_agent(knowledge, "The moon is made of green cheese [1]."))
    assert answer.stop_reason == "refused"
    assert output == answer.text
    assert "nothing that supports" in output


async def test_a_supported_answer_is_left_as_it_is(knowledge: KnowledgeBase) -> None:
    reported = "A 7B model at 16 bits takes 14 GB of memory [1]."
    answer, output = await _run(_agent(knowledge, reported))
    assert (answer.text, output, answer.stop_reason) == (reported, reported, "stop")


async def test_what_a_tool_has_computed_is_support(knowledge: KnowledgeBase) -> None:
    @tool
    def estimate() -> str:
        """Estimate."""
        return "The estimate is 3.5 GB."

    reported = "A 7B model at 16 bits takes 14 GB of memory [1]. The estimate is 3.5 GB."
    agent = _agent(knowledge, ToolCall("1", "estimate", {}), reported, tools=[estimate])
    answer, _ = await _run(agent)
    assert answer.text == reported


async def test_a_sentence_without_support_is_marked_where_strict_mode_is_off(
    knowledge: KnowledgeBase,
) -> None:
    model = ScriptedModel(["A 7B model at 16 bits takes 41 GB of memory [1]."])
    answer = await Agent(model, knowledge=knowledge).run("How much memory?")
    assert ["41" in sentence.reason for sentence in answer.unsupported] == [True]


async def test_a_guard_sees_the_answer_first_and_its_word_stands_instead(
    knowledge: KnowledgeBase,
) -> None:
    async def guard(answer: Answer) -> str:
        return "withheld" if "14 GB" in answer.text else ""

    session = Session()
    agent = _agent(knowledge, "It takes 14 GB [1].", hooks=Hooks(guard_output=guard))
    answer, output = await _run(agent, session)
    assert (answer.text, output, answer.citations) == ("withheld", "withheld", ())
    assert all("It takes" not in m.text for m in session.messages)


async def test_a_guard_at_the_door_keeps_a_prompt_from_the_model(knowledge: KnowledgeBase) -> None:
    async def guard(prompt: str) -> str:
        return "I do not answer that." if "7B" in prompt else ""

    agent = _agent(knowledge, hooks=Hooks(guard_input=guard))
    answer, output = await _run(agent)
    assert (answer.stop_reason, output) == ("refused", "I do not answer that.")
    assert isinstance(agent.model, ScriptedModel)
    assert agent.model.requests == []
