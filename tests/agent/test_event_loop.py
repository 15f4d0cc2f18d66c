"""An asynchronous program goes on while an agent works on long texts: what takes time with their
length runs in threads."""

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from pydantic import BaseModel

from agentkit import (
    Agent,
    Document,
    KnowledgeBase,
    ScriptedModel,
    SessionStore,
    ToolCall,
    external_tool,
)
from agentkit.agent.session_storage import SqliteStorage
from agentkit.agent.structured import OutputSchema
from agentkit.agent.tool_search import offered_tools
from agentkit.agent.turn import RepeatDetector
from agentkit.answering.question import Question
from agentkit.knowledge.citations.support import judge
from agentkit.knowledge.citations.verify import statements
from agentkit.knowledge.search.query import LONGEST, analyze
from agentkit.tools.repair import fit_arguments
from agentkit.tools.tool import as_text
from tests.conftest import TermEmbedder


@contextmanager
def calls_of_this_thread() -> Iterator[set[CodeType]]:
    """Collect the code of the functions that this thread calls."""
    found: set[CodeType] = set()

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            found.add(frame.f_code)

    sys.setprofile(watch)
    try:
        yield found
    finally:
        sys.setprofile(None)


class Weight(BaseModel):
    kg: int


@pytest.fixture
def knowledge(tmp_path: Path, embedder: TermEmbedder) -> Iterator[KnowledgeBase]:
    with KnowledgeBase.open(tmp_path / "index", embedder) as knowledge:
        knowledge.add_sync([Document("pump.md", "# Pump\n\nThe pump weighs 40 kg.")])
        yield knowledge


@pytest.mark.parametrize(
    "work",
    [
        judge,
        statements,
        OutputSchema.parse,
        SqliteStorage.write,
        RepeatDetector.record,
        as_text,
        fit_arguments,
        offered_tools,
    ],
    ids=lambda work: work.__qualname__,
)
async def test_work_that_grows_with_a_text_does_not_run_on_the_event_loop(
    work: Callable[..., Any], knowledge: KnowledgeBase, tmp_path: Path
) -> None:
    async def weights(name: str) -> dict[str, int]:
        """Weigh a part."""
        return {name: 40}

    call = ToolCall("1", "weights", {"name": "pump"})
    others = [external_tool(f"tool{n}", "Do it.", {"type": "object"}) for n in range(200)]
    quoting = ScriptedModel(["The pump weighs 40 kg [1]."])
    calling = ScriptedModel([call, '{"kg": 40}'])
    agent = Agent(quoting, tools=[weights, *others], knowledge=knowledge)
    with SessionStore(tmp_path / "sessions.sqlite") as store:
        async with store.session("one") as session:
            with calls_of_this_thread() as called:
                quoted = await agent.run("What does the pump weigh?", session)
                weighed = await agent.run("And it?", session, model=calling, output=Weight)
        assert len(store.read("one").messages) == 8
    assert [sentence.supported for sentence in quoted.sentences] == [True]
    assert weighed.output == Weight(kg=40)
    assert work.__code__ not in called


async def test_tasks_go_on_while_a_model_has_all_parts_of_its_answer_ready() -> None:
    async def count(counts: list[int]) -> None:
        while True:
            counts[0] += 1
            await asyncio.sleep(0)

    counts = [0]
    task = asyncio.create_task(count(counts))
    await Agent(ScriptedModel(["word " * 1000])).run("Go on.")
    task.cancel()
    assert counts[0] > 100


def test_of_a_pasted_document_the_beginning_is_searched() -> None:
    text = f"Which valve of the pump leaks? {'x' * 9 + ' '}".ljust(2 * LONGEST, "y") + " motor"
    assert {"leak", "pump"} <= {*analyze(text).terms}
    assert "motor" not in analyze(text).terms
    assert Question(text).text == text[:LONGEST]
