"""Runs of golden questions: search alone, single retrievers, and a model that may fail."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit import Answer, Document, Hit, KnowledgeBase
from agentkit.errors import ModelError
from agentkit.evaluation.report import figures
from agentkit.evaluation.runner import Outcome, evaluate, retriever_ranks
from tests.conftest import TermEmbedder
from tests.evaluation.made import hit, question

QUESTIONS = [
    question([("a.md", "A")], id="one", facts=(("yes",),)),
    question(id="two", kind="unanswerable"),
]


async def _search(query: str, k: int) -> list[Hit]:
    return [hit("x.md"), hit("a.md", "A")]


def _totals(outcomes: list[Outcome]) -> dict[str, tuple[float, int]]:
    return {f.key: (f.total, f.count) for f in figures(outcomes, 10)}


async def test_the_figures_count_what_was_reached_of_what() -> None:
    async def ask(prompt: str) -> Answer:
        return Answer("yes")

    totals = _totals(await evaluate(QUESTIONS, _search, ask))
    assert totals["first"] == (0, 1)
    assert totals["all@5"] == totals["facts"] == totals["facts:fact"] == (1, 1)
    assert totals["mrr"] == (0.5, 1)
    assert totals["refusal_recall"] == (0, 1)
    assert totals["over_refused"] == (0, 1)
    assert "refusal_precision" not in totals


async def test_of_refusals_it_is_counted_how_many_were_right() -> None:
    async def ask(prompt: str) -> Answer:
        return Answer("no", stop_reason="refused")

    totals = _totals(await evaluate(QUESTIONS, _search, ask))
    assert totals["refusal_precision"] == (1, 2)
    assert totals["refusal_recall"] == totals["over_refused"] == (1, 1)


async def test_search_alone_gives_figures_of_retrieval_alone() -> None:
    names = {
        name.partition("@")[0].partition(":")[0]
        for name in _totals(await evaluate(QUESTIONS, _search))
    }
    assert names == {"all", "first", "recall", "mrr", "ndcg"}


async def test_a_model_that_fails_later_costs_that_answer_and_not_the_run() -> None:
    turns: Iterator[Answer | ModelError] = iter([Answer("yes"), ModelError("down")])

    async def ask(prompt: str) -> Answer:
        turn = next(turns)
        if isinstance(turn, Exception):
            raise turn
        return turn

    outcomes = await evaluate(QUESTIONS, _search, ask)
    assert [outcome.error for outcome in outcomes] == ["", "down"]
    assert _totals(outcomes)["refusal_recall"] == (0, 1)


async def test_a_model_that_fails_at_once_ends_the_run() -> None:
    async def ask(prompt: str) -> Answer:
        raise ModelError("nobody there")

    with pytest.raises(ModelError, match="nobody there"):
        await evaluate(QUESTIONS, _search, ask)


async def test_at_most_jobs_questions_run_at_once_and_their_order_stays() -> None:
    running, most = 0, 0

    async def ask(prompt: str) -> Answer:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return Answer(prompt)

    many = [question(id=str(number)) for number in range(9)]
    outcomes = await evaluate(many, _search, ask, jobs=3)
    assert most == 3
    assert [outcome.question.id for outcome in outcomes] == [q.id for q in many]


async def test_the_retrievers_are_ranked_each_for_itself(
    tmp_path: Path, embedder: TermEmbedder
) -> None:
    knowledge = KnowledgeBase.open(tmp_path / "index", embedder)
    texts = {"sea.md": "# Sea\n\nwhales swim far", "sky.md": "# Sky\n\nswallows fly far"}
    await knowledge.add([Document(source, text) for source, text in texts.items()])
    asked = [question([("sky.md", "Sky")]).model_copy(update={"question": "what do swallows do"})]
    rankings = await retriever_ranks(asked, knowledge.search)
    knowledge.close()
    assert rankings == {"dense": [(1,)], "keyword": [(1,)]}


async def test_a_retriever_that_did_not_find_a_place_has_no_rank_for_it() -> None:
    async def search(query: str, k: int) -> list[Hit]:
        return [hit("x.md", keyword_rank=1), hit("a.md", "A", dense_rank=3)]

    assert await retriever_ranks(QUESTIONS[:1], search) == {"dense": [(3,)], "keyword": [(None,)]}
